#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that reads answers and hangs up before their usage comes."""

import http.client
import json
import os
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, FakeProvider, check, main, wait_for  # noqa: E402

engine = Engine(mock=True)
provider = FakeProvider(engine.folder)
engine.write("kenaz.toml", """
[[provider]]
name = "one"
kind = "byo"
endpoint = "http://127.0.0.1:%d"
allow_http = true

[pool]
start = "cold"
""" % provider.port)
engine.write("policy.toml", """
[budget.user]
tokens = 20000
""")
engine.start()


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("127.0.0.1", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def used():
    for row in engine.call("budget.show")["budgets"]:
        if row["unit"] == "tokens":
            return row["used"]
    return 0


def reads_and_leaves(session, path):
    """Half of the answer is read; the half with the usage never comes."""
    c = Unix(os.path.join(engine.runtime, "mock-" + session, "host-1024"))
    c.request("POST", path, json.dumps({
        "model": "m", "max_tokens": 4000, "stream": True, "messages": [
            {"role": "user", "content": "fake: stall=middle;deltas=40;huge=40000"}]}),
        {"content-type": "application/json"})
    r = c.getresponse()
    if r.status != 200:
        c.close()
        return r.status
    got = b""
    while len(got) < 12000:
        part = r.read1(4096)
        check(part, "the answer ended after %r" % got[-300:])
        got += part
    c.close()
    c.sock = None
    r.close()
    return 200


def an_answer_read_in_part_is_charged():
    session, owner, _ = engine.session()
    check(reads_and_leaves(session, "/v1/messages") == 200, "no answer")
    done = engine.wait_event("response.received", session=session)["attrs"]
    check(done.get("kenaz.usage_estimated") is True
          and done["kenaz.estimated.output_tokens"] > 500, "%r" % done)
    wait_for("it to be charged", lambda: used() > 500)
    owner.close()


def who_always_leaves_early_is_stopped_by_the_budget():
    session, owner, _ = engine.session()
    for n in range(40):
        before = used()
        if reads_and_leaves(session, "/v1/messages") == 429:
            break
        wait_for("it to be charged", lambda: used() > before)
    else:
        check(False, "40 answers, and %d tokens of 20000 used" % used())
    owner.close()


def it_ends():
    provider.stop()
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(an_answer_read_in_part_is_charged,
     who_always_leaves_early_is_stopped_by_the_budget, it_ends)
