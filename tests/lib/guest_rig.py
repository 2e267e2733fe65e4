# SPDX-License-Identifier: Apache-2.0
"""guest_rig.py - greet a real guest and run programs in it, without a gate.

Stands on launch_driver.py: streams into the guest come from kenaz-launch.
"""
import base64
import hashlib
import json
import os
import socket
import struct
import time

DATA, EOF, EXIT, ERROR = 1, 2, 5, 6
PORT = 1024
DEADLINE = 120.0


def frame(kind, stream, data=b""):
    return struct.pack("<BBHI", kind, stream, 0, len(data)) + data


class Guest:
    """The guest of a launch that runs; hello() comes first."""

    def __init__(self, launch):
        self.launch = launch
        self.requests = 0
        self.control = None

    def open(self, **line):
        self.requests += 1
        number = 1000 + self.requests
        self.launch.connect(number, PORT)
        self.launch.until(lambda: number in self.launch.connected or
                          self.launch.exited, DEADLINE)
        error, stream = self.launch.connected[number]
        assert error == 0, error
        stream.settimeout(DEADLINE)
        stream.sendall(json.dumps(line).encode() + b"\n")
        return stream

    def hello(self, hostname="kenaz-test", wall=None):
        """Greet it; returns the time of a right receipt."""
        nonce, entropy = os.urandom(32), os.urandom(64)
        wall = wall or time.time_ns() // 1000
        self.control = self.open(
            op="hello", v=1, nonce=nonce.hex(), wall_us=wall,
            entropy=base64.b64encode(entropy).decode(), hostname=hostname,
            env={})
        line = b""
        while not line.endswith(b"\n"):
            got = self.control.recv(4096)
            assert got, "the guest closed the control stream: %r" % line
            line += got
        now = time.monotonic_ns()
        answer = json.loads(line)
        receipt = hashlib.sha256(nonce + entropy + str(wall).encode())
        assert answer["nonce"] == nonce.hex(), answer
        assert answer["receipt"] == receipt.hexdigest(), answer
        return now

    def run(self, *argv, stdin=b""):
        """Run a program to its end; its code and output."""
        stream = self.open(op="exec", argv=list(argv))
        raw, out, code = b"", b"", None
        stream.setblocking(True)
        pending = b"".join(frame(DATA, 0, stdin[i:i + 16384])
                           for i in range(0, len(stdin), 16384))
        pending += frame(EOF, 0)
        while code is None:
            if pending:
                try:
                    n = stream.send(pending[:65536], socket.MSG_DONTWAIT)
                    pending = pending[n:]
                except BlockingIOError:
                    pass
            try:
                got = stream.recv(65536, socket.MSG_DONTWAIT if pending else 0)
                assert got, "the stream ended without a code"
                raw += got
            except BlockingIOError:
                continue
            while len(raw) >= 8:
                kind, number, _, size = struct.unpack("<BBHI", raw[:8])
                if len(raw) < 8 + size:
                    break
                data, raw = raw[8:8 + size], raw[8 + size:]
                if kind == DATA and number == 1:
                    out += data
                elif kind == ERROR:
                    raise RuntimeError(data)
                elif kind == EXIT:
                    code = struct.unpack("<iB", data)[0]
        stream.close()
        return code, out
