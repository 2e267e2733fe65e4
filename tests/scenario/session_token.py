#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""AWS's session credentials end: when is known, said before, and what then."""

import atexit
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, cli, main, wait_for  # noqa: E402

ACCESS, SECRET = "ASIDEXAMPLE012345678", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN, MODEL = "IQoJb3JpZ2luX2VjEXAMPLE/+==", "amazon.nova-micro-v1:0"
engine = Engine(mock=True)
server = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
     "--seconds", "200", "--behave", "sigv4=%s:%s" % (ACCESS, SECRET)],
    stdout=subprocess.PIPE, text=True)
atexit.register(server.kill)
URL = "http://127.0.0.1:%d" % int(server.stdout.readline())
engine.start()
engine.call("provider.add", name="aws", kind="bedrock", region="eu-central-1",
            endpoint=URL, allow_http=True, auth="sigv4", secret="team",
            dialects=["converse"])


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00",
                         time.gmtime(time.time() + seconds))


def left_s():
    """As core has it, which the broker tells."""
    return engine.call("secret.status").get("expires", {}).get("left_s")


def load(*words, expires=None, **more):
    env = dict(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET,
               AWS_SESSION_TOKEN=TOKEN, AWS_BEARER_TOKEN_BEDROCK="unwanted",
               AWS_CREDENTIAL_EXPIRATION=expires or "", **more)
    code, out, err = cli("--socket", engine.path, "secret", "import", "--yes",
                         *(words or ("--provider", "aws")), env=env)
    check(SECRET not in out + err and TOKEN not in out + err, "a value is shown")
    return code, out + err


def the_time_of_expiry_is_kept():
    code, said = load(expires=at(3600))
    check(code == 0 and "secret team is set" in said and
          "the session credentials in team end at" in said, said)
    check(engine.call("secret.list")["secrets"] == ["team"], "the wrong secret")
    r = engine.call("provider.test", name="aws", model=MODEL)
    check(r["ok"], r)
    wait_for("the vault's view", left_s)
    expires = engine.call("secret.status")["expires"]
    check(expires["secret"] == "team" and 3500 < expires["left_s"] <= 3600,
          expires)
    check(engine.doctor("vault.expires")[0]["status"] == "info", "doctor")


def doctor_warns_before():
    check(load(expires=at(600))[0] == 0, "import")
    wait_for("the vault's view", lambda: 500 < (left_s() or 0) <= 600)
    found = engine.doctor("vault.expires")[0]
    check(found["status"] == "warn" and "secret import --provider" in
          found["fix"] and " min" in found["text"], found)


def what_ended_is_not_sent():
    code, said = load(expires=at(-5))
    check(code == 0 and "ended at" in said, said)
    r = engine.call("provider.test", name="aws", model=MODEL)
    check(not r["ok"] and r["http_status"] == 0 and
          "'kenaz secret import --provider aws'" in r["text"], r)
    wait_for("the vault's view", lambda: left_s() == 0)
    check(engine.doctor("vault.expires")[0]["status"] == "fail", "doctor")


def a_time_that_is_none_changes_nothing():
    before = engine.call("secret.status")
    code, said = load(expires="tomorrow")
    check(code == 1 and "AWS_CREDENTIAL_EXPIRATION is no time" in said, said)
    check(engine.call("secret.status")["generation"] == before["generation"],
          "it was stored")


def without_a_time_nothing_is_known():
    check(load()[0] == 0, "import")
    wait_for("the vault's view", lambda: left_s() is None)
    check(engine.doctor("vault.expires") == [], "doctor")
    # AWS refuses them once they ended, and the sentence says what to do.
    engine.set_secret("team", "%s:%s:%s" % (ACCESS, "x" * 40, TOKEN))
    r = engine.call("provider.test", name="aws", model=MODEL)
    check(r["http_status"] == 403 and "ended" in r["text"] and
          "`kenaz secret import`" in r["text"], r)


def other_providers_take_their_own():
    engine.call("provider.add", name="claude", kind="anthropic", secret="c")
    env = {"ANTHROPIC_API_KEY": "sk-ant-0123456789", "GROQ_API_KEY": "gsk-1"}
    code, said = load("--provider", "claude", **env)
    check(code == 0 and "secret c is set" in said and "groq" not in said and
          "team" not in said, said)
    engine.call("provider.add", name="fast", kind="byo", auth="bearer",
                secret="g", endpoint="https://fast.example/v1",
                dialects=["chat"])
    code, said = load("--provider", "fast", **env)
    check(code == 5, said)
    code, said = load("--provider", "fast", "GROQ_API_KEY", **env)
    check(code == 0 and "secret g is set" in said, said)
    code, said = load("--provider", "nobody", **env)
    check(code == 5 and "is not configured" in said, said)


def nothing_is_left():
    check(engine.stop() == 0, "kenazd's exit code")
    engine.clean()


main(the_time_of_expiry_is_kept, doctor_warns_before, what_ended_is_not_sent,
     a_time_that_is_none_changes_nothing, without_a_time_nothing_is_known,
     other_providers_take_their_own, nothing_is_left)
