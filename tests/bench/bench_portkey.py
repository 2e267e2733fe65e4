#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_portkey.py [-q] - requests a second over npm's @portkey-ai/gateway

Both in one run, one after the other in every round, with the same generator
(tests/bench/load.c), 64 connections and the same nginx behind them, all on
loopback. Kenaz is entered at the gate's socket of a mock session, with audit
in memory and policy on (see bench_infer.py); the other gateway runs on npm's
node as its package starts it, and decides and records nothing. Package and
node are installed into build/portkey once (KENAZ_PORTKEY_DIR: another place).
Without npm it says so and prints an empty object.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bench_infer as infer  # noqa: E402
from bench_infer import Engine, Failure, wait_for  # noqa: E402

INSTALLED = os.environ.get("KENAZ_PORTKEY_DIR",
                           os.path.join(infer.B, "portkey"))
ROUNDS = 2 if infer.QUICK else 5


def install():
    """The package and node, by npm; package.json is their versions."""
    stamp = os.path.join(INSTALLED, "installed.json")
    with open(os.path.join(HERE, "package.json")) as f:
        wanted = f.read()
    try:
        with open(stamp) as f:
            if f.read() == wanted:
                return True
    except OSError:
        pass
    if not shutil.which("npm"):
        print("bench_portkey: skipped: npm is not installed", file=sys.stderr)
        return False
    os.makedirs(INSTALLED, exist_ok=True)
    with open(os.path.join(INSTALLED, "package.json"), "w") as f:
        f.write(wanted)
    try:
        subprocess.run(["npm", "install", "--no-audit", "--no-fund",
                        "--loglevel=error"], cwd=INSTALLED, check=True,
                       stdout=sys.stderr)
    except subprocess.CalledProcessError:
        print("bench_portkey: skipped: npm cannot install the packages of "
              "tests/bench/package.json", file=sys.stderr)
        return False
    with open(stamp, "w") as f:
        f.write(wanted)
    return True


def gateway(port, folder):
    modules = os.path.join(INSTALLED, "node_modules")
    with open(os.path.join(folder, "portkey.log"), "w") as log:
        return subprocess.Popen(
            [os.path.join(modules, ".bin", "node"),
             os.path.join(modules, "@portkey-ai", "gateway", "build",
                          "start-server.js"), "--port=%d" % port,
             "--headless"], stdout=log, stderr=log, cwd=folder,
            env=dict(os.environ, NODE_ENV="production"))


def portkey_request(folder, path, upstream):
    """The same request, told where to go."""
    with open(path, newline="") as f:
        head, body = f.read().split("\r\n\r\n", 1)
    path = os.path.join(folder, "portkey-request")
    with open(path, "w", newline="") as f:
        f.write(head + "\r\nx-portkey-provider: anthropic\r\n"
                "x-portkey-custom-host: http://127.0.0.1:%d/v1\r\n"
                "x-api-key: none\r\n\r\n%s" % (upstream, body))
    return path


def measure(folder, started):
    upstream, port = infer.free_port(), infer.free_port()
    started.append(infer.nginx(folder, "upstream", "1", infer.UPSTREAM % (
        upstream, infer.reply())))
    started.append(gateway(port, folder))
    wait_for("nginx", lambda: infer.answers(("127.0.0.1", upstream)))
    wait_for("the other gateway", lambda: infer.answers(("127.0.0.1", port)))
    engine = Engine(mock=True, folder=folder,
                    config=infer.CONFIG % upstream)
    started.append(engine)
    engine.start()
    session, _, _ = engine.session(provider="bench")
    gate = os.path.join(engine.runtime, "mock-" + session, "host-1024")
    path = infer.request(folder)
    requests = {gate: path, port: portkey_request(folder, path, upstream)}
    rate = {gate: [], port: []}
    # A just-in-time compiler needs to have seen the code.
    infer.load(port, infer.CONNECTIONS, requests[port])
    for _ in range(ROUNDS):
        for address, found in rate.items():
            found.append(infer.load(address, infer.CONNECTIONS,
                                    requests[address])["rps"])
    ours = statistics.median(rate[gate])
    theirs = statistics.median(rate[port])
    return {
        "rps_vs_portkey": {
            "value": round(ours / theirs, 3), "unit": "ratio",
            "baseline": round(theirs, 1), "target": 20,
            "note": "%d connections: %.0f requests/s over "
                    "@portkey-ai/gateway 1.15.2 with the same upstream; "
                    "median of %d rounds of %d s" % (
                        infer.CONNECTIONS, ours, ROUNDS, infer.SECONDS)}}


def main():
    if not install():
        print("{}")
        return
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="kz-", dir=base)
    started = []
    try:
        print(json.dumps(measure(folder, started), indent=1))
    except Failure as e:
        sys.exit("bench_portkey: %s" % e)
    finally:
        for what in reversed(started):
            if isinstance(what, Engine):
                what.stop()
            else:
                what.terminate()
                what.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
