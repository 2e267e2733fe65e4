#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A template of a booted guest, and real guests that go on from it."""

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from guest_rig import DEADLINE, Guest  # noqa: E402
from launch_driver import (MAKE, RESTORE, Launch, Template, gone,
                           sign_image)  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
B = os.environ.get("B", os.path.join(os.path.dirname(os.path.dirname(HERE)),
                                     "build"))
PROGRAM = os.path.join(B, "bin", "kenaz-launch")
IMAGE = os.environ.get("KENAZ_TEST_IMAGE", os.path.join(B, "image", "mini"))
HEADER = 176
MEMORY = 256
CLONES = 10 if os.environ.get("KENAZ_TEST_DEPTH") else 2
SEALS = (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK |
         fcntl.F_SEAL_SEAL)

for wanted, why in ((PROGRAM, "kenaz-launch is not built"),
                    (IMAGE + "/manifest.json", "no image; run 'make image'"),
                    ("/usr/bin/qemu-system-x86_64", "QEMU is not installed"),
                    ("/usr/bin/bwrap", "bubblewrap is not installed")):
    if not os.path.exists(wanted):
        print("skipped: " + why)
        sys.exit(77)


def prepared(mode=RESTORE, template=None, **more):
    launch = Launch(PROGRAM, IMAGE, mode=mode, template=template,
                    **{"memory": MEMORY, **more})
    launch.start()
    return launch.until(lambda: launch.fingerprint or launch.exited, DEADLINE)


def make(**more):
    launch = prepared(MAKE, **more)
    assert not launch.exited, launch.exited
    launch.spawn()
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == 0 and launch.made, launch.exited
    assert launch.stage_list == ["verified", "spawned", "qmp", "booted"], \
        launch.stage_list
    assert launch.fingerprint["start"] == "make", launch.fingerprint
    assert gone(launch.qemu_pid)
    launch.close()
    return launch.made


def running(launch):
    launch.until(lambda: "connected" in launch.stages or launch.exited,
                 DEADLINE)
    assert not launch.exited, launch.exited
    return Guest(launch)


def restored(template, **more):
    launch = prepared(template=template, **more)
    assert not launch.exited, launch.exited
    launch.spawn()
    return launch


def end(launch):
    launch.stop(kill=True)
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == 0, launch.exited
    assert gone(launch.qemu_pid)
    launch.close()


def bytes_of(fd):
    return os.pread(fd, os.fstat(fd).st_size, 0)


def digest_of(fd):
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as m:
        return hashlib.sha256(m).hexdigest()


def sealed(data, seals=SEALS):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def with_state(template, state, memory_fd=None, seals=SEALS):
    """The template with another state file, whose digest is right."""
    return Template(os.dup(memory_fd or template.memory_fd),
                    sealed(state, seals), hashlib.sha256(state).digest(), 0, 0)


# --- cases ----------------------------------------------------------------

def case_nobody_can_write_to_a_template(template):
    for fd in template.memory_fd, template.state_fd:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == SEALS
        again = os.open("/proc/self/fd/%d" % fd, os.O_RDWR)
        for action in (lambda: os.pwrite(again, b"x", 0),
                       lambda: os.ftruncate(again, 0),
                       lambda: mmap.mmap(again, 4096)):
            try:
                action()
                raise AssertionError("a template was written to")
            except OSError as e:
                assert e.errno == errno.EPERM, e
        os.close(again)
    assert hashlib.sha256(bytes_of(template.state_fd)).digest() == \
        template.digest
    assert 0 < template.used < MEMORY << 20


def facts(guest, number):
    """What a clone is, by its own account."""
    guest.hello(hostname="clone-%d" % number)
    code, out = guest.run("sh", "-c", "hostname; cat /etc/machine-id "
                          "/proc/sys/kernel/random/boot_id; "
                          "head -c 16 /dev/urandom | hexdump -v -e '1/1 "
                          "\"%02x\"'")
    assert code == 0, out
    found = out.decode().split()
    assert len(found) == 4 and len(found[1]) == 32 and len(found[3]) == 32, out
    return found


