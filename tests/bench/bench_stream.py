#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_stream.py [-q] - what streamed responses cost on their way

Entered at the gates' sockets of mock sessions; real core, audit, broker and
gates, policy on, the log in memory. Upstream is a server of this script's own
(asyncio), which writes the time into every chunk. Prints one JSON object:

chunk_p99_ms         what a chunk needs more than on a direct connection
idle_stream_kib      PSS of all engine processes per idle stream, of 1,000
idle_stream_tls_kib  the same with a TLS upstream
cancel_ms            client hang-up to the upstream's end of connection, p99
"""
import asyncio
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from kenaz import Engine, Failure  # noqa: E402

QUICK = "-q" in sys.argv[1:]
STREAMS, PER_SESSION = (200, 50) if QUICK else (1000, 50)
CHUNKS = 300 if QUICK else 2000
CANCELS = 20 if QUICK else 100
GAP_S = 0.003

HEAD = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n\r\n")


def event(name, **data):
    line = "event: %s\ndata: %s\n\n" % (name, json.dumps(dict(type=name,
                                                              **data)))
    return b"%x\r\n%s\r\n" % (len(line), line.encode())


START = event("message_start", message={
    "id": "msg_1", "type": "message", "role": "assistant", "model": "bench",
    "content": [], "stop_reason": None, "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1}}) + event(
        "content_block_start", index=0, content_block={"type": "text",
                                                       "text": ""})
END = event("content_block_stop", index=0) + event(
    "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage={"output_tokens": 1}) + event("message_stop") + b"0\r\n\r\n"


def request(how):
    body = json.dumps({"model": "bench", "max_tokens": 64, "stream": True,
                       "messages": [{"role": "user", "content": how}]})
    return ("POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Type: application/json\r\nAnthropic-Version: 2023-06-01"
            "\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)).encode()


class Upstream:
    """Answers "chunks N" with N timed chunks, "idle" with one and silence."""

    def __init__(self):
        self.ended = asyncio.Queue()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1]
                             .split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                how = body["messages"][0]["content"].split()
                writer.write(HEAD + START)
                for _ in range(int(how[1]) if how[0] == "chunks" else 1):
                    writer.write(event(
                        "content_block_delta", index=0,
                        delta={"type": "text_delta", "text": "t%dt" %
                               time.monotonic_ns()}))
                    await asyncio.sleep(GAP_S)
                if how[0] == "idle":
                    await reader.read(1)
                    self.ended.put_nowait(time.monotonic())
                    break
                writer.write(END)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def connect(address):
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection("127.0.0.1", address)


async def chunk_delays(address):
    """ms that each chunk took from the upstream's write to here."""
    reader, writer = await connect(address)
    writer.write(request("chunks %d" % CHUNKS))
    delays, seen, ended = [], b"", False
    while not ended:
        data = await reader.read(65536)
        now = time.monotonic_ns()
        if not data:
            raise Failure("the stream broke off: %r" % seen[-300:])
        seen += data
        ended = b"message_stop" in seen
        parts = seen.split(b'"t')
        for part in parts[1:]:
            stamp = part.split(b"t", 1)
            if len(stamp) == 2 and stamp[0].isdigit():
                delays.append((now - int(stamp[0])) / 1e6)
        seen = seen[seen.rfind(b"\n\n"):] if b"\n\n" in seen else seen
    writer.close()
    if len(delays) < CHUNKS * 0.9:
        raise Failure("only %d of %d chunks were timed" % (len(delays),
                                                           CHUNKS))
    return delays


async def open_idle(address):
    reader, writer = await connect(address)
    writer.write(request("idle"))
    seen = b""
    while b"text_delta" not in seen:
        data = await asyncio.wait_for(reader.read(65536), 60)
        if not data:
            raise Failure("an idle stream ended: %r" % seen[-300:])
        seen += data
    return reader, writer


def p99(values):
    return sorted(values)[max(int(len(values) * 0.99) - 1, 0)]


def tree(pid):
    found = [pid]
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/children" % (pid, task)) as f:
            for child in f.read().split():
                found += tree(int(child))
    return found


def pss_kib(pid):
    total = 0
    for one in tree(pid):
        with open("/proc/%d/smaps_rollup" % one) as f:
            total += next(int(line.split()[1]) for line in f
                          if line.startswith("Pss:"))
    return total


def where(pid):
    """For people: which program has how much of it, to standard error."""
    for one in tree(pid):
        with open("/proc/%d/comm" % one) as f:
            name = f.read().strip()
        with open("/proc/%d/smaps_rollup" % one) as f:
            pss = next(int(line.split()[1]) for line in f
                       if line.startswith("Pss:"))
        print("%s %d KiB" % (name, pss), file=sys.stderr)


