#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bench_vm.py [-q] - the vsock device against other ways, in one run

Prints one JSON object as build/bench.json has them. Environment: B (build
folder, with bin/kenaz-launch and image/mini), CC. The throughput guest is the
image's own kernel with tests/bench/vm_guest.c as its only program; vsock runs
through kenaz-launch with its jail, the baselines through a bare QEMU. All
three guests are up at once and are measured in turns.
"""
import glob
import hashlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from launch_driver import Launch, sign_image  # noqa: E402

B = os.environ.get("B", os.path.join(TOP, "build"))
IMAGE = os.path.join(B, "image", "mini")
PROGRAM = os.path.join(B, "bin", "kenaz-launch")
QUICK = "-q" in sys.argv[1:]
ROUNDS = 2 if QUICK else 5
MIB = 32 if QUICK else 128
MEMORY = 256
MODULES = """drivers/virtio/virtio_ring drivers/virtio/virtio
drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev
drivers/virtio/virtio_pci net/vmw_vsock/vsock
net/vmw_vsock/vmw_vsock_virtio_transport_common
net/vmw_vsock/vmw_vsock_virtio_transport drivers/char/virtio_console
net/core/failover drivers/net/net_failover drivers/net/virtio_net""".split()


def manifest():
    with open(os.path.join(IMAGE, "manifest.json")) as f:
        return json.load(f)


def kernel_package(version):
    found = glob.glob(os.path.join(B, "cache", "**",
                                   "linux-image-%s-*.deb" % version),
                      recursive=True)
    if not found:
        sys.exit("bench_vm: the kernel's package is not in %s/cache; run "
                 "'make image'" % B)
    return found[0]


def build_guest(folder):
    """An image whose only program is vm_guest."""
    version = manifest()["kernel_version"]
    root, image = os.path.join(folder, "root"), os.path.join(folder, "image")
    os.makedirs(os.path.join(root, "m"))
    os.makedirs(os.path.join(root, "dev"))
    os.makedirs(image)
    subprocess.run([os.environ.get("CC", "gcc"), "-O2", "-static",
                    "-D_GNU_SOURCE", "-o", os.path.join(root, "init"),
                    os.path.join(HERE, "vm_guest.c")], check=True)
    kernel = os.path.join(folder, "kernel")
    os.makedirs(kernel)
    deb = subprocess.Popen(["dpkg-deb", "--fsys-tarfile",
                            kernel_package(version)], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", kernel] +
                   ["./lib/modules/%s/kernel/%s.ko" % (version, m)
                    for m in MODULES], stdin=deb.stdout, check=True)
    deb.wait()
    for m in MODULES:
        shutil.copy(os.path.join(kernel, "lib/modules", version, "kernel",
                                 m + ".ko"), os.path.join(root, "m"))
    with open(os.path.join(root, "m", "order"), "w") as f:
        f.writelines(os.path.basename(m) + ".ko\n" for m in MODULES)
    subprocess.run([sys.executable, os.path.join(TOP, "scripts/image-cpio"),
                    root, os.path.join(image, "initrd.cpio")], check=True,
                   stdout=subprocess.DEVNULL)
    os.link(os.path.join(IMAGE, "vmlinux"), os.path.join(image, "vmlinux")) \
        if os.stat(IMAGE).st_dev == os.stat(image).st_dev else \
        shutil.copy(os.path.join(IMAGE, "vmlinux"), image)
    m = manifest()
    with open(os.path.join(image, "initrd.cpio"), "rb") as f:
        data = f.read()
    m["initrd"].update(sha256=hashlib.sha256(data).hexdigest(),
                       bytes=len(data))
    with open(os.path.join(image, "manifest.json"), "w") as f:
        json.dump(m, f)
    sign_image(PROGRAM, image)
    return image


def bare_qemu(image, more, append="", fds=(), stdout=subprocess.DEVNULL,
              memory=MEMORY):
    return subprocess.Popen(
        ["qemu-system-x86_64", "-nodefaults", "-no-user-config",
         "-no-reboot", "-display", "none", "-machine",
         "q35,usb=off,smbus=off,sata=off", "-accel", "tcg", "-cpu",
         manifest()["cpu"], "-m", "%dM" % memory,
         "-kernel", os.path.join(image, "vmlinux"),
         "-initrd", os.path.join(image, "initrd.cpio"),
         "-append", manifest()["cmdline"] + append] + more,
        pass_fds=fds, stdin=subprocess.DEVNULL, stdout=stdout,
        stderr=subprocess.DEVNULL)


# --- a bare boot, for bench_session.py ------------------------------------

def bare_boot(memory=MEMORY):
    """Start of a bare QEMU to the first line of its user space."""
    begin = time.monotonic()
    qemu = bare_qemu(IMAGE, ["-serial", "stdio"], " kenaz.probe=1",
                     stdout=subprocess.PIPE, memory=memory)
    seen = b""
    while b"KENAZ-PROBE-OK" not in seen:
        part = os.read(qemu.stdout.fileno(), 4096)
        if not part:
            sys.exit("bench_vm: the bare guest did not boot")
        seen += part
    took = time.monotonic() - begin
    qemu.wait()
    return took


# --- throughput -----------------------------------------------------------

def to_host(s, mib):
    left, room = mib << 20, bytearray(1 << 20)
    begin = time.monotonic()
    s.sendall(b"S%d\n" % mib)
    while left:
        n = s.recv_into(room, min(left, len(room)))
        if not n:
            raise RuntimeError("the guest hung up")
        left -= n
    return mib / (time.monotonic() - begin)


def to_guest(s, mib):
    part = bytes(256 * 1024)
    begin = time.monotonic()
    s.sendall(b"R%d\n" % mib)
    for _ in range(mib * 4):
        s.sendall(part)
    if s.recv(1) != b"K":
        raise RuntimeError("the guest hung up")
    return mib / (time.monotonic() - begin)


def echoes(s, count):
    """Round trips of single bytes, in seconds, sorted."""
    times = []
    s.sendall(b"P%d\n" % count)
    for _ in range(count):
        begin = time.monotonic()
        s.sendall(b"x")
        s.recv(1)
        times.append(time.monotonic() - begin)
    return sorted(times)


def p99(times):
    return times[int(len(times) * 0.99)]


class Guests:
    """vsock, virtio-serial and user-mode network, each in its own guest."""

    def __init__(self, image):
        self.launch = Launch(PROGRAM, image, memory=MEMORY)
        self.launch.start()
        self.launch.until(lambda: self.launch.fingerprint)
        self.launch.spawn()
        self.vsock = self.launch.accept()
        self.second = self.launch.accept()
        self.serial, theirs = socket.socketpair()
        self.serial_qemu = bare_qemu(
            image, ["-device", "virtio-serial-pci", "-chardev",
                    "socket,id=c,fd=%d" % theirs.fileno(), "-device",
                    "virtserialport,chardev=c"], fds=[theirs.fileno()])
        theirs.close()
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.net_qemu = bare_qemu(
                image, ["-netdev", "user,id=n", "-device",
                        "virtio-net-pci,netdev=n,romfile="],
                " bench_port=%d" % server.getsockname()[1])
            server.settimeout(60)
            self.net, _ = server.accept()
        self.net.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echoes(self.serial, 1)

    def close(self):
        self.launch.stop(kill=True)
        self.launch.until(lambda: self.launch.exited)
        self.launch.close()
        for qemu in self.serial_qemu, self.net_qemu:
            qemu.kill()
            qemu.wait()


def keys_during(guests, transfer):
    """The 99th percentile of echoes while the other stream is busy."""
    stop = threading.Event()

    def bulk():
        while not stop.is_set():
            transfer(guests.vsock, MIB)

    thread = threading.Thread(target=bulk)
    thread.start()
    times = echoes(guests.second, 50 if QUICK else 300)
    stop.set()
    thread.join()
    return p99(times)


def throughput():
    with tempfile.TemporaryDirectory(dir=B) as folder:
        guests = Guests(build_guest(folder))
    rates = {}
    try:
        for name in "vsock", "serial", "net":
            to_host(getattr(guests, name), 8)
            to_guest(getattr(guests, name), 8)
        for _ in range(ROUNDS):
            for name in random.sample(["vsock", "serial", "net"], 3):
                mib = MIB // 4 if name == "net" else MIB
                s = getattr(guests, name)
                rates.setdefault((name, "g2h"), []).append(to_host(s, mib))
                rates.setdefault((name, "h2g"), []).append(to_guest(s, mib))
        quiet = p99(echoes(guests.second, 50 if QUICK else 300))
        loaded = max(keys_during(guests, to_host),
                     keys_during(guests, to_guest))
    finally:
        guests.close()
    out = {}
    for way in "g2h", "h2g":
        ours = statistics.median(rates["vsock", way])
        for base, name, target in (("serial", "serial", 1.0),
                                   ("net", "usernet",
                                    4.0 if way == "g2h" else 1.5)):
            other = statistics.median(rates[base, way])
            out["vsock_%s_vs_%s" % (way, name)] = {
                "value": round(ours / other, 2), "unit": "ratio",
                "baseline": round(other, 1), "target": target,
                "note": "vsock %.0f MiB/s over %.0f, medians of %d turns" %
                        (ours, other, ROUNDS)}
    out["key_p99_ms"] = {
        "value": round((loaded - quiet) * 1e3, 2), "unit": "ms",
        "baseline": None, "target": 20,
        "note": "round trip of a byte beside a bulk transfer, %.2f ms, less "
                "the same on a quiet machine" % (loaded * 1e3)}
    return out


def main():
    for path in PROGRAM, os.path.join(IMAGE, "manifest.json"):
        if not os.path.exists(path):
            sys.exit("bench_vm: %s is missing; run 'make image'" % path)
    print(json.dumps(throughput(), indent=1))


if __name__ == "__main__":
    main()