def case_clones_are_strangers_to_each_other(template):
    before = digest_of(template.memory_fd)
    seen, prints = [], []
    for pair in range(CLONES // 2):
        launches = [restored(template) for _ in range(2)]
        for i, launch in enumerate(launches):
            guest = running(launch)
            stages = launch.stage_list
            assert sorted(stages) == [
                "connected", "copied", "driver", "loaded", "qmp", "resumed",
                "spawned", "verified"], stages
            assert max(stages.index("copied"), stages.index("qmp")) < \
                stages.index("loaded") < stages.index("connected"), stages
            seen.append(facts(guest, 2 * pair + i))
            prints.append(launch.fingerprint)
        for launch in launches:
            end(launch)
    for kind, column in zip(("hostname", "machine-id", "boot_id",
                             "getrandom()"), zip(*seen)):
        assert len(set(column)) == CLONES, (kind, column)
    assert all(p == prints[0] for p in prints)
    assert prints[0]["start"] == "template"
    assert prints[0]["template"] == template.digest.hex()
    assert digest_of(template.memory_fd) == before, "the template changed"


def case_a_cold_start_has_another_fingerprint(template):
    clone, cold = prepared(template=template), prepared(mode=0)
    assert cold.fingerprint["start"] == "cold"
    assert cold.fingerprint["template"] == "00" * 32
    for key in ("manifest", "kernel", "initrd", "qemu"):
        assert clone.fingerprint[key] == cold.fingerprint[key]
    for key in ("fingerprint", "arguments"):
        assert clone.fingerprint[key] != cold.fingerprint[key]
    for launch in clone, cold:
        launch.stop()
        launch.until(lambda l=launch: l.exited, DEADLINE)
        launch.close()


def case_streams_and_clock(template):
    """Bulk both ways; the clock is the host's; cold boots likewise."""
    data = os.urandom(1 << 20) * 4
    for mode, given in ((RESTORE, template), (0, None)):
        launch = prepared(mode, given)
        launch.spawn()
        guest = running(launch)
        guest.hello(wall=1893456000 * 1000000)  # 2030
        code, out = guest.run("cat", stdin=data)
        assert code == 0 and out == data, (code, len(out))
        code, out = guest.run("date", "-u", "+%Y")
        assert out == b"2030\n", out
        code, out = guest.run("grep", "-c", " /sys sysfs ro,", "/proc/mounts")
        assert out == b"1\n", out
        code, out = guest.run("sh", "-c", "cat /proc/sys/kernel/random/"
                              "boot_id; head -c 32 /etc/machine-id")
        assert len(set(out.split())) == 2, out
        end(launch)


def case_a_clone_ends_once_it_is_loaded(template):
    launch = restored(template)
    launch.until(lambda: "loaded" in launch.stages, DEADLINE)
    end(launch)


def refused(template, words, **more):
    launch = prepared(template=template, **more)
    assert launch.exited and launch.exited[0] != 0, launch.fingerprint
    assert words in launch.exited[1], launch.exited
    assert launch.qemu_pid == 0 and launch.stage_list in ([], ["verified"])
    launch.close()


def case_refusals(template):
    state = bytes_of(template.state_fd)
    refused(with_state(template, state[:100]), "is cut off")
    refused(with_state(template, state[:-1]), "another length")
    refused(with_state(template, b"X" + state[1:]), "is not one")
    refused(with_state(template, state[:8] + struct.pack("<I", 9) +
                       state[12:]), "another version")
    refused(with_state(template, state, seals=fcntl.F_SEAL_GROW),
            "its state file is not sealed")
    changed = with_state(template, state[:-1] + bytes([state[-1] ^ 1]))
    changed.digest = template.digest
    refused(changed, "not the one that was made")
    huge = with_state(template, state + bytes(16 << 20))
    refused(huge, "too long")
    refused(template, "another memory size", memory=MEMORY + 64)
    refused(template, "other arguments", vcpus=2)
    plain = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(plain, MEMORY << 20)
    refused(with_state(template, state, plain), "not sealed against writing")
    fcntl.fcntl(plain, fcntl.F_ADD_SEALS, SEALS)
    refused(with_state(template, state, plain),
            "not the one its state belongs to")
    os.close(plain)


def case_another_image_is_refused(template):
    folder = tempfile.mkdtemp(prefix="kz-template-")
    try:
        copy = os.path.join(folder, "image")
        shutil.copytree(IMAGE, copy)
        path = os.path.join(copy, "manifest.json")
        with open(path) as f:
            manifest = json.load(f)
        with open(path, "w") as f:
            json.dump(manifest, f, indent=3)
        sign_image(PROGRAM, copy)
        launch = Launch(PROGRAM, copy, mode=RESTORE, template=template,
                        memory=MEMORY)
        launch.start()
        launch.until(lambda: launch.exited or launch.fingerprint, DEADLINE)
        assert launch.exited and "another image" in launch.exited[1], \
            launch.exited
        launch.close()
    finally:
        shutil.rmtree(folder)


def case_a_state_that_qemu_does_not_take(template):
    """Its header is right and its digest, too: QEMU says no."""
    state = bytes_of(template.state_fd)
    launch = restored(with_state(template, state[:HEADER + 3000] +
                                 bytes(len(state) - HEADER - 3000)))
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] != 0, launch.exited
    assert "load of migration failed" in launch.exited[1], launch.exited
    assert gone(launch.qemu_pid)
    launch.close()


def case_killed_while_it_loads(template):
    for stage in "qmp", "loaded":
        launch = restored(template)
        launch.until(lambda: stage in launch.stages and launch.qemu_pid,
                     DEADLINE)
        launch.process.kill()
        launch.process.wait()
        assert gone(launch.qemu_pid), stage


def case_killed_qemu_is_told(template):
    launch = restored(template)
    launch.until(lambda: "loaded" in launch.stages, DEADLINE)
    os.kill(launch.qemu_pid, 9)
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] != 0 and "signal 9" in launch.exited[1]
    launch.close()


def case_making_can_be_stopped(template):
    launch = prepared(MAKE)
    launch.spawn()
    launch.until(lambda: "qmp" in launch.stages, DEADLINE)
    launch.stop()
    launch.until(lambda: launch.exited, DEADLINE)
    assert launch.exited[0] == 0 and not launch.made, launch.exited
    assert gone(launch.qemu_pid)
    launch.close()


def case_a_vm_is_not_spawned_twice(template):
    """A message that does not fit closes the channel and ends all."""
    launch = prepared(mode=0)
    launch.spawn()
    launch.until(lambda: launch.qemu_pid, DEADLINE)
    launch.spawn()
    while not launch.core.closed and launch.take(1.0):
        pass
    assert launch.process.wait(20) != 0
    assert gone(launch.qemu_pid)


def main():
    failed = 0
    template = make()
    print("   made in %.1f s, %d MiB of memory used" %
          (template.took_ns / 1e9, template.used >> 20))
    for name, case in sorted(globals().items()):
        if not name.startswith("case_"):
            continue
        begin = time.monotonic()
        try:
            case(template)
            print("ok %s (%.1f s)" % (name[5:], time.monotonic() - begin),
                  flush=True)
        except (AssertionError, RuntimeError, OSError) as e:
            failed += 1
            print("FAILED %s: %r" % (name[5:], e), flush=True)
    sys.exit(1 if failed else 0)


main()
