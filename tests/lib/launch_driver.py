#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""launch_driver.py - stand in for core and gate towards one kenaz-launch.

For scenario tests and benchmarks: speaks the channel of engine/proto
(records of u32 length, u16 type, u8 descriptors, u8 zero) on a SEQPACKET
socket, so that a virtual machine can be started without an engine.
"""
import array
import base64
import os
import select
import socket
import struct
import subprocess
import time

HELLO, FATAL = 1, 2
LAUNCH_START, LAUNCH_PROBE, PROBE_RESULT, VM_FINGERPRINT = 60, 61, 62, 63
VM_SPAWN, VM_STAGE, VM_EXITED = 64, 65, 66
STREAM_CONNECT, STREAM_CONNECTED, STREAM_EGRESS, VM_STOP = 67, 68, 69, 70
GUEST_STREAM = 71
IMAGE_KEYS = 125
LAUNCH_DISK, VM_DISK, VM_DISK_FAILED = 120, 121, 122
VM_TEMPLATE = 130
COLD, MAKE, RESTORE = 0, 1, 2
STAGES = {1: "verified", 2: "spawned", 3: "qmp", 4: "driver", 5: "connected",
          6: "copied", 7: "loaded", 8: "resumed", 9: "booted"}


def text(s):
    raw = s.encode()
    return struct.pack("<I", len(raw)) + raw


def image_keys(path):
    """The keys of a build folder, as core sends them: engine/proto."""
    raw = b""
    for name in sorted(os.listdir(path)):
        with open(os.path.join(path, name)) as f:
            key = base64.b64decode(f.read().splitlines()[1])
        raw += text(name.removesuffix(".pub")) + key[2:]
    return raw


def sign_image(program, image):
    """Sign again what a test has changed, with the build folder's key."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(program)))
    subprocess.run([os.path.join(top, "bin", "kenaz"), "-q", "image", "sign",
                    "--key", os.path.join(top, "image-key"), image],
                   check=True)


def gone(pid, seconds=20.0):
    """Whether a process ends within the deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open("/proc/%d/stat" % pid) as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def blocking(fd):
    """A socket of a passed descriptor; the device's ends do not block."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(True)
    return sock


class Fields:
    """Read the little-endian fields of a message."""

    def __init__(self, raw):
        self.raw = raw

    def take(self, n):
        part, self.raw = self.raw[:n], self.raw[n:]
        assert len(part) == n
        return part

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def i32(self):
        return struct.unpack("<i", self.take(4))[0]

    def text(self):
        return self.take(self.u32()).decode()

    def digest(self):
        return self.take(32).hex()


class Channel:
    """One end of a channel."""

    def __init__(self, sock):
        self.sock = sock
        self.waiting = []
        self.closed = False

    def send(self, kind, payload=b"", fds=()):
        record = struct.pack("<IHBB", len(payload), kind, len(fds), 0)
        extra = []
        if fds:
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                      array.array("i", fds))]
        self.sock.sendmsg([record + payload], extra)

    def fill(self, timeout):
        ready, _, _ = select.select([self.sock], [], [], timeout)
        if not ready:
            return False
        raw, extra, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64))
        if not raw:
            self.closed = True
            return False
        fds = array.array("i")
        for level, kind, data in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:len(data) // 4 * 4])
        fds = list(fds)
        while raw:
            size, kind, count, _ = struct.unpack("<IHBB", raw[:8])
            self.waiting.append((kind, raw[8:8 + size], fds[:count]))
            raw, fds = raw[8 + size:], fds[count:]
        return True

    def receive(self, timeout=30.0):
        end = time.monotonic() + timeout
        while not self.waiting:
            left = end - time.monotonic()
            if left <= 0 or (not self.fill(left) and self.closed):
                return None
        return self.waiting.pop(0)


class Template:
    """The two files that a launch made of a booted guest."""

    def __init__(self, memory_fd, state_fd, digest, used, took_ns):
        self.memory_fd, self.state_fd = memory_fd, state_fd
        self.digest, self.used, self.took_ns = digest, used, took_ns

    def close(self):
        os.close(self.memory_fd)
        os.close(self.state_fd)


