#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every one of many requests on many kept connections is answered."""

import json
import os
import selectors
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Engine, check, main  # noqa: E402

CONNECTIONS, REQUESTS, SILENCE_S = 16, 60, 30
BODY = json.dumps({"model": "scripted", "max_tokens": 16, "messages": [
    {"role": "user", "content": "How are you?"}]}).encode()
REQUEST = (b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
           b"Content-Type: application/json\r\n"
           b"Content-Length: %d\r\n\r\n" % len(BODY)) + BODY

engine = Engine(mock=True, config="""
[limits]
event_rate_per_s = 100000
""").start()
# The socket that stands for vsock port 1024 leads straight to the gate.
session, owner, _ = engine.session()
GATE = os.path.join(engine.runtime, "mock-" + session, "host-1024")


def is_whole(data):
    """Whether data is one answer, by its length or its last chunk."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    check(head.startswith(b"HTTP/1.1 200 "), "an answer is %r" % data[:300])
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return body.endswith(b"0\r\n\r\n")


def all_are_answered():
    left = {}
    data = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            s = socket.socket(socket.AF_UNIX)
            s.connect(GATE)
            selector.register(s, selectors.EVENT_READ)
            left[s], data[s] = REQUESTS, b""
            s.sendall(REQUEST)
        while selector.get_map():
            ready = selector.select(SILENCE_S)
            check(ready, "no answer on %d of %d connections"
                  % (len(selector.get_map()), CONNECTIONS))
            for key, _ in ready:
                s = key.fileobj
                more = s.recv(65536)
                check(more, "the gate closed a connection: %r" % data[s])
                data[s] += more
                if not is_whole(data[s]):
                    continue
                left[s], data[s] = left[s] - 1, b""
                if left[s]:
                    s.sendall(REQUEST)
                else:
                    selector.unregister(s)
                    s.close()


def each_has_its_outcome_in_the_log():
    count = CONNECTIONS * REQUESTS
    for kind in ("prompt.sent", "response.received"):
        found = len(engine.events(session=session, kind=kind))
        check(found == count, "%d events %s of %d" % (found, kind, count))


def it_ends():
    owner.close()
    engine.stop()
    engine.clean()


main(all_are_answered, each_has_its_outcome_in_the_log, it_ends)
