#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No crash, hang-up or lost file makes a budget larger than it was."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, main, wait_for  # noqa: E402

LIMIT = 6400
engine = Engine(mock=True)
control = os.path.join(engine.folder, "control")
record = os.path.join(engine.folder, "record")
provider = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_provider.py"),
     "--control", control, "--record", record, "--seconds", "280"],
    stdout=subprocess.PIPE, text=True)
engine.write("kenaz.toml", """
[inference]
retries = 0
[[provider]]
name = "one"
kind = "byo"
endpoint = "http://127.0.0.1:%d"
allow_http = true

[pool]
start = "cold"
""" % int(provider.stdout.readline()))
engine.write("policy.toml", """
[budget.user]
requests = %d
tokens = 100000000
""" % LIMIT)
engine.start()


def behave(text):
    with open(control + ".new", "w") as f:
        f.write(text)
    os.rename(control + ".new", control)


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("127.0.0.1", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def begin(session, path="/v1/messages", **more):
    c = Unix(os.path.join(engine.runtime, "mock-" + session, "host-1024"))
    c.request("POST", path, json.dumps(dict(
        {"model": "m", "max_tokens": 5000, "messages": [
            {"role": "user", "content": "hello"}]}, **more)),
        {"content-type": "application/json"})
    return c


def ask(session):
    c = begin(session)
    status = c.getresponse().read() and 200
    c.close()
    return status


def spent(unit):
    for row in engine.call("budget.show")["budgets"]:
        if row["scope"] == "user" and row["unit"] == unit:
            return row
    return {"used": 0, "reserved": 0}


def hanging_up_is_charged():
    session, owner, _ = engine.session()
    for path in ("/v1/messages", "/v1/chat/completions"):
        before = spent("tokens")["used"]
        behave("stall=middle")
        c = begin(session, path, stream=True)
        answer = c.getresponse()
        check(answer.status == 200 and answer.read(20), "no answer")
        answer.close()
        c.close()
        wait_for("the end", lambda: spent("tokens")["reserved"] == 0)
        charged = spent("tokens")["used"] - before
        # By what came and how long it took: more than nothing, less than all.
        check(20 <= charged < 5000, "%s: %d tokens" % (path, charged))
        done = engine.wait_event("response.received", session=session)["attrs"]
        check(done["kenaz.usage_estimated"] is True, "%r" % done)
        behave("")
    owner.close()


def a_lost_broker_is_charged_what_was_reserved():
    session, owner, _ = engine.session()
    before = spent("tokens")["used"]
    behave("stall=middle")
    c = begin(session, stream=True)
    answer = c.getresponse()
    check(answer.read(20), "no answer")
    os.kill(engine.pids("kenaz-broker")[0], signal.SIGKILL)
    rest = answer.read()
    c.close()
    check(b"event: error" in rest and b"broker" in rest, "%r" % rest[-300:])
    behave("")
    wait_for("the end", lambda: spent("tokens")["reserved"] == 0)
    charged = spent("tokens")["used"] - before
    check(5000 <= charged < 6000, "%d tokens" % charged)
    # Nobody knows whether it was sent, so the log does not say so.
    done = engine.wait_event("response.received", lambda e: e["attrs"].get(
        "kenaz.error") == "broker lost", session=session)["attrs"]
    check("kenaz.sent" not in done, "%r" % done)
    wait_for("a new broker", lambda: engine.pids("kenaz-broker"))
    owner.close()


def asked():
    with open(record) as f:
        return sum(json.loads(line)["event"] == "request" for line in f)


def no_crash_forgets_a_request():
    chance = random.Random(4)
    for turn in range(4):
        session, owner, _ = engine.session()
        stop = threading.Event()

        def load():
            while not stop.is_set():
                try:
                    ask(session)
                except (OSError, http.client.HTTPException):
                    pass
        threads = [threading.Thread(target=load) for _ in range(4)]
        before = asked()
        for t in threads:
            t.start()
        wanted = before + chance.randrange(3, 300)
        wait_for("some requests", lambda: asked() >= wanted)
        victim = "kenaz-audit" if turn == 3 else "kenazd"
        if victim == "kenazd":
            os.kill(engine.process.pid, signal.SIGKILL)
            engine.process.wait()
            engine.process = None
        else:
            os.kill(engine.pids(victim)[0], signal.SIGKILL)
            engine.wait_event("log.recovered", lambda e: True)
        stop.set()
        for t in threads:
            t.join()
        if victim == "kenazd":
            wait_for("the old processes to end", lambda: engine.start() is engine)
        wait_for("no request under way", lambda: spent("requests")["reserved"] == 0)
        used, true = spent("requests")["used"], asked()
        # Each crash costs a sixty-fourth of the limit, and what was on its way.
        most = true + (turn + 1) * (LIMIT // 64 + 8)
        check(true <= used <= most, "%s: %d asked, %d charged" % (victim, true, used))


def what_is_no_ledger_is_not_nothing_spent():
    used = spent("requests")["used"]
    engine.stop()
    path = os.path.join(engine.state, "budget.ledger")
    with open(path, "rb") as f:
        good = f.read()
    for bad in (b"", good[:7], good[:-1] + bytes([good[-1] ^ 1])):
        with open(path, "wb") as f:
            f.write(bad)
        engine.start(wait=False)
        check(engine.process.wait(30) == 1, "%d bytes were taken" % len(bad))
        engine.process = None
    with open(path, "wb") as f:
        f.write(good)
    engine.start()
    check(spent("requests")["used"] == used, "%r" % spent("requests"))
    check(not engine.events(kind="budget.reset"), "a reset that was none")


def an_older_or_missing_ledger_is_in_the_log():
    path = os.path.join(engine.state, "budget.ledger")
    with open(path, "rb") as f:
        old = f.read()
    session, owner, _ = engine.session()
    check(ask(session) == 200, "no answer")
    owner.close()
    engine.stop()
    with open(path, "wb") as f:
        f.write(old)
    engine.start()
    why = engine.wait_event("budget.reset")["attrs"]["kenaz.reason"]
    check("older" in why, why)
    engine.stop()
    os.unlink(path)
    engine.start()
    engine.wait_event("budget.reset", lambda e: "no ledger" in e["attrs"]["kenaz.reason"])
    engine.stop()
    engine.start()
    wait_for("its note", lambda: len(engine.events(kind="budget.kept")) >= 4)
    check(len(engine.events(kind="budget.reset")) == 2, "one more reset")


def it_ends():
    provider.kill()
    provider.wait()
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(hanging_up_is_charged, a_lost_broker_is_charged_what_was_reserved,
     no_crash_forgets_a_request, what_is_no_ledger_is_not_nothing_spent,
     an_older_or_missing_ledger_is_in_the_log, it_ends)