def config(port, tls, ca):
    return """
[[provider]]
name = "bench"
kind = "byo"
endpoint = "%s://%s:%d"
%s

[limits]
event_rate_per_s = 100000
max_sessions = 200
max_sessions_user = 200
""" % ("https" if tls else "http", "localhost" if tls else "127.0.0.1", port,
       'ca_file = "%s"' % ca if tls else "allow_http = true")


def gate_of(engine):
    session, _, _ = engine.session(provider="bench")
    return os.path.join(engine.runtime, "mock-" + session, "host-1024")


async def idle_kib(engine, count):
    """PSS per stream: sessions stand already and have answered once."""
    gates = [gate_of(engine) for _ in range(-(-count // PER_SESSION))]
    for gate in gates:
        first = await open_idle(gate)
        first[1].close()
    await asyncio.sleep(1)
    before = pss_kib(engine.process.pid)
    held = []
    for n in range(count):
        held.append(await open_idle(gates[n % len(gates)]))
    await asyncio.sleep(1)
    after = pss_kib(engine.process.pid)
    if os.environ.get("KENAZ_BENCH_WHERE"):
        await asyncio.get_running_loop().run_in_executor(
            None, where, engine.process.pid)
    for _, writer in held:
        writer.close()
    return (after - before) / count


async def cancel_ms(upstream, gate):
    times = []
    while not upstream.ended.empty():
        upstream.ended.get_nowait()
    for _ in range(CANCELS):
        _, writer = await open_idle(gate)
        began = time.monotonic()
        writer.close()
        ended = await asyncio.wait_for(upstream.ended.get(), 30)
        times.append((ended - began) * 1000)
    return times


def make_engine(folder, name, text):
    engine = Engine(mock=True, folder=os.path.join(folder, name), config=text)
    engine.start()
    return engine


async def measure(folder, started):
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0,
                                        backlog=1024)
    port = server.sockets[0].getsockname()[1]
    pem = os.path.join(folder, "ca")
    subprocess.run([os.path.join(TOP, "tests", "lib", "make_ca.sh"), pem],
                   check=True, stdout=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(pem, "server.pem"))
    secure = await asyncio.start_server(upstream.serve, "127.0.0.1", 0,
                                        ssl=context, backlog=1024)
    secure_port = secure.sockets[0].getsockname()[1]

    os.makedirs(os.path.join(folder, "plain"))
    os.makedirs(os.path.join(folder, "tls"))
    loop = asyncio.get_running_loop()
    # What still idles at the end is cancelled without a word.
    loop.set_exception_handler(lambda *about: None)
    engine = await loop.run_in_executor(None, make_engine, folder, "plain",
                                        config(port, False, None))
    started.append(engine)
    gate = gate_of(engine)
    direct = await chunk_delays(port)
    through = await chunk_delays(gate)
    added = p99(through) - p99(direct)
    cancels = await cancel_ms(upstream, gate)
    plain = await idle_kib(engine, STREAMS)
    await loop.run_in_executor(None, engine.stop)
    started.remove(engine)
    engine = await loop.run_in_executor(
        None, make_engine, folder, "tls",
        config(secure_port, True, os.path.join(pem, "ca.pem")))
    started.append(engine)
    tls = await idle_kib(engine, STREAMS)
    return {
        "chunk_p99_ms": {
            "value": round(added, 3), "unit": "ms",
            "baseline": round(p99(direct), 3), "target": 1,
            "note": "p99 of %d chunks, one stream, %d ms apart: %.3f ms, less "
                    "a direct connection's; p50 added %.3f ms" % (
                        CHUNKS, GAP_S * 1000, p99(through),
                        statistics.median(through) -
                        statistics.median(direct))},
        "cancel_ms": {
            "value": round(p99(cancels), 2), "unit": "ms", "baseline": None,
            "target": 100,
            "note": "p99 of %d hang-ups; median %.2f ms" % (
                CANCELS, statistics.median(cancels))},
        "idle_stream_kib": {
            "value": round(plain, 2), "unit": "KiB", "baseline": None,
            "target": 32,
            "note": "PSS of core, audit, broker and gates per stream, %d "
                    "streams in sessions of %d" % (STREAMS, PER_SESSION)},
        "idle_stream_tls_kib": {
            "value": round(tls, 2), "unit": "KiB", "baseline": None,
            "target": 96, "note": "the same with a TLS upstream"},
    }


def main():
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="kz-", dir=base)
    started = []
    try:
        print(json.dumps(asyncio.run(measure(folder, started)), indent=1))
    finally:
        for engine in started:
            engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
