#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_infer.py [-q] - the whole inference path, entered at the gate's socket

Real audit, broker, gate and core; policy on; the log in memory (/dev/shm).
The session is a mock one, whose socket host-1024 leads straight to the gate,
so no guest is measured. Upstream is nginx with a reply of 1 KiB. Baselines,
with the same generator (tests/bench/load.c) in the same run: nginx directly,
and nginx as a reverse proxy with upstream keep-alive. Prints one JSON object.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from kenaz import Engine, Failure, wait_for  # noqa: E402

B = os.environ.get("B", os.path.join(TOP, "build"))
LOAD = os.path.join(B, "bench", "load")
QUICK = "-q" in sys.argv[1:]
ROUNDS, SECONDS = (1, 2) if QUICK else (5, 3)
CONNECTIONS = 64
REPLY_BYTES = 1024

NGINX = """
daemon off; master_process on; worker_processes %(workers)s;
error_log %(folder)s/%(name)s.log; pid %(folder)s/%(name)s.pid;
events { worker_connections 1024; }
http {
    access_log off; default_type application/json;
    client_body_temp_path %(folder)s/nginx-body;
    proxy_temp_path %(folder)s/nginx-proxied;
    fastcgi_temp_path %(folder)s/nginx-fastcgi;
    uwsgi_temp_path %(folder)s/nginx-uwsgi;
    scgi_temp_path %(folder)s/nginx-scgi;
    keepalive_requests 100000000; keepalive_timeout 600s;
    %(body)s
}
"""
UPSTREAM = "server { listen 127.0.0.1:%d; location / { return 200 '%s'; } }"
PROXY = """
    upstream there { server 127.0.0.1:%d; keepalive 64;
                     keepalive_requests 100000000; }
    server { listen unix:%s; location / { proxy_pass http://there;
        proxy_http_version 1.1; proxy_set_header Connection ""; } }
"""

CONFIG = """
[[provider]]
name = "bench"
kind = "byo"
endpoint = "http://127.0.0.1:%d"
allow_http = true

[limits]
event_rate_per_s = 100000
payload_bytes = 1099511627776
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, name, workers, body):
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    path = os.path.join(folder, name + ".conf")
    with open(path, "w") as f:
        f.write(NGINX % {"folder": folder, "name": name, "workers": workers,
                         "body": body})
    return subprocess.Popen([program, "-c", path, "-p", folder, "-e",
                             os.path.join(folder, name + ".log")])


def reply():
    text = {"id": "msg_bench", "type": "message", "role": "assistant",
            "model": "bench", "content": [{"type": "text", "text": ""}],
            "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 20}}
    short = REPLY_BYTES - len(json.dumps(text))
    text["content"][0]["text"] = "x" * short
    return json.dumps(text)


def request(folder):
    body = json.dumps({"model": "bench", "max_tokens": 64, "messages": [
        {"role": "user", "content": "How are you?"}]})
    path = os.path.join(folder, "request")
    with open(path, "w") as f:
        f.write("POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Type: application/json\r\n"
                "Anthropic-Version: 2023-06-01\r\n"
                "Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return path


def load(address, connections, path):
    done = subprocess.run([LOAD, str(address), str(connections), str(SECONDS),
                           path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure("load %s: %s" % (address, done.stderr))
    return json.loads(done.stdout)


def answers(address):
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as s:
        return s.connect_ex(address) == 0


def measure(folder, started):
    port, proxy = free_port(), os.path.join(folder, "proxy.sock")
    started.append(nginx(folder, "upstream", "1",
                         UPSTREAM % (port, reply())))
    started.append(nginx(folder, "proxy", "auto", PROXY % (port, proxy)))
    wait_for("nginx", lambda: answers(("127.0.0.1", port)))
    wait_for("the proxy", lambda: os.path.exists(proxy) and answers(proxy))
    engine = Engine(mock=True, folder=folder, config=CONFIG % port)
    started.append(engine)
    engine.start()
    session, _, _ = engine.session(provider="bench")
    gate = os.path.join(engine.runtime, "mock-" + session, "host-1024")
    path = request(folder)
    latency = {port: [], gate: []}
    rate = {gate: [], proxy: []}
    for _ in range(ROUNDS):
        for address, found in latency.items():
            found.append(load(address, 1, path)["p50_ms"])
        for address, found in rate.items():
            found.append(load(address, CONNECTIONS, path)["rps"])
    median = statistics.median
    added = median(a - b for a, b in zip(latency[gate], latency[port]))
    how = "median of %d rounds of %d s" % (ROUNDS, SECONDS)
    return {
        "added_p50_ms": {
            "value": round(added, 4), "unit": "ms",
            "baseline": round(median(latency[port]), 4), "target": 0.4,
            "note": "p50 of one connection through gate, core, audit (in "
                    "memory) and broker: %.3f ms, less a direct call; %s"
                    % (median(latency[gate]), how)},
        "rps_vs_nginx": {
            "value": round(median(rate[gate]) / median(rate[proxy]), 4),
            "unit": "ratio", "baseline": round(median(rate[proxy]), 1),
            "target": 0.35,
            "note": "%d connections: %.0f requests/s over nginx's reverse "
                    "proxy with keep-alive to the same upstream; %s"
                    % (CONNECTIONS, median(rate[gate]), how)},
    }


def main():
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="kz-", dir=base)
    started = []
    try:
        print(json.dumps(measure(folder, started), indent=1))
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
