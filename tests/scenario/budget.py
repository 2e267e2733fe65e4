#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What was spent stays spent, also when the engine is killed in mid-request."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, cli, main, wait_for  # noqa: E402

engine = Engine(mock=True)
control = os.path.join(engine.folder, "control")
record = os.path.join(engine.folder, "record")
provider = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_provider.py"),
     "--control", control, "--record", record, "--seconds", "280"],
    stdout=subprocess.PIPE, text=True)
port = int(provider.stdout.readline())
engine.write("kenaz.toml", """
[[provider]]
name = "one"
kind = "byo"
endpoint = "http://127.0.0.1:%d"
allow_http = true

[pool]
start = "cold"
""" % port)
engine.write("policy.toml", """
[budget.user]
requests = 6
tokens = 100000
""")
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


def ask(session, path="/v1/messages", **more):
    c = Unix(os.path.join(engine.runtime, "mock-" + session, "host-1024"))
    body = dict({"model": "m", "max_tokens": 50, "messages": [
        {"role": "user", "content": "hello"}]}, **more)
    c.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    r = c.getresponse()
    answer = r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    c.close()
    return answer


def spent(unit):
    for row in engine.call("budget.show")["budgets"]:
        if row["scope"] == "user" and row["unit"] == unit:
            return row
    return None


def requests_count():
    session, owner, _ = engine.session()
    for _ in range(3):
        check(ask(session)[0] == 200, "no answer")
    row = wait_for("three requests", lambda: spent("requests")["used"] == 3 and spent("requests"))
    check(row["limit"] == 6 and row["left"] == 3 and row["reserved"] == 0, "%r" % row)
    check(spent("tokens")["used"] == 54, "%r" % spent("tokens"))
    owner.close()


def what_was_spent_outlives_a_kill_in_mid_request():
    session, owner, _ = engine.session()
    behave("stall=before")

    def stuck():
        try:
            ask(session)
        except OSError:
            pass
    thread = threading.Thread(target=stuck)
    thread.start()
    wait_for("the request in flight", lambda: spent("requests")["reserved"] == 1)
    os.kill(engine.process.pid, signal.SIGKILL)
    engine.process.wait()
    thread.join()
    engine.process = None
    behave("")
    wait_for("the old processes to end", lambda: engine.start() is engine)
    row = spent("requests")
    # The three, and the one that may have reached the provider.
    check(row["used"] == 4 and row["left"] == 2, "%r" % row)
    check(spent("tokens")["used"] >= 54, "%r" % spent("tokens"))
    session, owner, _ = engine.session()
    check(ask(session)[0] == 200 and ask(session)[0] == 200, "no answer")
    wait_for("six requests", lambda: spent("requests")["used"] == 6)
    status, headers, body = ask(session)
    check(status == 429 and b"rate_limit_error" in body and b"it is new at" in body,
          "%d %r" % (status, body))
    check(0 < int(headers["retry-after"]) <= 86400, "%r" % headers)
    status, headers, body = ask(session, "/v1/chat/completions")
    check(status == 429 and "retry-after" in headers and json.loads(body)["error"]["message"],
          "%d %r" % (status, body))
    denied = engine.wait_event("policy.deny", session=session)["attrs"]
    check(denied["kenaz.policy.target"] == "budget", "%r" % denied)
    owner.close()


def an_orderly_end_keeps_it_too():
    engine.stop()
    engine.start()
    check(spent("requests")["used"] == 6, "%r" % spent("requests"))
    code, out, err = cli("budget", "show", env={"KENAZ_SOCKET": engine.path})
    check(code == 0 and b"requests" in out.encode() if isinstance(out, str)
          else b"requests" in out, "%r %r" % (out, err))


def a_ledger_of_tomorrow_stops_the_engine():
    engine.stop()
    path = os.path.join(engine.state, "budget.ledger")
    with open(path, "rb") as f:
        good = f.read()
    with open(path, "wb") as f:
        f.write(good[:12] + b"\x09\0\0\0" + good[16:])
    engine.start(wait=False)
    check(engine.process.wait(30) == 1 and "newer Kenaz" in engine.log(), engine.log()[-500:])
    engine.process = None
    with open(path, "wb") as f:
        f.write(good)
    engine.start()
    check(spent("requests")["used"] == 6, "%r" % spent("requests"))


def it_ends():
    provider.kill()
    provider.wait()
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(requests_count, what_was_spent_outlives_a_kill_in_mid_request,
     an_orderly_end_keeps_it_too, a_ledger_of_tomorrow_stops_the_engine, it_ends)
