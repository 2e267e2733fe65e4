#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A log that cannot be written denies everything and says so."""

import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, FakeProvider, Refused, check, main  # noqa: E402

# The log's folder is a small file system of its own, in a mount namespace
# that the engine shares with the helper that fills it.
WRAP = ["unshare", "-m", "--propagation", "private", "bash", "-c",
        'mkdir -p "$KZ_LOG" && mount -t tmpfs -o size=$KZ_SIZE,mode=700 kenaz "$KZ_LOG" '
        '&& { [ -z "$KZ_COPY" ] || cp -a "$KZ_COPY"/. "$KZ_LOG"/; } && exec "$@"', "--"]
if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
    print("skipped: mount namespaces are not to be had here")
    sys.exit(77)


def start(size="48m"):
    engine = Engine(mock=True, wrap=WRAP)
    engine.env.update(KZ_LOG=os.path.join(engine.state, "log"), KZ_SIZE=size, KZ_COPY="")
    os.makedirs(engine.state, mode=0o700, exist_ok=True)
    provider = FakeProvider(engine.folder)
    engine.write("kenaz.toml", provider.config())
    engine.start()
    engine.set_secret("anthropic", "sk-test-0123456789abcdef0123456789")
    return engine, provider


def in_its_namespace(engine, *command):
    return subprocess.run(["nsenter", "-t", str(engine.process.pid), "-m", *command],
                          capture_output=True, text=True)


def fill(engine):
    log = os.path.join(engine.state, "log")
    in_its_namespace(engine, "sh", "-c",
                     "dd if=/dev/zero of=%s/filler bs=4096 2>/dev/null; "
                     "dd if=/dev/zero of=%s/filler2 bs=1 count=4096 2>/dev/null" % (log, log))


def ask(engine, session):
    """One request at the gate's door, as the guest's shim has it: (status, text)."""
    body = json.dumps({"model": "claude-test", "max_tokens": 9, "stream": False,
                       "messages": [{"role": "user", "content": "x" * 30000}]})
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(60)
    c.connect(os.path.join(engine.runtime, "mock-" + session, "host-1024"))
    c.sendall(("POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
               % len(body)).encode() + body.encode())
    answer = b""
    while True:
        more = c.recv(65536)
        if not more:
            break
        answer += more
    c.close()
    head, _, text = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), text


def refused_everywhere(engine, session, provider, sealed=True):
    count = len(provider.requests())
    status, text = ask(engine, session)
    check(status >= 500 or status == 429, "the request was answered %d %r" % (status, text))
    check("log" in text, "the refusal does not name the log: %r" % text)
    check(len(provider.requests()) == count, "something was sent")
    if not sealed:
        return
    try:
        engine.call("session.start", detach=False)
    except Refused as e:
        check("log" in e.message, "session.start: %r" % e.message)
    else:
        check(False, "a session started without a log")
    info = engine.call("engine.info")
    check(info["state"] == "sealed" and info["sealed_reason"], "%r" % info)


def clean_again(engine, provider):
    """What was acknowledged is there after a start on a healthy disk."""
    log = os.path.join(engine.state, "log")
    keep = os.path.join(engine.folder, "kept")
    in_its_namespace(engine, "sh", "-c", "mount -o remount,rw %s; rm -f %s/filler*; "
                     "cp -a %s %s" % (log, log, log, keep))
    engine.stop()
    engine.env["KZ_COPY"] = keep
    engine.start()
    session, owner, _ = engine.session()
    status, text = ask(engine, session)
    check(status == 200, "after the restart: %d %r" % (status, text))
    owner.close()
    engine.wait_event("session.end", session=session)
    in_its_namespace(engine, "sh", "-c", "rm -rf %s; true" % keep)
    engine.stop()
    provider.stop()
    engine.clean()


def a_full_disk_refuses_with_a_sentence():
    engine, provider = start()
    session, owner, _ = engine.session()
    check(ask(engine, session)[0] == 200, "the path does not work at all")
    fill(engine)
    # What still fits in pages already there may pass; soon nothing does.
    end = time.monotonic() + 60
    while engine.call("engine.info")["state"] != "sealed":
        ask(engine, session)
        check(time.monotonic() < end, "a full disk never sealed the engine")
    refused_everywhere(engine, session, provider)
    owner.close()
    clean_again(engine, provider)


def a_read_only_disk_refuses_with_a_sentence():
    engine, provider = start()
    session, owner, _ = engine.session()
    check(ask(engine, session)[0] == 200, "the path does not work at all")
    # Open files stay writable on a plain remount: writes must fail too.
    pid = engine.pids("kenaz-audit")[0]
    subprocess.run(["prlimit", "--pid", str(pid), "--fsize=0:0"], check=True)
    refused_everywhere(engine, session, provider, sealed=False)
    owner.close()
    engine.stop()
    provider.stop()
    engine.clean()


def a_log_that_cannot_be_opened_stops_the_start():
    engine = Engine(mock=True)
    os.makedirs(os.path.join(engine.state), mode=0o700)
    with open(os.path.join(engine.state, "log"), "w") as f:
        f.write("not a folder")
    engine.start(wait=False)
    check(engine.process.wait(30) != 0, "kenazd started without a log")
    text = engine.log()
    check("log" in text, "no sentence: %r" % text)
    engine.process = None
    engine.clean()


main(a_full_disk_refuses_with_a_sentence,
     a_read_only_disk_refuses_with_a_sentence,
     a_log_that_cannot_be_opened_stops_the_start)
