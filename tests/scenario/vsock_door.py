#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A session's socket in Firecracker's style, and a missing kernel backend."""
import os
import socket
import stat
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import (Engine, Refused, TOP, check, have_image, main,  # noqa: E402
                   wait_for)

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

CONFIG = '[engine]\naccelerator = "tcg"\n'
POLICY = """
[[rule]]
id = "echo-port"
effect = "allow"
target = "vsock"
port = [5000, 5001]

[[rule]]
id = "ask-port"
effect = "ask"
target = "vsock"
port = 6000

[[test]]
target = "vsock"
port = 5000
expect = "allow"
rule = "echo-port"

[[test]]
target = "vsock"
port = 7
expect = "deny"
rule = "default.vsock"
"""
PATIENCE_S = 60


def build_probe(folder):
    path = os.path.join(folder, "probe")
    subprocess.run([os.environ.get("CC", "gcc"), "-static", "-O2",
                    "-D_GNU_SOURCE", "-o", path,
                    os.path.join(TOP, "tests/nested/vsock_probe.c")],
                   check=True)
    return path


def events(e, session, kind):
    return e.events(session=session, kind=kind)


def dial(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(PATIENCE_S)
    s.connect(path)
    return s


def read_line(s):
    line = b""
    while not line.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            return line
        line += byte
    return line


def read_all(s):
    data = b""
    while True:
        try:
            more = s.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def refused(path, *pieces):
    """Whoever is refused is closed without an answer."""
    s = dial(path)
    try:
        for piece in pieces:
            s.sendall(piece)
    except BrokenPipeError:
        pass
    got = read_all(s)
    s.close()
    check(got == b"", "%r was answered with %r" % (pieces, got))


def without_a_rule_there_is_no_socket():
    e = Engine(config=CONFIG).start()
    session, _, _ = e.session(memory_mib=128)
    check("vsock_socket" not in e.call("session.show", session=session),
          "a socket although no rule allows anything")
    check(not os.path.exists(os.path.join(e.runtime, "vsock")),
          "a folder although no rule allows anything")
    e.stop()
    e.clean()


def start_echo(session):
    """A program of the guest that listens on port 5000."""
    with open(build_probe(engine.folder), "rb") as f:
        code, _, err = engine.run(
            session, ["sh", "-c", "cat >/tmp/probe && chmod +x /tmp/probe"],
            stdin=f.read())
    check(code == 0, "the probe did not reach the guest: %r" % err)
    t = engine.terminal(session, ["/tmp/probe", "echo", "5000", "100"])
    t.read_until(b"listening")
    return t


def test_use(e, path, session):
    # In one piece, with bytes behind the line, half-closed: answered whole.
    s = dial(path)
    s.sendall(b"CONNECT 5000\nhello guest")
    s.shutdown(socket.SHUT_WR)
    line = read_line(s)
    check(line.startswith(b"OK ") and line[3:-1].isdigit(), "got %r" % line)
    check(int(line[3:]) >= 1 << 30, "not a port of the host's side: %r" % line)
    check(read_all(s) == b"hello guest", "the guest's answer")
    s.close()

    # In pieces, and more than any buffer.
    s = dial(path)
    for piece in (b"CON", b"NECT ", b"50", b"00\n"):
        s.sendall(piece)
        time.sleep(0.01)  # so that they are pieces; nothing waits for it
    check(read_line(s).startswith(b"OK "), "the line in pieces")
    sent = os.urandom(400000)
    pid = os.fork()
    if pid == 0:
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
        os._exit(0)
    check(read_all(s) == sent, "bytes were lost")
    os.waitpid(pid, 0)
    s.close()

    wait_for("both ends in the log",
             lambda: len(events(e, session, "vsock.close")) == 2)
    opened = events(e, session, "vsock.connect")
    closed = events(e, session, "vsock.close")
    check(len(opened) == 2, "an event for each connection")
    a = opened[0]["attrs"]
    check(a["kenaz.vsock.port"] == 5000 and
          a["kenaz.policy.rule"] == "echo-port" and
          a["kenaz.client.pid"] == os.getpid(), "vsock.connect says %r" % a)
    sizes = sorted((c["attrs"]["kenaz.bytes_to_guest"],
                    c["attrs"]["kenaz.bytes_from_guest"]) for c in closed)
    check(sizes == [(11, 11), (400000, 400000)], "bytes %r" % sizes)


def test_refusals(e, path, session):
    before = len(events(e, session, "policy.deny"))
    silent = dial(path)
    silent.sendall(b"CONNECT ")  # and nothing more: looked at below
    refused(path, b"CONNECT 7\n")
    wait_for("the denial in the log", lambda: len(
        events(e, session, "policy.deny")) == before + 1)
    deny = events(e, session, "policy.deny")[-1]["attrs"]
    check(deny["kenaz.policy.rule"] == "default.vsock" and
          deny["kenaz.vsock.port"] == 7, "policy.deny says %r" % deny)
    refused(path, b"CONNECT 1024\n")
    refused(path, b"CONNECT 0\n")
    refused(path, b"HELLO 5000\n")
    refused(path, b"CONNECT 5000" + b" " * 40)
    # Nobody listens there: said in the log, not to the client.
    refused(path, b"CONNECT 5001\n")
    failed = wait_for("the failure in the log", lambda: [
        c for c in events(e, session, "vsock.close")
        if c["attrs"]["kenaz.vsock.port"] == 5001])
    check("error.type" in failed[0]["attrs"], "a failure without an error")
    check(read_all(silent) == b"", "an unfinished line was answered")
    silent.close()
    # More clients than there may be.
    many = [dial(path) for _ in range(24)]
    served = 0
    for s in many:
        try:
            s.sendall(b"CONNECT 5000\n")
            served += read_line(s).startswith(b"OK ")
        except (BrokenPipeError, ConnectionResetError):
            pass
    check(1 <= served <= 16, "%d of 24 clients were served" % served)
    for s in many:
        s.close()


def test_ask(e, path, session):
    s = dial(path)
    s.sendall(b"CONNECT 6000\n")
    asked = wait_for("the question", lambda: e.call("approvals.list")
                     ["approvals"])
    check("port 6000" in asked[0]["summary"], "asked %r" % asked)
    e.call("approvals.deny", id=asked[0]["id"])
    check(read_all(s) == b"", "a denied client got an answer")
    s.close()


def the_socket_is_the_owners_alone():
    mode = os.stat(path).st_mode
    check(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, "its mode")
    folder = os.stat(os.path.dirname(path)).st_mode
    check(stat.S_IMODE(folder) == 0o700, "its folder's mode")


def bytes_go_both_ways_and_are_written_down():
    test_use(engine, path, session)


def whoever_is_refused_is_closed():
    test_refusals(engine, path, session)


def an_ask_waits_for_its_answer():
    test_ask(engine, path, session)


def the_socket_goes_with_its_session():
    s = dial(path)
    s.sendall(b"CONNECT 5000\n")
    check(read_line(s).startswith(b"OK "), "the last connection")
    connection.close()
    check(read_all(s) == b"", "bytes after the end")
    wait_for("the socket to go", lambda: not os.path.exists(path))
    engine.wait_event("session.end", session=session)
    check(len(events(engine, session, "vsock.connect")) ==
          len(events(engine, session, "vsock.close")),
          "a connection without its end in the log")
    for one in engine.pids("kenaz-launch") + engine.pids("kenaz-gate"):
        wait_for("its processes to end", lambda: one not in engine.tree())


def the_log_verifies():
    echo.sock.close()
    engine.stop()
    done = engine.verify()
    check(done.returncode == 0, done.stdout + done.stderr)
    engine.clean()


def a_missing_kernel_backend_is_refused():
    if os.path.exists("/dev/vhost-vsock"):
        return
    e = Engine(config=CONFIG + 'vsock = "kernel"\n').start()
    try:
        e.session(memory_mib=128)
        check(False, "a session without the device")
    except Refused as r:
        check('engine.vsock is "kernel", but /dev/vhost-vsock cannot be '
              "opened: No such file or directory" in r.message,
              "refused with %r" % r.message)
    checks = {c["id"]: c for c in e.call("doctor")["checks"]}
    check(checks["vhost-vsock"]["status"] == "fail", "doctor says nothing")
    e.stop()
    e.clean()


engine = Engine(config=CONFIG, policy=POLICY).start()
session, connection, _ = engine.session(memory_mib=128)
path = engine.call("session.show", session=session)["vsock_socket"]
echo = start_echo(session)

main(the_socket_is_the_owners_alone,
     bytes_go_both_ways_and_are_written_down,
     whoever_is_refused_is_closed,
     an_ask_waits_for_its_answer,
     the_socket_goes_with_its_session,
     the_log_verifies,
     without_a_rule_there_is_no_socket,
     a_missing_kernel_backend_is_refused)
