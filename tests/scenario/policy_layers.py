#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""On a host with a system policy a user's own policy only tightens it."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import BIN, Engine, check, main  # noqa: E402

# The engine sees another /etc/kenaz, in a mount namespace of its own.
WRAP = ["unshare", "-m", "--propagation", "private", "bash", "-c",
        'mount --bind "$KZ_ETC" /etc && exec "$@"', "--"]
if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"],
                                       capture_output=True).returncode != 0:
    print("skipped: mounting needs root here")
    sys.exit(77)

RULE = """
[[rule]]
id = "%s"
effect = "%s"
target = "tool"
name = "%s"
"""
SYSTEM = RULE % ("system.no-web", "deny", "web") + \
    RULE % ("system.ask-mail", "ask", "mail")
OWN = RULE % ("own.web", "allow", "web") + RULE % ("own.mail", "deny", "mail") + \
    RULE % ("own.no-shell", "deny", "bash")


UID = 54321
AS_USER = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]


def engine_with(system, user=()):
    engine = Engine(mock=True, wrap=WRAP + list(user), policy=OWN)
    etc = os.path.join(engine.folder, "etc")
    shutil.copytree("/etc", etc, symlinks=True, ignore=lambda _, names:
                    ["kenaz"] if "kenaz" in names else [])
    os.mkdir(os.path.join(etc, "kenaz"), 0o755)
    if system:
        path = os.path.join(etc, "kenaz", "policy.toml")
        with open(path, "w") as f:
            f.write(system)
        os.chmod(path, 0o644)
    engine.env["KZ_ETC"] = etc
    return engine


def decided(engine, tool):
    answer = engine.call("policy.explain", target="tool", fields={"name": tool})
    return answer["effect"], answer["rule"]


def a_users_policy_only_tightens_the_systems():
    engine = engine_with(SYSTEM).start()
    check(decided(engine, "web") == ("deny", "system.no-web"), decided(engine, "web"))
    check(decided(engine, "mail") == ("deny", "own.mail"), decided(engine, "mail"))
    check(decided(engine, "bash") == ("deny", "own.no-shell"), decided(engine, "bash"))
    check(decided(engine, "other")[0] == "allow", decided(engine, "other"))
    engine.stop()
    engine.clean()


def without_one_the_users_is_the_policy():
    engine = engine_with("").start()
    check(decided(engine, "web") == ("allow", "own.web"), decided(engine, "web"))
    engine.stop()
    engine.clean()


def a_users_engine_says_that_it_cannot_read_the_systems_again():
    engine = engine_with(SYSTEM, AS_USER)
    for at, _, files in os.walk(engine.folder):
        if not at.startswith(engine.env["KZ_ETC"]):
            for name in [at] + [os.path.join(at, f) for f in files]:
                os.chown(name, UID, UID)
    engine.start()
    r = subprocess.run(AS_USER + [os.path.join(BIN, "kenaz"), "--socket", engine.path,
                                  "policy", "reload"], capture_output=True,
                       text=True, timeout=60)
    check(r.returncode == 1 and "the old policy stays" in r.stderr and
          "restart the engine" in r.stderr, "%d %s" % (r.returncode, r.stderr))
    engine.stop()
    engine.clean()


def a_system_policy_that_others_can_change_is_refused():
    engine = engine_with(SYSTEM)
    os.chmod(os.path.join(engine.env["KZ_ETC"], "kenaz", "policy.toml"), 0o666)
    engine.start(wait=False)
    check(engine.process.wait(20) == 1, engine.log())
    check("/etc/kenaz/policy.toml" in engine.log(), engine.log())
    engine.process = None
    engine.clean()


main(a_users_policy_only_tightens_the_systems,
     without_one_the_users_is_the_policy,
     a_users_engine_says_that_it_cannot_read_the_systems_again,
     a_system_policy_that_others_can_change_is_refused)
