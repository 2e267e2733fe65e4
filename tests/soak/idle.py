#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""idle.py [--sessions N] - many idle sessions at once, and nothing after them

Starts N sessions of 128 MiB at the same moment, measures what they cost while
they idle, ends them, and compares processes, descriptors, files, mounts,
cgroups and memory with what was there before.
"""

import argparse
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "bench")]
import leaks  # noqa: E402
from bench_session import pss_kib  # noqa: E402
from kenaz import Engine, check, have_image, wait_for  # noqa: E402

MEMORY_MIB = 128
IDLE_S = 10
PSS_TARGET_MIB = 8.0
TICKS = os.sysconf("SC_CLK_TCK")
PERMANENT = ("kenazd", "kenaz-audit", "kenaz-broker", "kenaz-scripted")

options = argparse.ArgumentParser()
options.add_argument("--sessions", type=int, default=40)
options = options.parse_args()

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

CONFIG = """
[limits]
max_sessions = %d
max_sessions_user = %d
""" % (options.sessions + 1, options.sessions + 1)


def processor_s(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def holding(engine):
    """What the permanent processes and the folder hold."""
    tree = engine.tree()
    check({n for n, _ in tree.values()} <= set(PERMANENT), "processes: %r" % tree)
    return {
        "processes": sorted(n for n, _ in tree.values()),
        "descriptors": {(n, p): leaks.descriptors(p) for p, (n, _) in tree.items()},
        "mounts": leaks.count_mounts(),
        "cgroups": leaks.cgroups(),
        "files": {p for p in leaks.paths(engine.folder) if not p.startswith("s/log/")},
    }


def start_all(engine):
    errors, times = [], []

    def one():
        try:
            begin = time.monotonic()
            engine.session(memory_mib=MEMORY_MIB)
            times.append(time.monotonic() - begin)
        except Exception as e:  # noqa: BLE001: told below, whatever it is
            errors.append(e)
    threads = [threading.Thread(target=one) for _ in range(options.sessions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, "%d of %d did not start: %s" % (
        len(errors), options.sessions, "; ".join(sorted({str(e) for e in errors}))))
    return sorted(times)


def measure(engine, before):
    tree = {p: n for p, (n, _) in engine.tree().items() if p not in before}
    ours = {p: n for p, n in tree.items() if not n.startswith("qemu-")}
    each = {}
    for pid, name in ours.items():
        each[name] = each.get(name, 0) + pss_kib(pid, True)
    for pid, name in tree.items():
        if name == "kenaz-launch":
            held = leaks.descriptors(pid)
            images = [d for d in held if "kenaz-image" in d]
            check(not images, "a launcher keeps the image: %r" % held)
    pss = sum(each.values()) / 1024 / options.sessions
    begin = processor_s(ours)
    time.sleep(IDLE_S)
    busy = (processor_s(ours) - begin) / IDLE_S / options.sessions
    return pss, busy, each


def main():
    engine = Engine(config=CONFIG).start()
    begin = time.monotonic()
    # What stays after any session, like the accelerator's verdict.
    _, owner, _ = engine.session(memory_mib=MEMORY_MIB)
    owner.close()
    engine.wait_event("session.end")
    wait_for("one session's processes to end",
             lambda: {n for n, _ in engine.tree().values()} <= set(PERMANENT))
    before = holding(engine)
    permanent = set(engine.tree())
    times = start_all(engine)
    pss, busy, each = measure(engine, permanent)
    for c in engine.open:
        c.close()
    engine.open = []
    wait_for("%d ends" % options.sessions, lambda: len(
        engine.events(kind="session.end")) == options.sessions + 1, 120)
    wait_for("the sessions' processes to end", lambda: set(engine.tree()) == permanent)
    after = holding(engine)
    for what, was in before.items():
        check(after[what] == was, "%s: %r before, %r after" % (what, was, after[what]))
    check(engine.stop() == 0, "exit code")
    r = engine.verify()
    check(r.returncode == 0, "verify: " + r.stdout + r.stderr)
    engine.clean()
    print("idle: %d sessions of %d MiB at once in %.0f s, the first after %.1f s and the "
          "last after %.1f s; session_pss_mib %.2f beyond QEMU (%s); %.2f %% of a processor "
          "each while idle; nothing left in %.0f s" % (
              options.sessions, MEMORY_MIB, times[-1], times[0], times[-1], pss,
              ", ".join("%s %.2f" % (n, k / 1024 / options.sessions)
                        for n, k in sorted(each.items())),
              100 * busy, time.monotonic() - begin))
    check(pss <= PSS_TARGET_MIB, "session_pss_mib is over %.0f" % PSS_TARGET_MIB)


main()
