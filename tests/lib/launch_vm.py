#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""launch_vm.py PROGRAM IMAGE - the cases of tests/scenario/launch_vm.sh"""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from launch_driver import Launch, gone, sign_image  # noqa: E402

PROGRAM, IMAGE = sys.argv[1:3]
DEADLINE = 60.0


def parent_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def prepared(**more):
    launch = Launch(PROGRAM, IMAGE, **more)
    launch.start()
    return launch.until(lambda: launch.fingerprint or launch.exited, DEADLINE)


def booted(**more):
    launch = prepared(**more)
    assert not launch.exited, launch.exited
    launch.spawn()
    launch.until(lambda: "connected" in launch.stages or launch.exited,
                 DEADLINE)
    assert not launch.exited, launch.exited
    return launch


def copy_of_image(folder):
    copy = os.path.join(folder, "image")
    shutil.copytree(IMAGE, copy)
    return copy


def case_boot_streams_and_quit():
    launch = booted()
    assert launch.stage_list == ["verified", "spawned", "qmp", "driver",
                                 "connected"], launch.stage_list
    times = [launch.stages[s] for s in launch.stage_list]
    assert times == sorted(times)
    stream = launch.accept(DEADLINE)
    stream.settimeout(DEADLINE)
    assert b"POST /kenaz/v1/announce" in stream.recv(4096)
    launch.connect(7, 1024)
    launch.until(lambda: 7 in launch.connected, DEADLINE)
    assert launch.connected[7][0] == 0, launch.connected
    launch.connect(8, 9)
    launch.until(lambda: 8 in launch.connected, DEADLINE)
    assert launch.connected[8][0] != 0, "port 9 has no listener"
    launch.stop()
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == 0, launch.exited
    assert gone(launch.qemu_pid)
    assert launch.connected[7][1].recv(1) == b""
    assert launch.close() == 0


def case_streams_come_and_go():
    """Nothing is left of streams that either side has closed."""
    launch = booted()
    launch.accept(DEADLINE)
    folder = "/proc/%d/fd" % launch.process.pid

    def settled(count):
        end = time.monotonic() + DEADLINE
        while len(os.listdir(folder)) > count:
            assert time.monotonic() < end, os.listdir(folder)
            time.sleep(0.01)

    launch.connect(0, 1024)
    launch.until(lambda: 0 in launch.connected, DEADLINE)
    launch.connected[0][1].close()
    before = len(os.listdir(folder))
    for turn in range(1, 4):
        numbers = range(turn * 1000, turn * 1000 + 40)
        for n in numbers:
            launch.connect(n, 1024)
        launch.until(lambda: all(n in launch.connected for n in numbers),
                     DEADLINE)
        for n in numbers:
            if launch.connected[n][1]:
                launch.connected[n][1].close()
        settled(before)
    launch.stop()
    launch.until(lambda: launch.exited, DEADLINE)
    launch.close()


def case_equal_sessions_have_equal_fingerprints():
    one, two = prepared(), prepared(cid=9)
    other = prepared(memory=300)
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint["fingerprint"] != other.fingerprint["fingerprint"]
    for launch in one, two, other:
        launch.stop()
        launch.until(lambda l=launch: l.exited, DEADLINE)
        assert launch.exited[0] == 0
        launch.close()


def case_jail_boundaries():
    launch = booted()
    pid = launch.qemu_pid
    with open("/proc/%d/status" % pid) as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f
                      if ":\t" in line)
    assert status["NoNewPrivs"] == "1", status
    assert status["Seccomp"] == "2", status
    for caps in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[caps], 16) == 0, caps
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split(), "QEMU runs as root"
    for kind in ("user", "net", "ipc", "uts", "pid", "mnt"):
        assert os.readlink("/proc/%d/ns/%s" % (pid, kind)) != \
            os.readlink("/proc/self/ns/%s" % kind), kind
    root = sorted(os.listdir("/proc/%d/root" % pid))
    assert root == ["etc", "lib", "lib64", "proc", "usr"], root
    with open("/proc/%d/net/dev" % pid) as f:
        devices = [line.split(":")[0].strip() for line in f if ":" in line]
    assert devices == ["lo"], devices
    with open("/proc/%d/mounts" % pid) as f:
        for line in f:
            _, where, kind, options = line.split()[:4]
            assert kind == "proc" or "ro" in options.split(","), line
    for fd in os.listdir("/proc/%d/fd" % pid):
        target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        good = ("/memfd:kenaz-", "socket:", "anon_inode:", "/dev/null",
                "pipe:")
        assert target.startswith(good), target
    with open("/proc/%d/environ" % pid, "rb") as f:
        assert b"PATH" not in f.read()
    launch.close()
    assert gone(pid)


def case_core_closing_ends_everything():
    launch = booted()
    jail = parent_of(launch.qemu_pid)
    launch.core.sock.close()
    assert launch.process.wait(10) is not None
    assert gone(launch.qemu_pid) and gone(jail)


def case_killed_launch_leaves_nothing():
    launch = booted()
    jail = parent_of(launch.qemu_pid)
    launch.process.kill()
    launch.process.wait()
    assert gone(launch.qemu_pid) and gone(jail)


def case_killed_before_the_guest_is_up():
    launch = prepared()
    launch.spawn()
    launch.until(lambda: launch.qemu_pid, DEADLINE)
    # Before it is QEMU it may not have asked to die with its parent yet; then
    # it is the spawner, which this test does without, that ends it.
    end = time.monotonic() + DEADLINE
    while "qemu" not in os.readlink("/proc/%d/exe" % launch.qemu_pid):
        assert time.monotonic() < end
        time.sleep(0.001)
    launch.process.kill()
    launch.process.wait()
    assert gone(launch.qemu_pid)


