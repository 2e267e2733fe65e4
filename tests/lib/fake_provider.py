#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A provider that speaks Anthropic Messages and misbehaves on request.

A real HTTP/1.1 server, plain or TLS, with the standard library only. Prints
its port on the first line of stdout. It ends when stdin does (--stdin-ends),
after --seconds, or by a signal.

What it does is told by switches "name" or "name=value", separated by ";".
Later sources win: --behave, the file of --sequence (one line of switches
for each POST below a first line that names the case; a changed file begins
anew, the last line stays), the file of --control (read anew for every
request), the query parameter "fake", the header "x-fake", an anthropic-beta
value that starts with "fake:" ("fake:status=429;retry-after=3"), and a line
"fake: ..." in the last user text of the request.

  status=N           answer with this status and the dialect's error
  retry-after=S      header of that answer
  stall=before       read the request, then never answer
  stall=headers      send the head, then nothing
  stall=middle       send half of the events, then nothing
  truncate=N         close after N bytes of the body
  error-event        an error event in mid-stream, then close, no message_stop
  error-event=first  the same as the stream's first event
  error-event=begun  the same behind message_start, before any content
  error-type=T       its type; overloaded_error
  reset              break the connection before the head
  echo=header|body   put the key it got into the answer
  echo-split=N       split the body around the echoed key into N-byte pieces
  chunk=N            send the body in pieces of N bytes
  gap-ms=N           wait between events
  deltas=N           how many text deltas
  text=T             text of the answer
  tool=NAME          answer with a call of that tool
  tool-input=JSON    its input
  agent              the call only where the request declares that tool and
                     has no result of it; then a text with the result
  huge=N             N bytes of text in all
  redirect=URL       answer 302
  gzip               claim and use content-encoding: gzip
  no-length          end the plain body by closing
  garbage            answer with something that is no HTTP
  headers=N          N extra response headers