class Launch:
    """A kenaz-launch and what it has told so far.

    mode is COLD, MAKE or RESTORE; the last needs template.
    """

    def __init__(self, program, image, memory=256, vcpus=1, accelerator="tcg",
                 cid=3, name="mini", arguments=(), before=None, mode=COLD,
                 template=None, disk=None, trusted=True):
        ours, theirs = socket.socketpair(socket.AF_UNIX,
                                         socket.SOCK_SEQPACKET)
        gate, gate_theirs = socket.socketpair(socket.AF_UNIX,
                                              socket.SOCK_SEQPACKET)
        child = theirs.fileno()

        def place():
            os.dup2(child, 3)
            if before:
                before()

        # 3 itself may be the number of another of our sockets: pass it last.
        self.process = subprocess.Popen([program, *arguments],
                                        preexec_fn=place, close_fds=False,
                                        pass_fds=())
        theirs.close()
        self.core, self.gate = Channel(ours), Channel(gate)
        self.stages, self.stage_list = {}, []
        self.qemu_pid = 0
        self.fingerprint = None
        self.exited = None
        self.probe = None
        self.egress = []
        self.connected = {}
        self.gate_theirs = gate_theirs
        self.image = image
        self.config = (memory, vcpus, accelerator, cid, name)
        keys = os.path.join(os.path.dirname(program), "..", "image-keys")
        raw = image_keys(keys) if trusted else b""
        self.core.send(IMAGE_KEYS, struct.pack("<I", len(raw)) + raw)
        self.disk = disk  # (folder, MiB) for the session's changes
        self.disks = self.disk_failed = None
        self.mode, self.template = mode, template
        self.made = None
        self.begin = time.monotonic_ns()

    def give_disk(self):
        folder, size = self.disk
        file = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
        self.core.send(LAUNCH_DISK, struct.pack("<I", size) + text(""), [file])
        os.close(file)

    def start(self):
        memory, vcpus, accelerator, cid, name = self.config
        payload = (text("0123456789AB") + text(name) +
                   struct.pack("<II", memory, vcpus) + text(accelerator) +
                   struct.pack("<IB", cid, self.mode))
        payload += self.template.digest if self.template else bytes(32)
        if self.disk:
            self.give_disk()
        folder = os.open(self.image, os.O_RDONLY | os.O_DIRECTORY)
        fds = [folder, self.gate_theirs.fileno()]
        if self.template:
            fds += [self.template.memory_fd, self.template.state_fd]
        self.begin = time.monotonic_ns()
        self.core.send(LAUNCH_START, payload, fds)
        os.close(folder)
        self.gate_theirs.close()

    def ask_probe(self, deadline_ns):
        folder = os.open(self.image, os.O_RDONLY | os.O_DIRECTORY)
        self.core.send(LAUNCH_PROBE, struct.pack("<Q", deadline_ns), [folder])
        os.close(folder)

    def spawn(self):
        self.begin = time.monotonic_ns()
        self.core.send(VM_SPAWN)

    def stop(self, kill=False):
        self.core.send(VM_STOP, bytes([kill]))

    def connect(self, request, port):
        self.core.send(STREAM_CONNECT, struct.pack("<QI", request, port))

    def take(self, timeout=30.0):
        """Take one message of the launcher's; False at a timeout or end."""
        message = self.core.receive(timeout)
        if not message:
            return False
        kind, raw, fds = message
        f = Fields(raw)
        if kind == VM_STAGE:
            stage, at, pid = f.u32(), f.u64(), f.u32()
            self.stages[STAGES[stage]] = at
            self.stage_list.append(STAGES[stage])
            self.qemu_pid = pid or self.qemu_pid
        elif kind == VM_FINGERPRINT:
            keys = ("fingerprint", "manifest", "kernel", "initrd", "qemu",
                    "arguments")
            self.fingerprint = {k: f.digest() for k in keys}
            for k in ("image", "qemu_version", "accelerator", "cpu",
                      "command_line"):
                self.fingerprint[k] = f.text()
            self.fingerprint["template"] = f.digest()
            self.fingerprint["start"] = f.text()
        elif kind == VM_DISK:
            self.disks = {"root_hash": f.digest(), "root": f.digest(),
                          "bytes": f.u64(), "filesystem": f.text(),
                          "disk_mib": f.u32()}
        elif kind == VM_DISK_FAILED:
            self.disk_failed = bool(f.u8())
        elif kind == VM_TEMPLATE:
            self.made = Template(*fds, f.take(32), f.u64(), f.u64())
        elif kind == VM_EXITED:
            self.exited = (f.i32(), f.text(), f.text())
        elif kind == FATAL:
            self.exited = (f.i32(), f.text(), "")
        elif kind == PROBE_RESULT:
            self.probe = (f.text(), f.text(), f.text(), f.u64())
        elif kind == STREAM_EGRESS:
            self.egress.append(blocking(fds[0]))
        elif kind == STREAM_CONNECTED:
            request, error = f.u64(), f.i32()
            sock = blocking(fds[0]) if fds else None
            self.connected[request] = (error, sock)
        return True

    def until(self, condition, timeout=60.0):
        """Take messages until condition() is true; raises when it is not."""
        end = time.monotonic() + timeout
        while not condition():
            if not self.take(max(0.01, end - time.monotonic())):
                raise RuntimeError(
                    "launch: gave up; stages %s, exited %r" %
                    (self.stage_list, self.exited))
        return self

    def accept(self, timeout=60.0):
        """The guest's next stream to the gate."""
        message = self.gate.receive(timeout)
        if not message or message[0] != GUEST_STREAM:
            raise RuntimeError("no stream of the guest; %r" % (self.exited,))
        return blocking(message[2][0])

    def close(self):
        self.core.sock.close()
        self.gate.sock.close()
        return self.process.wait(20)
