#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Root images and a session's own disk: checked, encrypted, capped, gone."""

import ctypes
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import TOP, Engine, Refused, alive, check, main, wait_for  # noqa: E402

IMAGE = os.path.join(os.environ.get("B", os.path.join(TOP, "build")),
                     "image-test", "disk")
DISK_MIB = 64
MIB = 1 << 20
MARKER = b"KENAZ-WRITTEN-IN-THE-GUEST"
RANDOM = random.Random(1).randbytes(MIB)  # as scripts/image-disk makes it
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000

built = subprocess.run([os.path.join(TOP, "scripts", "image-disk")],
                       capture_output=True, text=True)
if built.returncode != 0:
    print("skipped: the test image cannot be built: " + built.stderr[-300:])
    sys.exit(77)

folder = tempfile.mkdtemp(prefix="kz-disk-")
disks = os.path.join(folder, "disks")
os.mkdir(disks)
libc = ctypes.CDLL(None, use_errno=True)
# A small file system of its own shows what is taken and given back.
own_fs = os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0 and \
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0 and \
    libc.mount(b"tmpfs", disks.encode(), b"tmpfs", 0, b"size=160m") == 0


def config(image=IMAGE, disk_mib=DISK_MIB):
    return ("[engine]\ndisk_dir = \"%s\"\n[[image]]\nname = \"disk\"\n"
            "path = \"%s\"\n[limits]\nmemory_mib = 256\ndisk_mib = %d\n"
            % (disks, image, disk_mib))


def engine_with(**more):
    return Engine(config=config(**more)).start()


def taken_bytes():
    fs = os.statvfs(disks)
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize


def nothing_is_left():
    check(os.listdir(disks) == [], "left: %r" % os.listdir(disks))
    if own_fs:
        wait_for("the disk's blocks", lambda: taken_bytes() < MIB)


def disk_file(engine):
    """The session's disk as QEMU has it open."""
    qemu = engine.pids("qemu-system-x86_64")[-1]
    for fd in os.listdir("/proc/%d/fd" % qemu):
        path = "/proc/%d/fd/%s" % (qemu, fd)
        if os.readlink(path).startswith(disks + "/#"):
            return path
    check(False, "QEMU has no file in " + disks)


def sh(engine, session, text):
    code, out, err = engine.run(session, ["sh", "-c", text])
    return code, out.decode(errors="replace") + err.decode(errors="replace")


def copy_of_image():
    copy = tempfile.mkdtemp(dir=folder)
    shutil.copytree(IMAGE, copy, dirs_exist_ok=True)
    return copy


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def changes_are_encrypted_capped_and_gone():
    engine = engine_with()
    session, owner, _ = engine.session()
    code, text = sh(engine, session, "id -u; pwd; grep ' / ' /proc/mounts;"
                    "sha256sum </data/random; touch /data/x; echo > /tmp/x;"
                    "ls -ld /tmp; ls /lower /changes")
    check("1000\n/home/agent\noverlay / overlay" in text, text)
    check(hashlib.sha256(RANDOM).hexdigest() in text, "other content: " + text)
    check("/data/x: Permission denied" in text, text)
    check("drwxrwxrwt" in text, text)
    check("/lower: No such file" in text, text)

    code, text = sh(engine, session, "yes %s | head -c 4000000 >marker && sync"
                    % MARKER.decode())
    check(code == 0, text)
    with open(disk_file(engine), "rb") as f:
        raw = f.read()
    check(len(raw) == (DISK_MIB + 2) * MIB, "%d bytes" % len(raw))
    check(MARKER not in raw, "the disk holds what the guest wrote")
    check(raw.count(0) < len(raw), "nothing was written")
    qemu = engine.pids("qemu-system-x86_64")[-1]
    with open("/proc/%d/cmdline" % qemu, "rb") as f:
        check(b"secret,id=diskkey,format=raw,file=/proc/self/fd/" in f.read(),
              "the key is not passed as a descriptor")
    for fd in os.listdir("/proc/%d/fd" % qemu):
        path = "/proc/%d/fd/%s" % (qemu, fd)
        if "kenaz-disk-key" in os.readlink(path):
            with open(path, "rb") as f:
                check(f.read() == bytes(64), "the key was not wiped")

    shown = engine.call("session.show", session=session)["disk"]
    event = engine.events(session=session, kind="vm.start")[0]["attrs"]
    check(shown["disk_mib"] == DISK_MIB == event["kenaz.vm.disk_mib"], "size")
    check(shown["root_hash"] == event["kenaz.image.root_hash"] and
          shown["root_hash"] in event["kenaz.vm.kernel_command_line"],
          "root hash: %r %r" % (shown, event))
    check(shown["root"] == event["kenaz.image.root"], "root digest")

    code, text = sh(engine, session, "dd if=/dev/zero of=big bs=1M; rm big;"
                    "echo again >small && cat small")
    check("No space left" in text and text.startswith("again\n"), text)
    check(os.stat(disk_file(engine)).st_size == (DISK_MIB + 2) * MIB, "grew")
    check(os.listdir(disks) == [], "the disk has a name")
    check(not engine.events(session=session, kind="vm.disk_failed"),
          "a full disk of the guest's is no failure of the host's")
    owner.close()
    engine.wait_event("session.end", session=session)
    nothing_is_left()
    engine.stop()


