#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A provider's key is in the upstream's request and nowhere else."""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, FakeProvider, check, have_image, main, wait_for  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)
if os.getuid() != 0:
    print("skipped: searching other processes' memory needs root")
    sys.exit(77)

KEY = "sk-test-" + os.urandom(24).hex()


engine = Engine()
provider = FakeProvider(engine.folder)
engine.write("kenaz.toml", provider.config('models = ["claude-test"]\n'))
engine.start()
engine.set_secret("anthropic", KEY)
session, owner, _ = engine.session()

REQUEST = json.dumps({
    "model": "claude-test", "max_tokens": 100, "stream": True,
    "messages": [{"role": "user", "content": "hello"}]})


def ask(extra=""):
    body = REQUEST.replace("hello", "hello\\n" + extra) if extra else REQUEST
    script = ("cat > /tmp/b; wget -Y off -q -O- --header 'content-type: application/json' "
              "--header 'anthropic-version: 2023-06-01' "
              "--post-file /tmp/b http://127.0.0.1:4141/v1/messages")
    return engine.run(session, ["sh", "-c", script], stdin=body.encode())


def memory_of(pid):
    """Every readable mapping of a process, in pieces that overlap."""
    try:
        with open("/proc/%d/maps" % pid) as maps, \
                open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                where, mode = line.split()[:2]
                if "r" not in mode or "[v" in line:
                    continue
                start, end = (int(x, 16) for x in where.split("-"))
                at = start
                while at < end:
                    size = min(end - at, 1 << 22)
                    try:
                        mem.seek(at)
                        yield mem.read(size)
                    except (OSError, ValueError, OverflowError):
                        pass
                    if at + size >= end:
                        break
                    at += size - len(KEY)
    except OSError:
        return


def holders():
    found = set()
    for pid, (name, _) in engine.tree().items():
        for piece in memory_of(pid):
            if KEY.encode() in piece:
                found.add(name)
                break
    return found


def a_reply_streams_through_the_guest():
    code, out, err = ask()
    check(code == 0 and b"event: message_stop" in out, "%d %r %r" % (code, out, err))
    check(KEY.encode() not in out, "the key is in the reply")


def the_key_reached_the_upstream():
    got = wait_for("the request", provider.requests)[-1]
    headers = {k.lower(): v for k, v in dict(got["headers"]).items()}
    check(headers.get("x-api-key") == KEY, "upstream got %r" % headers)
    used = engine.wait_event("secret.used", session=session)["attrs"]
    check(used["kenaz.secret"] == "anthropic", "%r" % used)


def only_the_broker_has_it_in_memory():
    # The provider itself is a child of this test, not of the engine.
    found = holders()
    check(found == {"kenaz-broker"}, "the key is in the memory of %r" % found)


def no_argument_environment_or_file_has_it():
    for pid, (name, _) in engine.tree().items():
        for part in ("cmdline", "environ"):
            with open("/proc/%d/%s" % (pid, part), "rb") as f:
                check(KEY.encode() not in f.read(), "%s: %s has the key" % (name, part))
    for folder, _, files in os.walk(engine.folder):
        for name in files:
            path = os.path.join(folder, name)
            if path == provider.record or not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                check(KEY.encode() not in f.read(), path + " has the key")


def an_echoed_key_is_cut_out():
    for how in ("echo=body", "echo=body;echo-split=1", "echo=header"):
        code, out, err = ask("fake: " + how)
        check(KEY.encode() not in out + err, "%s: the key came back" % how)
    event = engine.wait_event("response.received",
                              lambda e: e["attrs"].get("kenaz.key_echoed"))
    check(KEY not in json.dumps(event), "the key is in the event")
    found = holders()
    check(found == {"kenaz-broker"}, "after an echo the key is in %r" % found)


def a_model_that_is_not_listed_is_refused_and_not_sent():
    count = len(provider.requests())
    body = REQUEST.replace("claude-test", "claude-other")
    code, out, err = engine.run(session, ["sh", "-c", (
        "cat > /tmp/b; wget -Y off -S -O- --header 'content-type: application/json' "
        "--post-file /tmp/b http://127.0.0.1:4141/v1/messages")], stdin=body.encode())
    check(code != 0 and b"403" in err, "%d %r %r" % (code, out, err))
    event = engine.wait_event("policy.deny", session=session)["attrs"]
    check(event["kenaz.policy.rule"] == "config.models", "%r" % event)
    check(len(provider.requests()) == count, "it was sent")


def a_usd_budget_denies_what_has_no_price():
    engine.write("policy.toml", "[budget.session]\nusd = 5\n")
    engine.call("policy.reload")
    count = len(provider.requests())
    check(ask()[0] != 0, "a model without a price passed under a USD budget")
    engine.wait_event("policy.deny", lambda e: e["attrs"].get("kenaz.policy.rule")
                      == "budget.usd", session=session)
    check(len(provider.requests()) == count, "it was sent")
    os.unlink(os.path.join(engine.config_dir, "policy.toml"))
    engine.call("policy.reload")
    check(ask()[0] == 0, "without a budget it is refused")


def the_log_has_no_key_and_verifies():
    owner.close()
    engine.wait_event("session.end", session=session)
    for e in engine.events():
        check(KEY not in json.dumps(e), "event %d has the key" % e["seq"])
    engine.stop()
    r = engine.verify()
    check(r.returncode == 0, r.stdout + r.stderr)
    provider.stop()
    engine.clean()


main(a_reply_streams_through_the_guest,
     the_key_reached_the_upstream,
     only_the_broker_has_it_in_memory,
     no_argument_environment_or_file_has_it,
     an_echoed_key_is_cut_out,
     a_model_that_is_not_listed_is_refused_and_not_sent,
     a_usd_budget_denies_what_has_no_price,
     the_log_has_no_key_and_verifies)