def case_killed_qemu_is_told():
    launch = booted()
    stream = launch.accept(DEADLINE)
    os.kill(launch.qemu_pid, signal.SIGKILL)
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] != 0
    assert "signal 9" in launch.exited[1], launch.exited
    while stream.recv(4096):
        pass
    launch.close()


def case_killed_jail_is_told():
    launch = booted()
    os.kill(parent_of(launch.qemu_pid), signal.SIGKILL)
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] != 0
    assert gone(launch.qemu_pid)
    launch.close()


def case_stop_at_once():
    launch = booted()
    launch.stop(kill=True)
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == 0, launch.exited
    assert gone(launch.qemu_pid)
    launch.close()


def case_refusals(folder):
    copy = copy_of_image(folder)

    def refused(image, word, **more):
        launch = Launch(PROGRAM, image, **more)
        launch.start()
        launch.until(lambda: launch.exited or launch.fingerprint, DEADLINE)
        assert launch.exited and not launch.fingerprint
        assert word in launch.exited[1], launch.exited
        launch.close()

    refused(copy, "is for 'mini', not for 'dev'", name="dev")
    refused(copy, "memory of 16 MiB", memory=16)
    refused(copy, "vCPUs", vcpus=99)
    refused(copy, "accelerator", accelerator="xen")
    refused(copy, "not trusted here", trusted=False)
    with open(os.path.join(copy, "initrd.cpio"), "r+b") as f:
        f.seek(1000)
        byte = f.read(1)
        f.seek(1000)
        f.write(bytes([byte[0] ^ 1]))
    refused(copy, "initrd.cpio is not what its manifest says")
    os.unlink(os.path.join(copy, "initrd.cpio"))
    refused(copy, "initrd.cpio cannot be opened")
    with open(os.path.join(copy, "manifest.json"), "a") as f:
        f.write("\n")
    refused(copy, "manifest.json is not what key")
    os.unlink(os.path.join(copy, "manifest.sig"))
    refused(copy, "only signed images are started")
    os.unlink(os.path.join(copy, "manifest.json"))
    refused(copy, "manifest.json cannot be opened")


def case_guest_that_does_not_boot(folder):
    """The console's tail explains it."""
    import hashlib
    copy = copy_of_image(folder)
    junk = b"no cpio archive" * 100
    with open(os.path.join(copy, "initrd.cpio"), "wb") as f:
        f.write(junk)
    path = os.path.join(copy, "manifest.json")
    with open(path) as f:
        manifest = json.load(f)
    manifest["initrd"]["sha256"] = hashlib.sha256(junk).hexdigest()
    manifest["initrd"]["bytes"] = len(junk)
    with open(path, "w") as f:
        json.dump(manifest, f)
    sign_image(PROGRAM, copy)
    launch = Launch(PROGRAM, copy)
    launch.start()
    launch.until(lambda: launch.fingerprint, DEADLINE)
    launch.spawn()
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] != 0
    assert "Kernel panic" in launch.exited[2], launch.exited
    launch.close()


def hide_bubblewrap():
    """In the child: a mount namespace in which bwrap is something else."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_private, ms_rec, ms_bind = 0x20000, 1 << 18, 16384, 4096
    assert libc.unshare(clone_newns) == 0
    assert libc.mount(b"none", b"/", None, ms_private | ms_rec, None) == 0
    assert libc.mount(b"/bin/false", b"/usr/bin/bwrap", None, ms_bind,
                      None) == 0


def case_no_jail_no_session():
    if os.geteuid() != 0:
        print("   skipped: only root can hide bubblewrap")
        return
    launch = prepared(before=hide_bubblewrap)
    launch.spawn()
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == -24, launch.exited
    assert "sandbox for QEMU could not be built" in launch.exited[1]
    assert launch.stage_list == ["verified"], launch.stage_list
    launch.close()


def case_probe():
    launch = Launch(PROGRAM, IMAGE)
    begin = time.monotonic()
    launch.ask_probe(3 * 10 ** 9)
    launch.until(lambda: launch.probe or launch.exited, DEADLINE)
    verdict, version, reason, took = launch.probe
    assert verdict in ("kvm", "tcg") and version and reason
    assert took <= (time.monotonic() - begin) * 1e9
    print("   probe: %s (%s)" % (verdict, reason))
    launch.process.wait(20)


def leftovers():
    out = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True,
                         text=True, check=True).stdout
    mine = str(os.getpid())
    return [line for line in out.splitlines()
            if line.split()[1] == mine and "ps" not in line.split()[2]]


def main():
    failed = 0
    for name, case in sorted(globals().items()):
        if not name.startswith("case_"):
            continue
        begin = time.monotonic()
        try:
            if case.__code__.co_argcount:
                with tempfile.TemporaryDirectory() as folder:
                    case(folder)
            else:
                case()
            print("ok %s (%.1f s)" % (name[5:], time.monotonic() - begin),
                  flush=True)
        except (AssertionError, RuntimeError, OSError) as e:
            failed += 1
            print("FAILED %s: %s" % (name[5:], e), flush=True)
    left = leftovers()
    if left:
        print("FAILED: left behind: %s" % left)
    sys.exit(1 if failed or left else 0)


main()
