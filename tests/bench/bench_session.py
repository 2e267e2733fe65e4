#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_session.py [-q] - cold start and memory of real sessions

cold_start_ratio: session.start to `hello` over a bare QEMU that boots the same
kernel and initramfs to its first user-space line, in turns. engine_pss_mib:
kenazd with its permanent children after a first TLS request. session_pss_mib:
what one session costs beyond QEMU; the guest's own memory, which launch maps
too, is not counted. Prints one JSON object; without an image, none of it.
"""
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIB = os.path.join(TOP, "tests", "lib")
sys.path[:0] = [LIB, HERE]
from bench_vm import bare_boot  # noqa: E402
from kenaz import Engine, Failure, have_image, wait_for  # noqa: E402

QUICK = "-q" in sys.argv[1:]
BOOTS = 2 if QUICK else 7
SESSIONS = 1 if QUICK else 3
MEMORY_MIB = 512
PERMANENT = ("kenazd", "kenaz-audit", "kenaz-broker", "kenaz-scripted")


def our_boot(engine):
    """Seconds from session.start to its answer, which follows `hello`."""
    connection = engine.connect()
    begin = time.monotonic()
    result = connection.call("session.start", detach=False,
                             memory_mib=MEMORY_MIB)
    took = time.monotonic() - begin
    connection.close()
    wait_for("the end of its QEMU",
             lambda: not engine.pids("qemu-system-x86_64"))
    return took, result["accelerator"]


def cold_start():
    # Emulation on both sides: what a machine's KVM can do is not the point.
    engine = Engine(config='[engine]\naccelerator = "tcg"\n').start()
    try:
        our_boot(engine)  # page cache
        bare, ours = [], []
        for _ in range(BOOTS):
            turns = [lambda: bare.append(bare_boot(MEMORY_MIB)),
                     lambda: ours.append(our_boot(engine)[0])]
            random.shuffle(turns)
            for turn in turns:
                turn()
    finally:
        engine.stop()
    b, o = statistics.median(bare), statistics.median(ours)
    return {
        "value": round(o / b, 4), "unit": "ratio",
        "baseline": round(b, 3), "target": 1.15,
        "note": "medians of %d: session.start to hello %.3f s over bare QEMU "
                "(emulation, %d MiB) to its first line; minima %.3f over %.3f"
                % (BOOTS, o, MEMORY_MIB, min(ours), min(bare))}


def pss_kib(pid, without_shmem):
    found = {}
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            name, _, value = line.partition(":")
            if value.endswith("kB\n"):
                found[name] = int(value.split()[0])
    return found["Pss"] - (found.get("Pss_Shmem", 0) if without_shmem else 0)


def tls_provider(folder):
    subprocess.run(["sh", os.path.join(LIB, "make_ca.sh"), folder], check=True,
                   capture_output=True)
    process = subprocess.Popen(
        [sys.executable, os.path.join(LIB, "fake_provider.py"), "--tls",
         os.path.join(folder, "server.pem"), "--stdin-ends"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def memory():
    folder = tempfile.mkdtemp(prefix="kz-ca-")
    provider, port = tls_provider(folder)
    engine = Engine(config="""
[engine]
accelerator = "tcg"

[[provider]]
name = "tls"
kind = "byo"
secret = "tls"
endpoint = "https://localhost:%d"
ca_file = "%s/ca.pem"
""" % (port, folder)).start()
    try:
        engine.set_secret("tls", "bench-0123456789abcdef")
        result = engine.call("provider.test", name="tls")
        if not result["ok"]:
            raise Failure("the TLS request failed: %r" % result)
        permanent = {n: engine.pids(n) for n in PERMANENT}
        total = sum(pss_kib(p, False) for ps in permanent.values() for p in ps)
        parts = ", ".join("%s %.1f" % (n, sum(pss_kib(p, False) for p in ps)
                                       / 1024) for n, ps in permanent.items())
        before = set(engine.tree())
        for _ in range(SESSIONS):
            engine.session()
        pids = {p: n for p, (n, _) in engine.tree().items()
                if p not in before and not n.startswith("qemu-")}
        each = {}
        for pid, name in pids.items():
            each[name] = each.get(name, 0) + pss_kib(pid, True) / SESSIONS
        return {
            "engine_pss_mib": {
                "value": round(total / 1024, 2), "unit": "MiB",
                "baseline": None, "target": 24,
                "note": "PSS after a first TLS request: " + parts},
            "session_pss_mib": {
                "value": round(sum(each.values()) / 1024, 2), "unit": "MiB",
                "baseline": None, "target": 8,
                "note": "PSS beyond QEMU and the guest's memory, mean of %d: "
                        % SESSIONS + ", ".join(
                            "%s %.1f" % (n, k / 1024)
                            for n, k in sorted(each.items()))},
        }
    finally:
        engine.stop()
        provider.kill()
        provider.wait()
        shutil.rmtree(folder)


def main():
    if not have_image():
        sys.exit("bench_session: no image; run 'make image'")
    out = {"cold_start_ratio": cold_start()}
    try:
        out.update(memory())
    except PermissionError as error:
        print("bench_session: memory is not measured: %s (run as root)"
              % error, file=sys.stderr)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