"""
import argparse
import gzip
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

STALL_MAX_S = 60
BODY_MAX_BYTES = 64 * 1024 * 1024
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def parse_switches(text):
    found = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            found[name] = value
    return found


def last_user_text(body):
    for message in reversed(body.get("messages") or []):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            return content
        return "\n".join(b.get("text", "") for b in content or []
                         if b.get("type") == "text")
    return ""


def result_text(block):
    content = block.get("content")
    if isinstance(content, str):
        return content
    return "".join(b.get("text", "") for b in content or [])


def last_result(body):
    """Text of the newest tool result, or None."""
    for message in reversed(body.get("messages") or []):
        content = message.get("content")
        for block in reversed(content if isinstance(content, list) else []):
            if block.get("type") == "tool_result":
                return result_text(block)
    return None


class Recorder:
    """Every request as one JSON line, and events of its connection."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()
        self.number = 0

    def next_number(self):
        with self.lock:
            self.number += 1
            return self.number

    def write(self, entry):
        if not self.file:
            return
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fake-provider"
    sys_version = ""

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # --- switches and the request ---------------------------------------

    def switches(self, body):
        options = self.server.options
        found = parse_switches(options.behave)
        if self.command == "POST":
            found.update(parse_switches(self.server.next_of_sequence()))
        if options.control and os.path.exists(options.control):
            with open(options.control, encoding="utf-8") as control:
                found.update(parse_switches(control.read().strip()))
        query = parse_qs(urlsplit(self.path).query)
        found.update(parse_switches(";".join(query.get("fake", []))))
        found.update(parse_switches(self.headers.get("x-fake", "")))
        for beta in self.headers.get("anthropic-beta", "").split(","):
            if beta.strip().startswith("fake:"):
                found.update(parse_switches(beta.strip()[5:]))
        for line in last_user_text(body).splitlines():
            if line.startswith("fake: "):
                found.update(parse_switches(line[6:]))
        return found

    def read_request(self):
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_MAX_BYTES:
            raise ValueError("body too large")
        raw = self.rfile.read(length)
        self.number = self.server.recorder.next_number()
        self.server.recorder.write({
            "event": "request", "number": self.number,
            "method": self.command, "path": self.path,
            "headers": [[k.lower(), v] for k, v in self.headers.items()],
            "body": raw.decode("utf-8", "replace"),
            "bytes": len(raw), "peer": self.client_address[1],
        })
        try:
            return json.loads(raw) if raw else {}
        except ValueError:
            return {}

    def key(self):
        bearer = self.headers.get("authorization", "")
        if bearer.startswith("Bearer "):
            return bearer[7:]
        return self.headers.get("x-api-key", "")

    # --- answers --------------------------------------------------------

    def start(self, status, kind, extra=()):
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("request-id", "req_fake_%d" % self.number)
        self.send_header("set-cookie", "never=forwarded")
        for name, value in extra:
            self.send_header(name, value)
        if self.sw.get("echo") == "header":
            self.send_header("anthropic-ratelimit-echo",
                             "<" + self.key() + ">")
        for i in range(int(self.sw.get("headers", 0))):
            self.send_header("x-extra-%d" % i, "x" * 100)

    def send_raw(self, data, chunked):
        """Body bytes in the asked pieces, cut where asked."""
        piece = int(self.sw.get("chunk") or self.sw.get("echo-split") or
                    max(len(data), 1))
        for at in range(0, len(data), piece):
            part = data[at:at + piece]
            if "truncate" in self.sw:
                left = int(self.sw["truncate"]) - self.sent
                part = part[:max(left, 0)]
            if part:
                self.sent += len(part)
                if chunked:
                    part = b"%x\r\n%s\r\n" % (len(part), part)
                self.wfile.write(part)
                self.wfile.flush()
            if "truncate" in self.sw and \
                    self.sent >= int(self.sw["truncate"]):
                raise BrokenPipeError("truncated on purpose")

    def plain(self, status, value, extra=()):
        data = json.dumps(value).encode()
        if "gzip" in self.sw:
            data = gzip.compress(data)
            extra = list(extra) + [("content-encoding", "gzip")]
        if "no-length" not in self.sw:
            extra = list(extra) + [("content-length", str(len(data)))]
        else:
            extra = list(extra) + [("connection", "close")]
            self.close_connection = True
        self.start(status, "application/json", extra)
        self.end_headers()
        if self.sw.get("stall") == "headers":
            self.stall()
        self.send_raw(data, False)

    def error(self, status, extra=()):
        self.plain(status, {
            "type": "error",
            "error": {"type": ERRORS.get(status, "api_error"),
                      "message": "asked to fail with %d" % status},
            "request_id": "req_fake_%d" % self.number,
        }, extra)

    def stall(self):
        """Until the client leaves, or for a bounded time."""
        self.wfile.flush()
        deadline = time.monotonic() + STALL_MAX_S
        self.server.recorder.write({"event": "stall", "number": self.number})
        while time.monotonic() < deadline and not self.server.ending:
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if readable:
                break
        raise BrokenPipeError("stalled on purpose")

    # --- the dialect ----------------------------------------------------

    def text(self, body):
        text = self.sw.get("text", "Hello from the fake provider.")
        if "huge" in self.sw:
            text = "x" * int(self.sw["huge"])
        if self.sw.get("echo") == "body":
            text = "before " + self.key() + " after"
        return text

    def agent(self, body):
        """What an agent's loop should get next."""
        result = last_result(body)
        if result is not None:
            return [{"type": "text", "text": "The tool said: " + result}]
        names = [t.get("name") for t in body.get("tools") or []]
        if self.sw.get("tool") not in names:
            return [{"type": "text", "text": self.text(body)}]
        return None

    def blocks(self, body):
        if "agent" in self.sw:
            told = self.agent(body)
            if told:
                return told
        if "tool" in self.sw:
            return [{"type": "text", "text": "I will call a tool."},
                    {"type": "tool_use",
                     "id": "toolu_fake_%d" % self.number,
                     "name": self.sw["tool"],
                     "input": json.loads(self.sw.get("tool-input") or "{}")}]
        return [{"type": "text", "text": self.text(body)}]

    def message(self, body, blocks):
        return {
            "id": "msg_fake_%d" % self.number, "type": "message",
            "role": "assistant", "model": body.get("model", "fake"),
            "content": blocks,
            "stop_reason": "tool_use" if any(
                b["type"] == "tool_use" for b in blocks) else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 7,
                      "cache_creation_input_tokens": 0,
                      "cache_read_input_tokens": 0},
        }

    def block_events(self, index, block):
        if block["type"] == "text":
            empty, field = {"type": "text", "text": ""}, "text"
            kind, whole = "text_delta", block["text"]
        else:
            empty = dict(block, input={})
            kind, field = "input_json_delta", "partial_json"
            whole = json.dumps(block["input"])
        yield "content_block_start", {"index": index, "content_block": empty}
        count = max(int(self.sw.get("deltas") or 4), 1)
        size = max(-(-len(whole) // count), 1)
        for at in range(0, len(whole), size):
            yield "content_block_delta", {
                "index": index,
                "delta": {"type": kind, field: whole[at:at + size]}}
        yield "content_block_stop", {"index": index}

    def events(self, body):
        blocks = self.blocks(body)
        message = self.message(body, blocks)
        stop = message["stop_reason"]
        message["content"] = []
        usage = message["usage"]
        message.update(stop_reason=None, usage=dict(usage, output_tokens=1))
        yield "message_start", {"message": message}
        yield "ping", {}
        for index, block in enumerate(blocks):
            yield from self.block_events(index, block)
        yield "message_delta", {
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": usage["output_tokens"]}}
        yield "message_stop", {}

    def stream(self, body):
        self.start(200, "text/event-stream; charset=utf-8",
                   [("transfer-encoding", "chunked"),
                    ("cache-control", "no-cache")])
        self.end_headers()
        self.wfile.flush()
        if self.sw.get("stall") == "headers":
            self.stall()
        events = list(self.events(body))
        gap = int(self.sw.get("gap-ms") or 0) / 1000
        for number, (name, data) in enumerate(events):
            if number == {"first": 0, "begun": 3}.get(
                    self.sw.get("error-event")):
                name = "error"
                data = {"error": {"type": self.sw.get("error-type") or
                                  "overloaded_error",
                                  "message": "asked to fail at once"}}
            if number == len(events) // 2:
                if self.sw.get("stall") == "middle":
                    self.stall()
                if self.sw.get("error-event") == "":
                    name = "error"
                    data = {"error": {"type": "overloaded_error",
                                      "message": "asked to fail"}}
            line = json.dumps(dict({"type": name}, **data),
                              separators=(",", ":"))
            self.send_raw(("event: %s\ndata: %s\n\n" % (name, line)).encode(),
                          True)
            if name == "error":
                break
            if gap:
                time.sleep(gap)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    # --- routes ---------------------------------------------------------

    def early(self):
        """Misbehaviour that needs no dialect; true when it answered."""
        if self.sw.get("stall") == "before":
            self.stall()
        if "reset" in self.sw:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.connection.close()
            raise BrokenPipeError("reset on purpose")
        if "garbage" in self.sw:
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
            return True
        if "redirect" in self.sw:
            self.start(302, "text/plain",
                       [("location", self.sw["redirect"]),
                        ("content-length", "0")])
            self.end_headers()
            return True
        if "status" in self.sw:
            extra = []
            if "retry-after" in self.sw:
                extra = [("retry-after", self.sw["retry-after"])]
            self.error(int(self.sw["status"]), extra)
            return True
        return False

    def answer(self):
        self.sent = 0
        body = self.read_request()
        self.sw = self.switches(body)
        path = urlsplit(self.path).path
        for prefix in ("/anthropic",):
            if path.startswith(prefix):
                path = path[len(prefix):]
        if self.early():
            return
        if self.command == "POST" and path == "/v1/messages":
            if body.get("stream"):
                self.stream(body)
            else:
                self.plain(200, self.message(body, self.blocks(body)))
        elif self.command == "POST" and path == "/v1/messages/count_tokens":
            if {"max_tokens", "stream", "temperature"} & set(body):
                self.error(400)  # "Extra inputs are not permitted"
            else:
                self.plain(200, {"input_tokens": 11})
        elif self.command == "GET" and path == "/v1/models":
            self.plain(200, {"data": [
                {"type": "model", "id": "fake", "display_name": "Fake",
                 "created_at": "2026-01-01T00:00:00Z"}],
                "has_more": False, "first_id": "fake", "last_id": "fake"})
        else:
            self.error(404)

    def guarded(self):
        self.number = 0
        outcome = "ok"
        try:
            self.answer()
        except (OSError, ValueError) as error:
            outcome = type(error).__name__
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server.recorder.write({"event": "end", "number": self.number,
                                    "outcome": outcome})

    do_GET = do_POST = do_HEAD = guarded


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    ending = False

    sequence_text, sequence_at = None, 0
    sequence_lock = threading.Lock()

    def next_of_sequence(self):
        """The line for the next POST; a changed file begins anew."""
        if not self.options.sequence:
            return ""
        with self.sequence_lock:
            try:
                with open(self.options.sequence, encoding="utf-8") as f:
                    text = f.read()
            except OSError:
                return ""
            if text != self.sequence_text:
                self.sequence_text, self.sequence_at = text, 0
            lines = text.splitlines()[1:]  # the first one names the case
            line = lines[min(self.sequence_at, len(lines) - 1)] if lines else ""
            self.sequence_at += 1
            return line

    def handle_error(self, request, client_address):
        """A client that leaves is part of the job."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", metavar="PEM",
                        help="certificate and key; see make_ca.sh")
    parser.add_argument("--record", metavar="FILE",
                        help="JSON lines: request, stall, end")
    parser.add_argument("--behave", default="", metavar="SWITCHES")
    parser.add_argument("--control", metavar="FILE")
    parser.add_argument("--sequence", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--stdin-ends", action="store_true")
    options = parser.parse_args()

    server = Server((options.host, options.port), Handler)
    server.options = options
    server.recorder = Recorder(options.record)
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        if options.stdin_ends:
            readable, _, _ = select.select([sys.stdin], [], [], 1)
            if readable and not os.read(0, 4096):
                break
        else:
            time.sleep(0.2)
    server.ending = True
    server.shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
