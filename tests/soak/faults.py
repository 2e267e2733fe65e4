#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""faults.py [--minutes N] [--seed N] - a provider that fails at random

Clients of every dialect ask through the whole inference path (core, audit,
broker and gate as sanitized programs where KENAZ_BIN says so; a mock session
in place of a guest) a provider that speaks every dialect and misbehaves at
random: cut off anywhere, stalled, garbage, errors in mid-stream, torn into
small pieces. Some clients hang up. Every request must end in time; what a
client takes for a whole answer must be the whole answer; afterwards no process
holds more descriptors than before, none has grown much since a third of the
time was over, and the log verifies.
"""
import argparse
import collections
import json
import os
import random
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
import leaks  # noqa: E402
from dialect_client import Broken, DIALECTS, ask  # noqa: E402
from kenaz import Engine, Failure, check, wait_for  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument("--minutes", type=float, default=30)
options.add_argument("--seed", type=int, default=int(time.time()))
options.add_argument("--clients", type=int, default=6)
options = options.parse_args()

HANG_S = 150
# Idle connections; the log's next segment.
MORE_DESCRIPTORS = {"kenaz-broker": 64, "kenaz-audit": 4}
GROWTH_MAX_KIB = 24 * 1024
CLAUDE = "anthropic.claude-sonnet-4-5"
PROVIDERS = {
    "messages": 'kind = "byo"\ndialects = ["messages"]',
    "chat": 'kind = "byo"\ndialects = ["chat"]',
    "responses": 'kind = "byo"\ndialects = ["responses"]',
    "bedrock": 'kind = "bedrock"\nregion = "eu-central-1"\nsecret = "there"',
}
TRANSPORT = """
connect_timeout_s = 5
first_byte_timeout_s = 5
idle_timeout_s = 5
total_timeout_s = 40
retries = 1
"""


def pss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("Pss:"))


def a_fault(rng):
    """(switches, whether a whole answer can be the truth)."""
    kind = rng.choice(["none", "none", "none", "pieces", "cut", "cut", "stall",
                       "event", "status", "garbage", "no-length", "no-done",
                       "redirect", "gzip", "slow"])
    return {
        "none": lambda: ("", True),
        "pieces": lambda: ("chunk=%d" % rng.choice([1, 2, 3, 7, 100]), True),
        "cut": lambda: ("truncate=%d" % rng.randrange(0, 2500), True),
        "stall": lambda: ("stall=" + rng.choice(["before", "headers",
                                                 "middle"]), False),
        "event": lambda: ("error-event", False),
        "status": lambda: ("status=%d" % rng.choice(
            [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 529]), False),
        "garbage": lambda: ("garbage", False),
        "no-length": lambda: ("no-length", True),
        "no-done": lambda: ("no-done", True),
        "redirect": lambda: ("redirect=http://127.0.0.1:1/", False),
        "gzip": lambda: ("gzip", True),
        "slow": lambda: ("gap-ms=%d" % rng.randrange(1, 60), True),
    }[kind]() + (kind,)


class Soak:
    def __init__(self, engine, gates):
        self.engine, self.gates = engine, gates
        self.count = collections.Counter()
        self.failures = []
        self.lock = threading.Lock()
        self.end = time.monotonic() + options.minutes * 60

    def one(self, rng):
        provider = rng.choice(sorted(self.gates))
        dialect, stream = rng.choice(DIALECTS), rng.random() < 0.7
        switches, may_work, fault = a_fault(rng)
        text = "".join(rng.choice("abc \u00e4\u20ac\U0001f600\"\\{}")
                       for _ in range(rng.randrange(1, 400))).strip() or "x"
        calls = rng.choice([0, 0, 1, 1, 3])
        told = "fake: deltas=%d" % rng.randrange(1, 30)
        want_calls = []
        if calls:
            value = {"city": "K" * rng.randrange(1, 60)}
            told += ";tool=weather;calls=%d;tool-input=%s" % (
                calls, json.dumps(value))
            text, want_calls = "I will call a tool.", [("weather", value)] * (
                calls if provider != "messages" and not (
                    provider == "bedrock" and dialect in
                    ("anthropic", "invoke", "chat", "responses", "converse")
                ) else 0)
        else:
            text = text.replace(";", "").replace("\\", "").replace('"', "")
            text = text.strip() or "x"
            told += ";text=" + text
        if switches:
            told += ";" + switches
        leave = rng.randrange(0, 2000) if rng.random() < 0.1 else None
        model = CLAUDE if provider == "bedrock" else "m"
        what = "%s via %s, %s, stream %s: %s" % (dialect, provider, fault,
                                                 stream, told[:200])
        try:
            answer = ask(self.gates[provider], dialect, told,
                         ["weather"] if calls else (), stream, model, HANG_S,
                         leave)
        except Broken as error:
            if fault in ("none", "pieces", "slow", "no-done"):
                self.fail("failed without a fault: %s: %s" % (what, error))
            return "error"
        except TimeoutError:
            self.fail("hangs: " + what)
            return "hang"
        if leave is not None:
            return "left"
        # What a plain answer has no middle for does not happen to it.
        streams_only = fault == "event" or "stall=middle" in switches
        if not may_work and (stream or not streams_only):
            self.fail("false success: %s: %r" % (what, answer.text[:200]))
        elif answer.text != text:
            self.fail("another text: %s: %r" % (what, answer.text[:300]))
        elif calls and (not answer.calls or answer.calls !=
                        [answer.calls[0]] * len(answer.calls) or
                        answer.calls[0] != ("weather", value)):
            self.fail("other calls: %s: %r" % (what, answer.calls))
        elif want_calls and len(answer.calls) != calls:
            self.fail("%d of %d calls: %s" % (len(answer.calls), calls, what))
        return "answer"

    def fail(self, text):
        with self.lock:
            self.failures.append(text)
            print("   " + text, flush=True)

    def client(self, number):
        rng = random.Random(options.seed * 1000 + number)
        while time.monotonic() < self.end and len(self.failures) < 20:
            try:
                outcome = self.one(rng)
            except Exception as error:  # a client's own fault is one, too
                self.fail("client: %r" % error)
                outcome = "client"
            with self.lock:
                self.count[outcome] += 1


def holding(engine):
    return {(name, pid): (sum(leaks.descriptors(pid).values()), pss(pid))
            for pid, (name, _) in engine.tree().items()
            if name.startswith("kenaz") and "guestd" not in name}


def main():
    fake = subprocess.Popen(
        [sys.executable, os.path.join(TOP, "tests", "lib", "fake_models.py"),
         "--seconds", str(options.minutes * 60 + 600)],
        stdout=subprocess.PIPE, text=True)
    port = int(fake.stdout.readline())
    config = "".join('[[provider]]\nname = "%s"\n%s\nendpoint = '
                     '"http://127.0.0.1:%d"\nallow_http = true\n%s\n' % (
                         name, text, port, TRANSPORT)
                     for name, text in PROVIDERS.items())
    engine = Engine(mock=True, config=config + """
