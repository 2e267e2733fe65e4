#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_restore.py [-q] - going on from a template, and a cold start beside it

restore_ms: vm_spawn to the receipt of a hello, the memory copied ahead, as a
pool has it. restore_ratio: the same over a cold start from vm_spawn to its
receipt, in turns in the same run. The notes have the whole way from
launch_start on, with the copy in it. Emulation on both sides. Prints one JSON
object.
"""
import json
import os
import random
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from guest_rig import DEADLINE, Guest  # noqa: E402
from launch_driver import COLD, MAKE, RESTORE, Launch  # noqa: E402

B = os.environ.get("B", os.path.join(TOP, "build"))
PROGRAM = os.path.join(B, "bin", "kenaz-launch")
IMAGE = os.path.join(B, "image", "mini")
QUICK = "-q" in sys.argv[1:]
ROUNDS = 3 if QUICK else 11
COLDS = 2 if QUICK else 7
MEMORY_MIB = 512


def prepared(mode, template=None):
    launch = Launch(PROGRAM, IMAGE, memory=MEMORY_MIB, mode=mode,
                    template=template)
    launch.start()
    began = launch.begin
    launch.until(lambda: launch.fingerprint or launch.exited, DEADLINE)
    if launch.exited:
        sys.exit("bench_restore: %s" % launch.exited[1])
    return launch, began


def greeted(launch):
    """The time of the receipt."""
    launch.until(lambda: "connected" in launch.stages or launch.exited,
                 DEADLINE)
    return Guest(launch).hello()


def close(launch):
    launch.stop(kill=True)
    launch.until(lambda: launch.exited, DEADLINE)
    launch.close()


def started(mode, template=None, ahead=False):
    """Milliseconds from vm_spawn and from launch_start to the receipt."""
    launch, began = prepared(mode, template)
    if ahead:
        launch.until(lambda: "copied" in launch.stages, DEADLINE)
    launch.spawn()
    spawned = launch.begin
    now = greeted(launch)
    close(launch)
    return (now - spawned) / 1e6, (now - began) / 1e6


def make():
    launch, _ = prepared(MAKE)
    launch.spawn()
    launch.until(lambda: launch.exited, DEADLINE)
    launch.close()
    if not launch.made:
        sys.exit("bench_restore: %s" % launch.exited[1])
    return launch.made


def main():
    if not os.path.exists(os.path.join(IMAGE, "manifest.json")):
        sys.exit("bench_restore: no image; run 'make image'")
    template = make()
    started(RESTORE, template)  # page cache
    restores, wholes, colds = [], [], []
    turns = [lambda: restores.append(started(RESTORE, template, True))]
    turns = turns * ROUNDS
    turns += [lambda: wholes.append(started(RESTORE, template))] * ROUNDS
    turns += [lambda: colds.append(started(COLD))] * COLDS
    random.shuffle(turns)
    for turn in turns:
        turn()
    restore = statistics.median(r[0] for r in restores)
    whole = statistics.median(w[1] for w in wholes)
    cold, cold_whole = (statistics.median(c) for c in zip(*colds))
    print(json.dumps({
        "restore_ms": {
            "value": round(restore, 1), "unit": "ms", "baseline": None,
            "target": 200,
            "note": "median of %d (minimum %.1f): vm_spawn to the receipt, "
                    "emulation, %d MiB, %d MiB copied ahead; %.1f ms "
                    "(minimum %.1f) from launch_start on, copy and checks "
                    "included; template made in %.2f s"
                    % (ROUNDS, min(r[0] for r in restores), MEMORY_MIB,
                       template.used >> 20, whole, min(w[1] for w in wholes),
                       template.took_ns / 1e9)},
        "restore_ratio": {
            "value": round(restore / cold, 4), "unit": "ratio",
            "baseline": round(cold / 1e3, 3), "target": 0.125,
            "note": "over a cold start's %.3f s from vm_spawn to the receipt, "
                    "median of %d; from launch_start: %.1f ms over %.3f s"
                    % (cold / 1e3, COLDS, whole, cold_whole / 1e3)},
    }, indent=1))


main()
