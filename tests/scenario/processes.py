#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The running processes are the design's, each inside its own limits."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Engine, check, have_image, main, wait_for  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

engine = Engine().start()
session, owner, _ = engine.session()
# An egress that is refused: its process runs from then on.
engine.run(session, ["sh", "-c", "wget -q -O- http://example.invalid/; true"])

HOST_PROGRAMS = ("kenazd", "kenaz-audit", "kenaz-broker", "kenaz-scripted",
                 "kenaz-launch", "kenaz-gate", "kenaz-egress")


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def fds(pid):
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.append((int(fd), os.readlink("/proc/%d/fd/%s" % (pid, fd))))
        except OSError:
            pass
    return found


def core_pids():
    """kenazd is two processes: core and the spawner it forked."""
    spawner = [p for p in engine.pids("kenazd") if p != engine.process.pid]
    return engine.process.pid, spawner[0]


def every_process_of_the_design_runs():
    for name in HOST_PROGRAMS:
        check(engine.pids(name), "%s does not run: %r" % (name, engine.tree()))
    check(engine.pids("qemu-system-x86_64"), "QEMU does not run")
    check(len(engine.pids("kenazd")) == 2, "core and spawner: %r" % engine.tree())


def all_gave_up_privileges_and_core_files():
    for name in HOST_PROGRAMS:
        for pid in engine.pids(name):
            s = status(pid)
            check(s["NoNewPrivs"] == "1", "%s: NoNewPrivs %s" % (name, s["NoNewPrivs"]))
            check(s["Seccomp"] == "2", "%s: Seccomp %s" % (name, s["Seccomp"]))
            with open("/proc/%d/limits" % pid) as f:
                core = [l for l in f if l.startswith("Max core file size")][0].split()
            check(core[4] == core[5] == "0", "%s may write core files" % name)
            # A process that is not dumpable belongs to root in /proc.
            if os.getuid() != 0:
                check(os.stat("/proc/%d" % pid).st_uid == 0, "%s is dumpable" % name)


def none_but_spawner_and_launch_has_capabilities():
    core, spawner = core_pids()
    for name in HOST_PROGRAMS:
        for pid in engine.pids(name):
            if pid == spawner or name == "kenaz-launch":
                continue
            s = status(pid)
            for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                check(int(s[kind], 16) == 0, "%s: %s %s" % (name, kind, s[kind]))
    for pid in engine.pids("qemu-system-x86_64"):
        s = status(pid)
        check(int(s["CapEff"], 16) == 0 and int(s["CapBnd"], 16) == 0,
              "QEMU has capabilities: %r" % s)


def only_broker_and_egress_have_a_network():
    ours = os.readlink("/proc/self/ns/net")
    for name in HOST_PROGRAMS:
        for pid in engine.pids(name):
            there = os.readlink("/proc/%d/ns/net" % pid)
            spawner = name == "kenazd" and pid != engine.process.pid
            if name in ("kenaz-broker", "kenaz-egress") or spawner:
                check(there == ours, "%s is not on the host's network" % name)
            else:
                check(there != ours, "%s is on the host's network" % name)
                with open("/proc/%d/net/dev" % pid) as f:
                    links = [l.split(":")[0].strip() for l in f.readlines()[2:]]
                check(links == ["lo"], "%s: interfaces %r" % (name, links))


def qemu_is_alone():
    pid = engine.pids("qemu-system-x86_64")[0]
    for ns in ("net", "mnt", "pid", "ipc", "uts", "user"):
        check(os.readlink("/proc/%d/ns/%s" % (pid, ns)) !=
              os.readlink("/proc/self/ns/%s" % ns), "QEMU shares the %s namespace" % ns)
    s = status(pid)
    check(s["Seccomp"] == "2" and s["NoNewPrivs"] == "1", "QEMU has no filter")
    with open("/proc/%d/cmdline" % pid) as f:
        argv = f.read().split("\0")
    text = " ".join(argv)
    check("-nodefaults" in argv, "-nodefaults")
    for option in ("obsolete=deny", "elevateprivileges=deny", "spawn=deny",
                   "resourcecontrol=deny"):
        check(option in text, "-sandbox without " + option)
    check(session not in text, "the session's name is in QEMU's arguments")
    devices = [v.split(",")[0] for k, v in zip(argv, argv[1:]) if k == "-device"]
    check(sorted(devices) == ["isa-serial", "pcie-root-port", "vhost-user-vsock-pci"],
          "devices: %r" % devices)
    for option in ("-nic", "-net", "-netdev", "-drive", "-hda", "-blockdev"):
        check(option not in argv, "a network card or disk: " + text)
    root = os.listdir("/proc/%d/root" % pid)
    check("home" not in root and "root" not in root and "work" not in root,
          "QEMU sees %r" % root)


def the_gate_has_descriptors_and_nothing_else():
    pid = engine.pids("kenaz-gate")[0]
    for number, target in fds(pid):
        ok = (target.startswith(("socket:", "anon_inode:", "pipe:", "/memfd:"))
              or (number <= 2))
        check(ok, "the gate holds %d -> %s" % (number, target))


def core_holds_no_internet_socket():
    for number, target in fds(engine.process.pid):
        check("vault" not in target, "core holds " + target)


def nobody_has_more_environment_than_named():
    allowed = {"KENAZ_LOG", "KENAZ_TRACE", "LANG", "LC_ALL", "PATH", "TMPDIR",
               "ASAN_OPTIONS", "UBSAN_OPTIONS"}
    for name in HOST_PROGRAMS[1:]:
        for pid in engine.pids(name):
            with open("/proc/%d/environ" % pid) as f:
                names = {v.split("=", 1)[0] for v in f.read().split("\0") if v}
            check(names <= allowed, "%s inherited %r" % (name, names - allowed))


def when_core_goes_everything_goes():
    tree = engine.crash()
    wait_for("every process to end", lambda: not [
        p for p in tree if os.path.exists("/proc/%d/exe" % p) and
        readable_name(p) in tree[p][0]], 20)
    owner.close()
    engine.clean()


def readable_name(pid):
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid))
    except OSError:
        return "?"


main(every_process_of_the_design_runs,
     all_gave_up_privileges_and_core_files,
     none_but_spawner_and_launch_has_capabilities,
     only_broker_and_egress_have_a_network,
     qemu_is_alone,
     the_gate_has_descriptors_and_nothing_else,
     core_holds_no_internet_socket,
     nobody_has_more_environment_than_named,
     when_core_goes_everything_goes)
