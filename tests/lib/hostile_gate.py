#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A gate that its guest took over: stands in for kenaz-gate.

It greets core and gets its session ready as a gate does, then does what the
file KENAZ_GATE_PLAN beside it says: one JSON list of steps.
"""

import array
import hashlib
import json
import os
import socket
import struct
import sys

HELLO, GATE_START, ANNOUNCED, HELLO_BEGIN, READY = 1, 80, 81, 82, 83
ASK, GRANT, TOOL, END, CANCEL = 87, 88, 90, 92, 94

core = socket.socket(fileno=3)


def lp(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<I", len(data)) + data


def send(kind, payload, fds=()):
    head = struct.pack("<IHBB", len(payload), kind, len(fds), 0)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    core.sendmsg([head + payload], rights if fds else [])


def receive():
    data, rights, _, _ = core.recvmsg(65536, socket.CMSG_SPACE(16 * 4))
    if not data:
        sys.exit(0)
    kinds = []
    while data:
        size, kind = struct.unpack("<IH", data[:6])
        kinds.append((kind, data[8:8 + size]))
        data = data[8 + size:]
    return kinds


def wait_for(kind):
    while True:
        for got, payload in receive():
            if got == kind:
                return payload


def ask(request, body=b"", stated=None, fd=None, results=b"", query="",
        attempt=1, prepared=0):
    payload = struct.pack("<QHH", request, 1, 1) + lp("scripted") + b"\0"
    payload += lp(query) + lp(b"") + lp(b"") + lp(b"") + lp(results) + lp("x")
    payload += struct.pack("<Q", len(body) if stated is None else stated)
    payload += hashlib.sha256(body).digest() + lp(b"" if fd is not None else body)
    payload += struct.pack("<HB", attempt, prepared) + lp(b"") + struct.pack("<IB", 0, 0)
    send(ASK, payload, () if fd is None else (fd,))


def tool(request, index):
    arguments = b"{}"
    send(TOOL, struct.pack("<QI", request, index) + lp("call") + lp("bash") + b"\1" +
         struct.pack("<Q", len(arguments)) + hashlib.sha256(arguments).digest() +
         lp(arguments) + lp(b"") + lp(b""))


def memfd(size, sealed):
    fd = os.memfd_create("body", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        import fcntl
        fcntl.fcntl(fd, 1033, 0xf)  # F_ADD_SEALS: all of them
    return fd


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "plan")) as f:
        plan = json.load(f)
    send(HELLO, struct.pack("<III", 1, 6, os.getpid()))
    wait_for(GATE_START)
    send(ANNOUNCED, lp("hostile") + lp("none") + struct.pack("<Q", 1))
    wait_for(HELLO_BEGIN)
    for _ in range(plan.get("announce", 0)):
        send(ANNOUNCED, lp("hostile") + lp("none") + struct.pack("<Q", 1))
    send(READY, struct.pack("<i", 0) + lp("") + bytes(32) + lp("hostile") + lp("none"))
    while not os.path.exists(plan["go"]):
        os.sched_yield()
    what = plan["what"]
    if what == "no body":
        ask(1, b"", stated=100000)
    elif what == "two bodies":
        ask(1, b"{}", fd=memfd(2, True), stated=2)
    elif what == "an attempt nobody asked for":
        ask(1, b"{}", attempt=2)
    elif what == "unsealed body":
        ask(1, bytes(20000), fd=memfd(20000, False))
    elif what == "tools of no request":
        for i in range(5000):
            tool(77, i)
    elif what == "results":
        item = b"\1" + lp("c") + lp("ok")
        for i in range(40):
            ask(i, b"{}", results=item * 600)
    elif what == "payloads":
        for i in range(40):
            ask(i, bytes(200000), fd=memfd(200000, True))
    elif what == "again while it runs":
        ask(1, b"{}")
        wait_for(GRANT)
        # Refused for its size; what runs must not be forgotten with it.
        ask(1, bytes(2 << 20), fd=memfd(2 << 20, True))
    while True:
        receive()


main()
