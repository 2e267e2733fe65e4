#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""curl with HTTP/2 and prior knowledge at the socket of a session's gate."""

import json
import os
import select
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Engine, check, main  # noqa: E402

MANY = 12

try:
    told = subprocess.run(["curl", "--version"], capture_output=True, text=True,
                          check=True).stdout
except OSError:
    told = ""
if "HTTP2" not in told:
    print("skipped: no curl with HTTP/2")
    sys.exit(77)

fake = subprocess.Popen(
    [sys.executable, os.path.join(os.path.dirname(__file__), "..", "lib",
                                  "fake_models.py"), "--stdin-ends"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
# Another that takes a request and never answers.
silent = socket.create_server(("127.0.0.1", 0))
engine = Engine(mock=True, config="[limits]\nevent_rate_per_s = 100000\n" +
                "".join('''
[[provider]]
name = "%s"
kind = "byo"
dialects = ["chat"]
endpoint = "http://127.0.0.1:%d"
allow_http = true
retries = 0
''' % entry for entry in (("fake", int(fake.stdout.readline())),
                          ("silent", silent.getsockname()[1])))).start()


def gate_of(provider):
    session, _, _ = engine.session(provider=provider)
    return session, os.path.join(engine.runtime, "mock-" + session, "host-1024")


session, gate = gate_of("fake")
waiting, waiting_gate = gate_of("silent")


def arguments(at, *more):
    return ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", at,
            "--max-time", "120", *more]


def curl(*more, stdin=None):
    done = subprocess.run(arguments(gate, *more), input=stdin,
                          capture_output=True, timeout=180, check=False)
    check(done.returncode == 0, "curl: %d %r" % (done.returncode, done.stderr))
    return done.stdout


def body(stream=False):
    return json.dumps({"model": "m", "stream": stream, "messages": [
        {"role": "user", "content": "How are you?"}]})


POST = ("-H", "content-type: application/json", "-d")
CHAT = "http://kenaz/v1/chat/completions"


def plain_and_streamed():
    out = curl("-w", "|%{http_version}|%{http_code}", "http://kenaz/")
    check(out.endswith(b"|2|200") and b"kenaz" in out, "%r" % out)
    out = curl("-I", "http://kenaz/")
    check(out.startswith(b"HTTP/2 200"), "%r" % out)
    out = json.loads(curl(*POST, body(), CHAT))
    check(out["choices"][0]["message"]["content"], "%r" % out)
    out = curl("-N", *POST, body(True), CHAT)
    check(out.count(b"data: ") > 2 and out.rstrip().endswith(b"[DONE]"),
          "%r" % out[-300:])


# curl 7.88.1 with prior knowledge cannot use a connection twice, whatever the
# server; many streams of one are in tests/unit and tests/sdk.
def many_at_once():
    clients = [subprocess.Popen(arguments(gate, *POST, body(True), CHAT),
                                stdout=subprocess.PIPE) for _ in range(MANY)]
    for client in clients:
        out = client.communicate(timeout=180)[0]
        check(client.returncode == 0 and out.rstrip().endswith(b"[DONE]"),
              "%d %r" % (client.returncode, out[-300:]))


def what_is_wrong_is_refused():
    out = curl("-H", "x-large: " + "v" * 7000, "-w", "|%{http_code}",
               "http://kenaz/")
    check(out.endswith(b"|431"), "%r" % out[-300:])
    out = curl("-w", "|%{http_code}", "http://kenaz/none")
    check(out.endswith(b"|404"), "%r" % out[-300:])
    out = curl("-H", "content-encoding: gzip", *POST, body(), "-w",
               "|%{http_code}", CHAT)
    check(out.endswith(b"|415"), "%r" % out[-300:])


def who_hangs_up_cancels_the_provider():
    client = subprocess.Popen(arguments(waiting_gate, *POST, body(True), CHAT),
                              stdout=subprocess.DEVNULL)
    silent.settimeout(60)
    upstream = silent.accept()[0]
    upstream.settimeout(60)
    check(upstream.recv(65536), "no request")
    client.kill()
    client.wait()
    while select.select([upstream], [], [], 60)[0]:
        if not upstream.recv(65536):
            break
    else:
        check(False, "the provider still answers nobody")
    upstream.close()
    engine.wait_event("response.received", session=waiting)


def the_log_verifies():
    check(engine.events(session=session, kind="prompt.sent"), "no prompt.sent")
    engine.stop()
    fake.stdin.close()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(plain_and_streamed, many_at_once, what_is_wrong_is_refused,
     who_hangs_up_cancels_the_provider, the_log_verifies)
