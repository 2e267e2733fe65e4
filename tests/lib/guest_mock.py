#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""guest_mock.py GUESTD WORKBENCH - the cases of tests/scenario/guest_mock.sh

Plays the host: the gate's and the egress' ports as unix sockets, and the
host's streams into the guest.
"""
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

GUESTD, WORKBENCH = sys.argv[1:3]
DEADLINE = 30.0
DATA, EOF, RESIZE, SIGNAL, EXIT, ERROR = 1, 2, 3, 4, 5, 6
SSE = ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
       "x-kenaz-scripted: 1\r\nConnection: close\r\n\r\n")


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "deadline"
        time.sleep(0.01)


def frame(kind, stream, data=b""):
    return struct.pack("<BBHI", kind, stream, 0, len(data)) + data


def read_frames(stream):
    raw, frames = b"", []
    while True:
        data = stream.recv(65536)
        if not data:
            assert raw == b"", raw
            return frames
        raw += data
        while len(raw) >= 8:
            kind, number, zero, size = struct.unpack("<BBHI", raw[:8])
            assert zero == 0
            if len(raw) < 8 + size:
                break
            frames.append((kind, number, raw[8:8 + size]))
            raw = raw[8 + size:]


def output(frames, stream=1):
    return b"".join(d for k, s, d in frames if k == DATA and s == stream)


def exit_of(frames):
    assert frames[-1][0] == EXIT, frames[-1]
    code, signalled = struct.unpack("<iB", frames[-1][2])
    return code, bool(signalled)


def read_head(stream):
    head = b""
    while b"\r\n\r\n" not in head:
        data = stream.recv(65536)
        assert data, head
        head += data
    return head.split(b"\r\n\r\n", 1)


def event(**data):
    return "event: %s\ndata: %s\n\n" % (data["type"], json.dumps(data))


def text_block(index, text):
    return (event(type="content_block_start", index=index,
                  content_block={"type": "text", "text": ""}) +
            event(type="content_block_delta", index=index,
                  delta={"type": "text_delta", "text": text}) +
            event(type="content_block_stop", index=index))


def call_block(index, name, given):
    return (event(type="content_block_start", index=index,
                  content_block={"type": "tool_use", "id": "t%d" % index,
                                 "name": name, "input": {}}) +
            event(type="content_block_delta", index=index,
                  delta={"type": "input_json_delta",
                         "partial_json": json.dumps(given)}) +
            event(type="content_block_stop", index=index))


def message(blocks, reason):
    return (event(type="message_start", message={"model": "m"}) + blocks +
            event(type="message_delta", delta={"stop_reason": reason}) +
            event(type="message_stop"))


class Host:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kenaz-mock-")
        self.announced = threading.Event()
        self.destinations = []
        self.requests = []
        self.listen(1024, self.serve_gate)
        self.listen(1025, self.serve_egress)
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        self.core = ours

        def place():
            os.dup2(theirs.fileno(), 3, inheritable=True)

        self.guest = subprocess.Popen([GUESTD, "--dev-mock", self.folder],
                                      close_fds=False, preexec_fn=place)
        theirs.close()
        assert self.announced.wait(DEADLINE), "no announce"

    def listen(self, port, serve):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("%s/host-%d" % (self.folder, port))
        listener.listen(64)

        def accept():
            while True:
                stream, _ = listener.accept()
                threading.Thread(target=serve, args=(stream,),
                                 daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def serve_gate(self, stream):
        head, body = read_head(stream)
        if head.startswith(b"POST /kenaz/v1/announce "):
            assert set(json.loads(body)) == {"guestd",
                                             "uptime_ns", "kernel"}
            stream.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            self.announced.set()
        elif head.startswith(b"POST /v1/messages "):
            self.serve_messages(stream, head, body)
        else:
            stream.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" +
                           head.split(b"\r\n")[0])
        stream.close()

    def serve_messages(self, stream, head, body):
        size = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")][0]
        while len(body) < size:
            body += stream.recv(65536)
        asked = json.loads(body)
        self.requests.append(asked)
        last = asked["messages"][-1]["content"]
        if last[0]["type"] == "tool_result":
            said = message(text_block(0, "result: " + last[0]["content"]),
                           "end_turn")
        elif last[0]["text"] == "use a tool":
            said = message(
                call_block(0, "bash", {"command": "echo $((40 + 2))"}) +
                text_block(1, "Kenaz denied the tool call bash: rule no-rm "
                              "(rm is denied)."), "tool_use")
        elif last[0]["text"] == "be cut":
            said = event(type="message_start", message={"model": "m"})
        else:
            said = message(text_block(0, "plain \x1b[2J"), "end_turn")
        stream.sendall((SSE + said).encode())

    def serve_egress(self, stream):
        line = b""
        while not line.endswith(b"\n"):
            line += stream.recv(1)
        self.destinations.append(line)
        name = line.split()[0]
        if name == b"denied.example":
            stream.sendall(b"denied default-deny\n")
        elif name == b"failed.example":
            stream.sendall(b"failed no route to host\n")
        else:
            stream.sendall(b"ok\n")
            if line.endswith(b" 80\n"):
                head, _ = read_head(stream)
                stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + head)
            else:
                while True:
                    data = stream.recv(65536)
                    if not data:
                        break
                    stream.sendall(data)
        stream.close()

    def connect(self):
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(DEADLINE)
        stream.connect(self.folder + "/guest-1024")
        return stream

    def open(self, **line):
        stream = self.connect()
        stream.sendall(json.dumps(line).encode() + b"\n")
        return stream

    def exec(self, *argv, **more):
        return self.open(op="exec", argv=list(argv), **more)

    def run(self, *argv, **more):
        return read_frames(self.exec(*argv, **more))

    def hello(self):
        nonce, entropy = os.urandom(32), os.urandom(64)
        wall = time.time_ns() // 1000
        self.control = self.open(
            op="hello", v=1, nonce=nonce.hex(), wall_us=wall,
            entropy=base64.b64encode(entropy).decode(),
            hostname="kenaz-test", env={"FROM_HELLO": "yes"})
        self.lines = self.control.makefile("rb")
        answer = json.loads(self.lines.readline())
        receipt = hashlib.sha256(nonce + entropy + str(wall).encode())
        assert answer["v"] == 1 and answer["nonce"] == nonce.hex()
        assert answer["receipt"] == receipt.hexdigest()


def case_nothing_before_the_hello(host):
    frames = host.run("true")
    assert frames[0][0] == ERROR and b"not ready" in frames[0][2], frames
    host.hello()


def case_exec(host):
    frames = host.run("sh", "-c", "echo out; echo err >&2; env; exit 3",
                      env={"MINE": "1"})
    assert exit_of(frames) == (3, False)
    assert output(frames, 2) == b"err\n"
    lines = output(frames).decode().splitlines()
    assert lines[0] == "out"
    names = dict(line.split("=", 1) for line in lines[1:] if "=" in line)
    assert names["MINE"] == names["IS_SANDBOX"] == "1"
    assert names["FROM_HELLO"] == "yes"
    assert names["KENAZ_NO_ISOLATION"] == "1"
    assert names["ANTHROPIC_API_KEY"] == "kenaz-no-key-in-guest"
    assert names["HTTPS_PROXY"] == names["http_proxy"]
    assert exit_of(host.run("sh", "-c", "kill -9 $$")) == (9, True)
    frames = host.run("no\x1bsuch")
    assert exit_of(frames) == (127, False)
    assert output(frames, 2) == b"kenaz: no\\x1bsuch: not found\n"
    assert exit_of(host.run("/etc/passwd")) == (126, False)
    assert exit_of(host.run("true", cwd="/nonexistent")) == (126, False)


def case_bulk_both_ways(host):
    stream = host.exec("cat")
    data = os.urandom(16384)

    def feed():
        for _ in range(200):
            stream.sendall(frame(DATA, 0, data))
        stream.sendall(frame(EOF, 0))

    threading.Thread(target=feed, daemon=True).start()
    frames = read_frames(stream)
    assert output(frames) == data * 200
    assert exit_of(frames) == (0, False)


def case_terminal(host):
    stream = host.exec("sh", "-c", "stty size; read x; stty size; echo $x; "
                       "exec cat", tty=True, rows=33, cols=101)
    seen = b""
    while b"33 101" not in seen:
        seen += stream.recv(65536)
    stream.sendall(frame(RESIZE, 0, struct.pack("<HH", 40, 120)))
    stream.sendall(frame(DATA, 0, b"typed\n"))
    while seen.count(b"typed") < 2:
        seen += stream.recv(65536)
    assert b"40 120" in seen, seen
    # A shell may lose a signal between two commands: wait for cat itself.
    stream.sendall(frame(DATA, 0, b"more\n"))
    while seen.count(b"more") < 2:
        seen += stream.recv(65536)
    stream.sendall(frame(DATA, 0, b"\x03"))
    while b"\x05\x00\x00\x00\x05\x00\x00\x00" not in seen:
        data = stream.recv(65536)
        assert data, seen
        seen += data
    assert seen.endswith(struct.pack("<iB", signal.SIGINT, 1)), seen


def case_signal_and_hang_up(host):
    stream = host.exec("sleep", "60")
    stream.sendall(frame(SIGNAL, 0, bytes([signal.SIGTERM])))
    assert exit_of(read_frames(stream)) == (signal.SIGTERM, True)
    stream = host.exec("sh", "-c", "trap '' HUP; sleep 60 & echo $! $$; wait")
    head = stream.recv(8)
    size = struct.unpack("<BBHI", head)[3]
    pids = stream.recv(size).split()
    assert len(pids) == 2
    stream.close()
    until(lambda: not any(os.path.exists("/proc/%d" % int(p)) for p in pids))


def case_background_does_not_hold_the_exit(host):
    frames = host.run("sh", "-c", "sleep 60 & echo begun")
    assert output(frames) == b"begun\n"
    assert exit_of(frames) == (0, False)


def case_kept(host):
    host.control.sendall(
        b'{"op":"start","name":"main","argv":["sh","-c","echo begun; '
        b'read a; exit 4"],"tty":true,"rows":10,"cols":20}\n')
    assert json.loads(host.lines.readline()) == {"event": "started",
                                                 "name": "main"}
    leaving = host.open(op="attach", name="main", rows=20, cols=60)
    assert b"begun" in leaving.recv(65536)
    leaving.close()
    stream = host.open(op="attach", name="main", rows=20, cols=60)
    stream.sendall(frame(DATA, 0, b"line\n"))
    frames = read_frames(stream)
    assert exit_of(frames) == (4, False)
    assert output(frames).startswith(b"begun\r\n"), frames
    assert json.loads(host.lines.readline()) == {
        "event": "exited", "name": "main", "code": 4, "signalled": False}
    frames = read_frames(host.open(op="attach", name="main"))
    assert exit_of(frames) == (4, False)
    frames = read_frames(host.open(op="attach", name="other"))
    assert frames[0][0] == ERROR


def case_refusals(host):
    for line in (b"{}\n", b'{"op":"exec","x":1}\n', b"x" * 70000,
                 b'{"op":"shutdown"}\n', b'{"op":"exec","rows":0}\n',
                 b"\xff\n"):
        stream = host.connect()
        stream.sendall(line)
        frames = read_frames(stream)
        assert len(frames) == 1 and frames[0][0] == ERROR, (line, frames)
    stream = host.exec("cat")
    stream.sendall(b"\x09" * 20)
    assert read_frames(stream)[-1][0] == ERROR
    stream = host.exec("cat")
    stream.sendall(frame(DATA, 1, b"x"))
    assert read_frames(stream)[-1][0] == ERROR


def case_loopback(host):
    frames = host.run("sh", "-c", "echo $ANTHROPIC_BASE_URL $http_proxy")
    ports = [int(url.rsplit(":", 1)[1]) for url in
             output(frames).decode().split()]

    def ask(port, data):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.settimeout(DEADLINE)
        stream.sendall(data)
        answer = b""
        while True:
            more = stream.recv(65536)
            if not more:
                return answer
            answer += more

    assert ask(ports[0], b"GET /v1/models HTTP/1.1\r\n\r\n").endswith(
        b"GET /v1/models HTTP/1.1")
    answer = ask(ports[1], b"GET http://good.example/a?b HTTP/1.1\r\n"
                 b"Host: other\r\nProxy-Connection: x\r\nKept: 1\r\n\r\n")
    assert answer.endswith(b"GET /a?b HTTP/1.1\r\nHost: good.example\r\n"
                           b"Connection: close\r\nKept: 1"), answer
    assert host.destinations[-1] == b"good.example 80\n"
    answer = ask(ports[1], b"CONNECT denied.example:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 Denied by rule default-deny\r\n")
    assert b"Kenaz: denied by rule default-deny\n" in answer
    answer = ask(ports[1], b"CONNECT failed.example:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ") and b"no route" in answer
    asked = len(host.destinations)
    answer = ask(ports[1], b"CONNECT nowhere HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert len(host.destinations) == asked

    stream = socket.create_connection(("127.0.0.1", ports[1]))
    stream.settimeout(DEADLINE)
    stream.sendall(b"CONNECT good.example:443 HTTP/1.1\r\n\r\nearly")

    def feed():
        for _ in range(100):
            stream.sendall(b"z" * 50000)
        stream.shutdown(socket.SHUT_WR)

    threading.Thread(target=feed, daemon=True).start()
    data = b""
    while True:
        more = stream.recv(65536)
        if not more:
            break
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    assert head == b"HTTP/1.1 200 Connection established"
    assert rest == b"early" + b"z" * 5000000


def case_workbench(host):
    if not os.access(WORKBENCH, os.X_OK):
        return
    frames = host.run("kenaz-workbench", "-p", "use a tool")
    shown = output(frames).decode()
    assert exit_of(frames) == (0, False), shown
    assert "no model is called; add one with `kenaz provider add`" in shown
    assert "! denied: Kenaz denied the tool call bash: rule no-rm" in shown
    assert "* bash: echo $((40 + 2))" in shown and "  | 42" in shown
    assert "result: 42" in shown
    frames = host.run("kenaz-workbench", "-p", "be cut")
    assert exit_of(frames) == (1, False)
    assert b"! error: " in output(frames)
    stream = host.open(op="exec", argv=[])
    stream.sendall(frame(DATA, 0, b"say something\n/model other\nagain\n") +
                   frame(EOF, 0))
    frames = read_frames(stream)
    assert exit_of(frames) == (0, False)
    assert output(frames).count(b"plain \\x1b[2J") == 2, output(frames)
    assert host.requests[-1]["model"] == "other"
    assert len(host.requests[-1]["messages"]) == 3


def case_shutdown(host):
    host.control.sendall(b'{"op":"shutdown"}\n')
    assert host.guest.wait(DEADLINE) == 0


def case_ends_with_core(host):
    other = Host()
    other.hello()
    stream = other.exec("sh", "-c", "echo $$; exec sleep 60")
    size = struct.unpack("<BBHI", stream.recv(8))[3]
    pid = int(stream.recv(size))
    other.core.close()
    other.guest.wait(DEADLINE)
    until(lambda: not os.path.exists("/proc/%d" % pid))
    shutil.rmtree(other.folder)


def main():
    host = Host()
    try:
        for case in (case_nothing_before_the_hello, case_exec,
                     case_bulk_both_ways, case_terminal,
                     case_signal_and_hang_up,
                     case_background_does_not_hold_the_exit, case_kept,
                     case_refusals, case_loopback, case_workbench,
                     case_shutdown, case_ends_with_core):
            case(host)
            print("ok:", case.__name__[5:].replace("_", " "), flush=True)
    finally:
        if host.guest.poll() is None:
            host.guest.kill()
        shutil.rmtree(host.folder, ignore_errors=True)


main()
