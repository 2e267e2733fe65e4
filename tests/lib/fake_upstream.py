#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What may stand between Kenaz and a provider, or in its place.

Prints its port on the first line of stdout; ends when stdin does. Every event
is a JSON line of --record, as with fake_provider.py.

  proxy    an HTTP proxy that knows CONNECT only. --user NAME:PASSWORD asks for
           credentials, --refuse N answers every CONNECT with that status,
           --hang takes the request and says nothing
  silent   takes connections and says nothing
  h2       a server of HTTP/2 and HTTP/1.1 over TLS (--tls PEM), told apart by
           ALPN; --goaway N ends each connection after N streams, --reset
           resets every stream, --large N answers the first of all
           with N bytes, as far as its client takes them
  any      answers every request, by turns with a good answer, a refusal and
           a redirect (200, 429, 302), with headers that nobody may see among
           them and the key that it got in the body
  aws      a server that checks AWS signatures, by the implementation in
           sigv4_cases.py: 200 for a right one, 403 with the reason otherwise
"""
import argparse
import base64
import hashlib
import json
import os
import select
import socket
import ssl
import sys
import threading

import sigv4_cases

HEAD_MAX_BYTES = 65536
ANSWER = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()


class Recorder:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()

    def write(self, **entry):
        if not self.file:
            return
        with self.lock:
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()


def read_head(conn):
    """The first line, the headers and what came behind them."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(4096)
        if not more or len(data) > HEAD_MAX_BYTES:
            return None
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip(" ")) for name, _, value in
               (line.partition(":") for line in lines[1:])]
    return lines[0], headers, rest


def read_body(conn, headers, rest):
    length = int(dict(headers).get("content-length", 0))
    while len(rest) < length:
        more = conn.recv(65536)
        if not more:
            break
        rest += more
    return rest


def pump(one, other):
    pair = {one: other, other: one}
    while True:
        for ready in select.select(list(pair), [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            pair[ready].sendall(data)


def serve_proxy(conn, options, recorder):
    found = read_head(conn)
    if not found:
        return
    line, headers, _ = found
    recorder.write(event="connect", line=line, headers=headers)
    if options.hang:
        conn.recv(1)
        return
    method, target, _ = line.split(" ")
    want = base64.b64encode((options.user or "").encode()).decode()
    if method != "CONNECT":
        conn.sendall(b"HTTP/1.1 405 CONNECT only\r\n\r\n")
    elif options.refuse:
        conn.sendall(b"HTTP/1.1 %d no\r\ncontent-length: 0\r\n"
                     b"retry-after: 5\r\n\r\n" % options.refuse)
    elif options.user and \
            dict(headers).get("proxy-authorization") != "Basic " + want:
        conn.sendall(b"HTTP/1.1 407 who?\r\ncontent-length: 0\r\n"
                     b"proxy-authenticate: Basic realm=\"x\"\r\n\r\n")
    else:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as out:
            conn.sendall(b"HTTP/1.1 200 fine\r\nx-proxy: here\r\n\r\n")
            pump(conn, out)


def serve_silent(conn, options, recorder):
    recorder.write(event="connection")
    while conn.recv(4096):
        pass


def serve_h1(conn, recorder, number):
    while True:
        found = read_head(conn)
        if not found:
            return
        line, headers, rest = found
        read_body(conn, headers, rest)
        recorder.write(event="http1", connection=number, line=line,
                       headers=headers)
        conn.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))


def serve_h2(conn, options, recorder, number):
    import h2.config
    import h2.connection
    import h2.events

    h = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    h.initiate_connection()
    conn.sendall(h.data_to_send())
    streams, left = 0, 0
    while True:
        while left and h.local_flow_control_window(first):
            size = min(left, h.local_flow_control_window(first), 16384)
            h.send_data(first, b"a" * size, end_stream=size == left)
            left -= size
            conn.sendall(h.data_to_send())
        data = conn.recv(65536)
        if not data:
            return
        for event in h.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                recorder.write(event="http2", connection=number,
                               stream=event.stream_id,
                               headers=[list(x) for x in event.headers])
            if isinstance(event, h2.events.DataReceived):
                h.acknowledge_received_data(event.flow_controlled_length,
                                            event.stream_id)
            if not isinstance(event, h2.events.StreamEnded):
                continue
            streams += 1
            if options.reset:
                h.reset_stream(event.stream_id, 2)
                continue
            h.send_headers(event.stream_id,
                           [(":status", "200"),
                            ("content-type", "application/json")])
            if options.large and number == 1 and streams == 1:
                first, left = event.stream_id, options.large
                continue
            h.send_data(event.stream_id, ANSWER, end_stream=True)
            if options.goaway and streams >= options.goaway:
                h.close_connection()
                conn.sendall(h.data_to_send())
                # Closed with bytes unread, it would be reset instead.
                while conn.recv(65536):
                    pass
                return
        conn.sendall(h.data_to_send())