[inference]
circuit_failures = 0

[limits]
event_rate_per_s = 100000
payload_bytes = 1099511627776
""")
    code = 1
    try:
        engine.start()
        engine.set_secret("there", "key-of-the-soak")
        gates = {}
        for name in PROVIDERS:
            session, _, _ = engine.session(provider=name)
            gates[name] = os.path.join(engine.runtime, "mock-" + session,
                                       "host-1024")
        soak = Soak(engine, gates)
        for name in PROVIDERS:
            for dialect in DIALECTS:
                ask(gates[name], dialect, "hello", (), True,
                    CLAUDE if name == "bedrock" else "m")
        before = holding(engine)
        threads = [threading.Thread(target=soak.client, args=(n,))
                   for n in range(options.clients)]
        for t in threads:
            t.start()
        while time.monotonic() < soak.end - options.minutes * 40 and \
                not soak.failures:
            time.sleep(1)
        third = holding(engine)
        for t in threads:
            t.join()
        print("   seed %d: %s" % (options.seed, dict(soak.count)))
        code = finish(engine, soak, before, third)
    finally:
        fake.kill()
        fake.wait()
        if engine.process:
            engine.stop()
        if code:
            print(engine.log()[-3000:])
        engine.clean()
    return code


def finish(engine, soak, before, third):
    def settled():
        now = holding(engine)
        return now if now.keys() == before.keys() and all(
            v[0] <= before[k][0] + MORE_DESCRIPTORS.get(k[0], 0)
            for k, v in now.items()) else None
    try:
        after = wait_for("descriptors as before", settled, 120)
    except Failure as error:
        after = holding(engine)
        soak.fail("%s: before %r, after %r" % (error, before, after))
    for who in sorted(after):
        grown = after[who][1] - third.get(who, after[who])[1]
        print("   %s: %d KiB, %+d since a third of the time" % (
            who[0], after[who][1], grown))
        if grown > GROWTH_MAX_KIB:
            soak.fail("%s grew by %d KiB" % (who[0], grown))
    engine.stop()
    done = engine.verify()
    check(done.returncode == 0, done.stdout + done.stderr)
    for text in ("AddressSanitizer", "runtime error"):
        if text in engine.log():
            soak.fail(text + " in the engine's log")
    print("ok" if not soak.failures else "FAILED: %d" % len(soak.failures))
    return 1 if soak.failures else 0


sys.exit(main())
