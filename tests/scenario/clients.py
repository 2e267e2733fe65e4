#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile and careless clients of the control socket do not harm the engine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Connection, Engine, Refused, check, main, wait_for  # noqa: E402

engine = Engine(mock=True).start()
session, owner, started = engine.session()


def alive():
    check(engine.process.poll() is None, "kenazd ended: " + engine.log()[-4000:])
    return engine.call("engine.info")


def request(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method,
                       "params": params}).encode() + b"\n"


def who_leaves_before_its_terminal_is_ready_is_forgotten():
    for i in range(60):
        c = Connection(engine.path)
        c.sock.sendall(request(1, "session.exec", session=session, argv=["true"]))
        c.close()
        if i % 20 == 0:
            alive()
    alive()
    code, out, _ = engine.run(session, ["echo", "fine"])
    check(code == 0 and out == b"fine\n", "%r %r" % (code, out))


def who_reads_no_answers_is_not_read():
    c = Connection(engine.path)
    c.sock.settimeout(3)
    line = request(1, "policy.show") * 64
    try:
        for _ in range(2000):
            c.sock.sendall(line)
    except (socket.timeout, BrokenPipeError, ConnectionResetError):
        pass
    alive()
    c.close()
    alive()


def pipelined_requests_are_all_answered():
    c = Connection(engine.path)
    count = 300
    c.sock.sendall(b"".join(request(i, "audit.list", limit=1) for i in range(count)))
    seen = set()
    while len(seen) < count:
        seen.add(c.line()["id"])
    c.close()


def a_session_that_ends_takes_an_unanswered_terminal_along():
    other, other_owner, _ = engine.session()
    c = Connection(engine.path)
    # Fill the way back, so that the terminal's answer stays in the engine.
    for _ in range(40):
        c.sock.sendall(request(1, "doctor"))
    c.sock.sendall(request(2, "session.exec", session=other, argv=["true"]))
    wait_for("terminal.attached", lambda: [
        e for e in engine.events(session=other) if e["kind"] == "terminal.attached"])
    engine.call("session.stop", session=other)
    wait_for("the end", lambda: engine.call("session.show", session=other)
             ["state"] in ("ended", "failed"))
    alive()
    c.sock.settimeout(5)
    try:
        while c.sock.recv(1 << 20):
            pass
    except (socket.timeout, ConnectionResetError):
        pass
    c.close()
    other_owner.close()
    alive()


def sessions_that_end_leak_no_descriptors():
    before = len(os.listdir("/proc/%d/fd" % engine.process.pid))
    for _ in range(4):
        s, o, _ = engine.session()
        o.close()
        wait_for("the end", lambda: engine.call("session.show", session=s)["state"]
                 in ("ended", "failed"))
    wait_for("descriptors to be closed", lambda: len(os.listdir(
        "/proc/%d/fd" % engine.process.pid)) <= before, 10)


def starts_that_fail_leak_no_descriptors():
    other = Engine().start()
    folder = "/proc/%d/fd" % other.process.pid
    before = None
    for i in range(80):
        try:
            other.call("session.start", image="no-such-image", detach=False)
            check(False, "an image that is not there was started")
        except Refused as refused:
            check(refused.name == "not_found", "%r" % refused.error)
        if i == 5:
            before = len(os.listdir(folder))
    wait_for("descriptors to be closed",
             lambda: len(os.listdir(folder)) <= before + 2, 20)
    other.stop()
    check("ERROR: AddressSanitizer" not in other.log(), other.log()[-6000:])
    other.clean()


def one_user_of_a_shared_host_cannot_take_every_place():
    folder = tempfile.mkdtemp(prefix="kz-")
    shared = Engine(options=["--system"], folder=folder)
    os.makedirs(shared.runtime, exist_ok=True)
    os.chmod(folder, 0o711)
    os.chmod(shared.runtime, 0o755)
    shared.start()
    # Another user connects as often as it can, then says how often it could.
    program = ("import socket, sys, os\nos.setuid(65534)\nheld, n = [], 0\n"
               "for i in range(200):\n"
               "    s = socket.socket(socket.AF_UNIX); s.settimeout(2)\n"
               "    s.connect(sys.argv[1]); held.append(s)\n"
               "    try:\n"
               "        s.sendall(b'{}\\n'); n += bool(s.recv(1))\n"
               "    except OSError: pass\n"
               "print(n, flush=True); sys.stdin.read()\n")
    other = subprocess.Popen([sys.executable, "-c", program, shared.path],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    count = int(other.stdout.readline())
    check(0 < count <= 64, "%d connections" % count)
    shared.call("engine.info")
    other.communicate()
    shared.stop()
    shutil.rmtree(folder)


def a_reload_by_signal_is_in_the_log():
    before = len(engine.events(kind="policy.loaded"))
    engine.process.send_signal(signal.SIGHUP)
    wait_for("policy.loaded", lambda: len(
        engine.events(kind="policy.loaded")) == before + 1)


def it_ends():
    owner.close()
    engine.wait_event("session.end", session=session)
    engine.stop()
    check("ERROR: AddressSanitizer" not in engine.log(), engine.log()[-6000:])
    engine.clean()


main(who_leaves_before_its_terminal_is_ready_is_forgotten,
     pipelined_requests_are_all_answered,
     a_session_that_ends_takes_an_unanswered_terminal_along,
     who_reads_no_answers_is_not_read,
     sessions_that_end_leak_no_descriptors,
     starts_that_fail_leak_no_descriptors, a_reload_by_signal_is_in_the_log,
     *([one_user_of_a_shared_host_cannot_take_every_place]
       if os.getuid() == 0 else []), it_ends)