def serve_tls(conn, options, recorder):
    with COUNT_LOCK:
        COUNT[0] += 1
        number = COUNT[0]
    conn.do_handshake()
    if conn.selected_alpn_protocol() == "h2":
        serve_h2(conn, options, recorder, number)
    else:
        serve_h1(conn, recorder, number)


TURNS = (("200 OK", ""), ("429 slow down", "retry-after: 3\r\n"),
         ("302 elsewhere", ""))
EVERY_HEADER = "".join(name + ": seen\r\n" for name in (
    "set-cookie", "server", "x-internal", "www-authenticate",
    "request-id", "x-request-id", "x-amzn-requestid", "x-generation-id",
    "openai-processing-ms", "anthropic-ratelimit-tokens-limit",
    "x-ratelimit-limit-requests", "x-amzn-bedrock-input-token-count"))


def secret_of(headers):
    for name, value in headers:
        if name in ("x-api-key", "api-key"):
            return value
        if name == "authorization":
            return value.partition(" ")[2]
    return ""


def serve_any(conn, options, recorder):
    while True:
        found = read_head(conn)
        if not found:
            return
        line, headers, rest = found
        body = read_body(conn, headers, rest)
        with COUNT_LOCK:
            status, extra = TURNS[COUNT[0] % len(TURNS)]
            COUNT[0] += 1
        recorder.write(event="any", line=line, headers=headers,
                       bytes=len(body))
        answer = ("you said " + secret_of(headers)).encode()
        conn.sendall((
            "HTTP/1.1 %s\r\ncontent-type: text/plain\r\n%s%s"
            "location: http://127.0.0.1:%d/elsewhere\r\n"
            "content-length: %d\r\n\r\n" % (
                status, extra, EVERY_HEADER, conn.getsockname()[1],
                len(answer))).encode() + answer)


def check_signature(line, headers, body):
    """None, or why the request's signature is not right."""
    given = dict(headers)
    method, target, _ = line.split(" ")
    path, _, query = target.partition("?")
    credential = given.get("authorization", "").partition("Credential=")[2]
    scope = credential.partition(",")[0].split("/")
    if len(scope) != 5:
        return "no signature"
    signed = given["authorization"].partition("SignedHeaders=")[2]
    names = signed.partition(",")[0].split(";")
    for needed in ("host", "content-type", "x-amz-date"):
        if needed not in names:
            return needed + " is not signed"
    token = given.get("x-amz-security-token", "")
    kept = [(n, v) for n, v in headers if n in names and
            n not in ("x-amz-date", "x-amz-security-token")]
    want = sigv4_cases.sign(
        ("", method, path, query, kept, body, scope[2], scope[3], token),
        given["x-amz-date"])
    if given["authorization"] != want:
        return "wanted " + want
    return None


def serve_aws(conn, options, recorder):
    while True:
        found = read_head(conn)
        if not found:
            return
        line, headers, rest = found
        body = read_body(conn, headers, rest)
        wrong = check_signature(line, headers, body)
        recorder.write(event="aws", line=line, headers=headers, wrong=wrong,
                       digest=hashlib.sha256(body).hexdigest())
        answer = json.dumps({"message": wrong}).encode() if wrong else ANSWER
        conn.sendall(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n"
                     b"x-amzn-requestid: r-1\r\ncontent-length: %d\r\n\r\n%s" %
                     (b"403 no" if wrong else b"200 OK", len(answer), answer))


COUNT = [0]
COUNT_LOCK = threading.Lock()
MODES = {"proxy": serve_proxy, "silent": serve_silent, "h2": serve_tls,
         "any": serve_any, "aws": serve_aws}


def handle(conn, options, recorder):
    with conn:
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            MODES[options.mode](conn, options, recorder)
        except (OSError, ValueError) as error:
            recorder.write(event="broken", why=type(error).__name__)


def need_h2():
    """Debian's package belongs to Debian's Python, which may not be ours."""
    try:
        import h2.connection
    except ImportError:
        if os.path.realpath(sys.executable).startswith("/usr/bin/"):
            raise
        os.execv("/usr/bin/python3", ["/usr/bin/python3"] + sys.argv)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", choices=sorted(MODES))
    parser.add_argument("--record", metavar="FILE")
    parser.add_argument("--stdin-ends", action="store_true")
    parser.add_argument("--tls", metavar="PEM")
    parser.add_argument("--user", metavar="NAME:PASSWORD")
    parser.add_argument("--refuse", type=int, metavar="N")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--goaway", type=int, metavar="N")
    parser.add_argument("--reset", action="store_true")
    parser.add_argument("--large", type=int, metavar="N")
    options = parser.parse_args()
    if options.mode == "h2":
        need_h2()

    recorder = Recorder(options.record)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls)
        context.set_alpn_protocols(["h2", "http/1.1"])
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            conn, _ = listener.accept()
            if context:
                conn = context.wrap_socket(conn, server_side=True,
                                           do_handshake_on_connect=False)
            threading.Thread(target=handle, daemon=True,
                             args=(conn, options, recorder)).start()

    threading.Thread(target=accept, daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass


if __name__ == "__main__":
    main()