def disk_is_gone_when_everything_is_killed():
    engine = engine_with()
    session, _, _ = engine.session(detach=True)
    code, text = sh(engine, session, "head -c 8000000 /dev/urandom >x && sync")
    check(code == 0, text)
    if own_fs:
        check(taken_bytes() > 4 * MIB, "%d bytes taken" % taken_bytes())
    tree = engine.tree()
    for pid in tree:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    engine.process.wait()
    wait_for("all to end", lambda: not [p for p in tree if alive(p)])
    nothing_is_left()
    again = Engine(folder=engine.folder, config=config()).start()
    again.wait_event("session.start", session=session)
    nothing_is_left()
    again.stop()
    engine.clean()


def root_that_changes_under_a_guest_is_noticed():
    copy = copy_of_image()
    root = os.path.join(copy, "root.squashfs")
    with open(root, "rb") as f:
        at = f.read().find(RANDOM[:64])
    check(at > 0, "the random file is not in the image as it is")
    engine = engine_with(image=copy)
    session, owner, _ = engine.session()
    code, text = sh(engine, session, "head -c 1000 /data/random | sha256sum")
    check(hashlib.sha256(RANDOM[:1000]).hexdigest() in text, text)
    flip(root, at + 700000)
    code, text = sh(engine, session, "cat /data/random >/dev/null")
    check(code != 0 and "Input/output error" in text, "not noticed: %d %s" % (code, text))
    code, text = sh(engine, session, "ls / && echo fine")
    check("fine" in text, text)
    owner.close()
    engine.stop()


def damaged_root_does_not_boot(what="data"):
    copy = copy_of_image()
    root = os.path.join(copy, "root.squashfs")
    with open(os.path.join(copy, "manifest.json")) as f:
        text = f.read()
    tree = int(text.split('"hash_offset_bytes": ')[1].split(",")[0])
    flip(root, 0 if what == "data" else tree)
    engine = engine_with(image=copy)
    try:
        engine.session()
        check(False, "a root with a damaged %s boots" % what)
    except Refused as refused:
        check("root image cannot be mounted" in refused.message,
              refused.message)
    nothing_is_left()
    engine.stop()


def damaged_tree_does_not_boot():
    damaged_root_does_not_boot("tree")


def full_host_is_an_error_of_the_guest():
    if not own_fs:
        print("     (no file system of its own: not root)")
        return
    engine = engine_with()
    session, owner, _ = engine.session()
    filler = os.path.join(disks, "filler")
    try:
        with open(filler, "wb") as f:
            fs = os.statvfs(disks)
            os.posix_fallocate(f.fileno(), 0, fs.f_bavail * fs.f_frsize - 4 * MIB)
        code, text = sh(engine, session,
                        "dd if=/dev/urandom of=x bs=1M count=40 conv=fsync")
        check(code != 0, "40 MiB fit into 4: " + text)
        event = engine.wait_event("vm.disk_failed", session=session)
        check("no space left" in event["attrs"]["kenaz.reason"], repr(event))
        check("no space" in engine.call("session.show",
                                        session=session)["disk"]["failed"],
              "session.show does not say it")
        code, text = sh(engine, session, "echo alive")
        check(text == "alive\n", text)
    finally:
        os.unlink(filler)
    owner.close()
    engine.wait_event("session.end", session=session)
    nothing_is_left()
    engine.stop()


def without_room_there_is_no_start():
    engine = engine_with(disk_mib=1 << 20)
    try:
        engine.session()
        check(False, "a disk of 1 TiB was promised")
    except Refused as refused:
        check("image disk needs a disk of 1048576 MiB" in refused.message and
              "limits.disk_mib" in refused.message, refused.message)
    engine.stop()


def without_a_disk_changes_stay_in_memory():
    engine = engine_with(disk_mib=0)
    session, owner, _ = engine.session()
    code, text = sh(engine, session, "echo in memory >x && cat x;"
                    "ls /sys/block")
    check("in memory\n" in text and "vdb" not in text, text)
    check(engine.call("session.show", session=session)["disk"]["disk_mib"] == 0,
          "session.show")
    owner.close()
    engine.stop()


try:
    main(changes_are_encrypted_capped_and_gone,
         disk_is_gone_when_everything_is_killed,
         root_that_changes_under_a_guest_is_noticed,
         damaged_root_does_not_boot,
         without_room_there_is_no_start,
         depth=(damaged_tree_does_not_boot,
                full_host_is_an_error_of_the_guest,
                without_a_disk_changes_stay_in_memory))
finally:
    if own_fs:
        libc.umount2(disks.encode(), 2)
    shutil.rmtree(folder, ignore_errors=True)
