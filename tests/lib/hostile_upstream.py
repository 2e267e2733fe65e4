#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A provider that breaks HTTP/1.1 in one of many ways, told by the model.

Prints its port on the first line of stdout; ends when stdin does. The
request's body is JSON; its "model" says what to do:

  good           a whole answer
  (large)        more than 64 KiB: answer 413 after the head, close at once
  informed       interim answers without end
  one-header     a header line without end
  headers        header lines without end
  trailers       trailers without end behind a chunked body
  extension      a chunk's extension without end
  no-head        a body and no head (HTTP/0.9)
  br             a content-encoding that was not asked for
  chunk-size     a chunk of 2^68 bytes
  chunk-sign     a chunk of a negative size
  lengths        two contents lengths that differ
  short          less than content-length said
  more           a second answer behind the first
  reason-key     the key in the place of a status
  header-key     the key in a header line without a colon, and a bad one behind
  endless        a body without end
"""
import argparse
import json
import os
import socket
import sys
import threading

ANSWER = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
PIECE = b"a" * 16384


def whole(answer=ANSWER):
    return HEAD + b"content-length: %d\r\n\r\n%s" % (len(answer), answer)


def forever(start, piece):
    yield start
    while True:
        yield piece


HOW = {
    "good": lambda key: [whole()],
    "informed": lambda key: forever(b"", b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"),
    "one-header": lambda key: forever(HEAD + b"x-request-id: ", PIECE),
    "headers": lambda key: forever(HEAD, b"x-request-id: a\r\n" * 512),
    "trailers": lambda key: forever(CHUNKED + b"2\r\n{}\r\n0\r\n", b"x-a: b\r\n" * 1024),
    "extension": lambda key: forever(CHUNKED + b"2;", PIECE),
    "no-head": lambda key: [ANSWER],
    "br": lambda key: [HEAD + b"content-encoding: br\r\ncontent-length: 3\r\n\r\nabc"],
    "chunk-size": lambda key: [CHUNKED + b"100000000000000000\r\n" + PIECE],
    "chunk-sign": lambda key: [CHUNKED + b"-5\r\n" + PIECE],
    "lengths": lambda key: [HEAD + b"content-length: 2\r\ncontent-length: 9\r\n\r\n" + ANSWER],
    "short": lambda key: [HEAD + b"content-length: 9999\r\n\r\n" + ANSWER],
    "more": lambda key: [whole() + whole(b'{"stolen":true}')],
    "reason-key": lambda key: [b"HTTP/1.1 " + key + b" OK\r\n\r\n"],
    "header-key": lambda key: [HEAD + key + b"\r\n" + key + b": " + key
                               + b"\r\nx-request-id: " + key + b"\r\ncontent-length: -"
                               + key + b"\r\n\r\n" + key],
    "endless": lambda key: forever(HEAD + b"\r\n", PIECE),
}


def read_head(conn):
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return None, {}, b""
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    return lines[0], {n.lower(): v.strip() for n, _, v in
                      (line.partition(b":") for line in lines[1:])}, rest


def linger(conn):
    """As servers do that want their answer to arrive: not closed with a reset."""
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(65536):
        pass


def serve(conn, record):
    while True:
        line, headers, rest = read_head(conn)
        if line is None:
            return
        record(line)
        if int(headers[b"content-length"]) > 65536:
            answer = b'{"error":{"message":"too large for us"}}'
            conn.sendall(b"HTTP/1.1 413 no\r\ncontent-type: application/json\r\n"
                         b"content-length: %d\r\n\r\n%s" % (len(answer), answer))
            if int(headers[b"content-length"]) % 2 == 0:
                linger(conn)
            return
        while len(rest) < int(headers[b"content-length"]):
            rest += conn.recv(65536)
        key = headers.get(b"x-api-key", b"none")
        for piece in HOW[json.loads(rest)["model"]](key):
            conn.sendall(piece)
        if json.loads(rest)["model"] in ("short", "no-head", "reason-key", "chunk-size",
                                         "chunk-sign"):
            return


def handle(conn, record):
    with conn:
        try:
            serve(conn, record)
        except (OSError, ValueError, KeyError) as error:
            record(type(error).__name__.encode())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--record", metavar="FILE")
    parser.add_argument("--stdin-ends", action="store_true")
    options = parser.parse_args()
    lock = threading.Lock()

    def record(line):
        with lock, open(options.record or os.devnull, "a") as f:
            f.write(json.dumps({"event": line.decode("latin-1")}) + "\n")

    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            conn, _ = listener.accept()
            threading.Thread(target=handle, daemon=True, args=(conn, record)).start()

    threading.Thread(target=accept, daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass


if __name__ == "__main__":
    main()
