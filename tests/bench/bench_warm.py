#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_warm.py [-q] - starts from the pool and from a template

claim_ms: a session's claim of a machine that waits to its `hello`, by core's
own stages. session_restore_ms: session.start to `hello` by a template's restore;
session_restore_ratio: over a cold start to `hello` in the same run, in turns. Real
engines, real guests, emulation. Prints one JSON object.
"""
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from kenaz import BOOT_S, Engine, Failure, have_image, wait_for  # noqa: E402

QUICK = "-q" in sys.argv[1:]
CLAIMS = 3 if QUICK else 15
STARTS = 2 if QUICK else 7
BASE = """
[engine]
accelerator = "tcg"

[limits]
memory_mib = 512

[pool]
"""


def checks(engine, name):
    return [c["text"] for c in engine.call("doctor")["checks"]
            if c["id"] == name]


def start(engine, want):
    """Milliseconds of a start's stages, by name."""
    session, owner, started = engine.session()
    if started["start"] != want:
        raise Failure("a %s start, not %s" % (started["start"], want))
    owner.close()
    engine.wait_event("session.end", session=session)
    return {s["name"]: s["us"] / 1000 for s in started["stages"]}


def claims():
    engine = Engine(config=BASE + "size = 1\n").start()
    try:
        engine.wait_event("template.made")
        took = []
        for _ in range(CLAIMS):
            wait_for("a machine", lambda: "1 of 1 wait" in
                     " ".join(checks(engine, "pool")), BOOT_S)
            stages = start(engine, "pool")
            took.append(stages["hello"] - stages["claimed"])
    finally:
        engine.stop()
        engine.clean()
    return {"value": round(statistics.median(took), 2), "unit": "ms",
            "baseline": None, "target": 50,
            "note": "median of %d claims, claim to hello; least %.1f, most %.1f"
                    % (CLAIMS, min(took), max(took))}


def restores():
    warm = Engine(config=BASE).start()
    cold = Engine(config=BASE + 'start = "cold"\n').start()
    try:
        start(warm, "cold")
        start(cold, "cold")  # page cache
        warm.wait_event("template.made")
        restored, booted = [], []
        for i in range(2 * STARTS):
            if i % 2:
                restored.append(start(warm, "template")["hello"])
            else:
                booted.append(start(cold, "cold")["hello"])
        held = " ".join(checks(warm, "template"))
    finally:
        warm.stop()
        cold.stop()
        warm.clean()
        cold.clean()
    r, b = statistics.median(restored), statistics.median(booted)
    note = ("medians of %d in turns: session.start to hello; restore %.0f ms "
            "(least %.0f), cold %.0f ms (least %.0f); %s"
            % (STARTS, r, min(restored), b, min(booted), held))
    return {
        "session_restore_ms": {"value": round(r, 1), "unit": "ms",
                               "baseline": round(b, 1), "target": 200, "note": note},
        "session_restore_ratio": {"value": round(r / b, 4), "unit": "ratio",
                          "baseline": round(b, 1), "target": 0.125,
                          "note": note}}


def main():
    if not have_image():
        sys.exit("bench_warm: no image; run 'make image'")
    print(json.dumps(dict(restores(), claim_ms=claims()), indent=1))


if __name__ == "__main__":
    main()
