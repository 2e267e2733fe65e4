#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real guest: start, programs, terminals, two sessions side by side."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import (DATA, EXIT, RESIZE, SIGNAL, Connection, Engine, Refused,  # noqa: E402
                   Terminal, check, have_image, main, wait_for)

import struct  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

engine = Engine().start()


def programs_run_as_agent_with_the_environment_of_the_design():
    session, owner, started = engine.session()
    check(started["accelerator"] in ("kvm", "tcg"), "no accelerator: %r" % started)
    check(not started["no_isolation"], "a real VM says no isolation")
    code, out, err = engine.run(session, ["sh", "-c", "id -u; env; ls /sys/class/net; ls /sys/block"])
    check(code == 0, "code %d: %r %r" % (code, out, err))
    text = out.decode()
    check(text.startswith("1000\n"), "not uid 1000: %r" % text[:40])
    for line in ("ANTHROPIC_BASE_URL=http://127.0.0.1:4141",
                 "OPENAI_BASE_URL=http://127.0.0.1:4141/v1",
                 "http_proxy=http://127.0.0.1:4142", "HTTPS_PROXY=http://127.0.0.1:4142",
                 "NO_PROXY=127.0.0.1,localhost", "IS_SANDBOX=1"):
        check(line in text, "no %s in the guest's environment" % line)
    tail = text.rsplit("\n", 3)
    check("eth" not in text and "\nlo\n" in text, "interfaces: %r" % tail)
    check("vda" not in text and "sda" not in text, "a disk: %r" % tail)
    owner.close()
    engine.wait_event("session.end", session=session)


def exit_codes_signals_and_streams_come_back():
    session, owner, _ = engine.session()
    check(engine.run(session, ["sh", "-c", "exit 7"])[0] == 7, "exit 7")
    check(engine.run(session, ["sh", "-c", "kill -9 $$"])[0] == 137, "signal 9")
    check(engine.run(session, ["no-such-program"])[0] == 127, "missing program")
    code, out, err = engine.run(session, ["sh", "-c", "cat; echo bad >&2"],
                                stdin=b"x" * 100000)
    check((code, len(out), err) == (0, 100000, b"bad\n"), "streams: %r" % (
        (code, len(out), err),))
    owner.close()


def a_terminal_has_its_size_and_gets_signals():
    session, owner, _ = engine.session()
    t = engine.terminal(session, ["sh", "-c", "stty size; read x; stty size; sleep 100"],
                        tty=True, rows=33, cols=111)
    t.read_until(b"33 111")
    t.send(RESIZE, 0, struct.pack("<HH", 44, 99))
    t.send(DATA, 0, b"\n")
    t.read_until(b"44 99")
    t.send(DATA, 0, b"\x03")
    frame = t.frame()
    while frame and frame[0] != EXIT:
        frame = t.frame()
    check(frame and struct.unpack("<iB", frame[2])[0] == 2 or
          struct.unpack("<iB", frame[2])[0] == 130, "ctrl-C: %r" % (frame,))
    owner.close()


def a_kept_program_survives_its_client():
    c = Connection(engine.path)
    session = c.call("session.start", detach=True, tty=True,
                     argv=["sh", "-c", "echo first; read x; echo got $x; sleep 1000"])["session"]
    c.close()
    check(engine.call("session.show", session=session)["main"]["running"],
          "session.start answered before the kept program ran")
    for word in (b"first", b"first"):
        a = Connection(engine.path)
        a.call("session.attach", session=session)
        t = Terminal(a)
        t.read_until(word)
        t.sock.close()
    a = Connection(engine.path)
    a.call("session.attach", session=session)
    t = Terminal(a)
    t.send(DATA, 0, b"hello\n")
    t.read_until(b"got hello")
    t.sock.close()
    check(engine.call("session.show", session=session)["state"] == "ready", "not ready")
    check(engine.call("session.stop", session=session)["state"] == "ended", "not ended")


def two_sessions_share_nothing():
    a, owner_a, _ = engine.session()
    b, owner_b, _ = engine.session()
    engine.run(a, ["sh", "-c", "echo secret-of-a > /tmp/mine; echo secret-of-a > ~/mine"])
    code, out, _ = engine.run(b, ["sh", "-c", "cat /tmp/mine ~/mine; hostname"])
    check(b"secret-of-a" not in out, "B reads A's file: %r" % out)
    check(b.encode() in out, "B's hostname: %r" % out)
    code, out, err = engine.run(a, ["kenaz-workbench", "-p", "scenario: chat"])
    check(code == 0, "workbench: %d %r %r" % (code, out, err))
    engine.wait_event("response.received", session=a)
    for session, other in ((a, b), (b, a)):
        for e in engine.events(session=session):
            check(e["session"] == session, "an event of another session")
            check(other not in str(e["attrs"]), "%s names %s: %r" % (session, other, e))
    kinds = {e["kind"] for e in engine.events(session=b)}
    check("prompt.sent" not in kinds and "response.received" not in kinds,
          "A's requests appear under B")
    owner_a.close()
    owner_b.close()
    for s in (a, b):
        engine.wait_event("session.end", session=s)


def the_life_of_a_session_is_in_the_log_in_order():
    session, owner, _ = engine.session()
    owner.close()
    engine.wait_event("session.end", session=session)
    kinds = [e["kind"] for e in engine.events(session=session)]
    check(kinds[:3] == ["vm.start", "session.start", "session.ready"] and
          kinds[-1] == "session.end", "order: %r" % kinds)
    start = engine.events(session=session, kind="vm.start")[0]["attrs"]
    for key in ("kenaz.vm.fingerprint", "kenaz.image.kernel", "kenaz.image.initrd",
                "kenaz.qemu.digest", "kenaz.vm.accelerator"):
        check(start.get(key), "vm.start lacks " + key)


def a_session_that_is_not_there_is_refused():
    for method in ("session.show", "session.stop", "session.exec", "session.attach"):
        try:
            engine.call(method, session="nosuchname")
        except Refused as e:
            check(e.exit == 5, "%s: exit %r" % (method, e.exit))
        else:
            check(False, method + " accepted a session that is not there")


def it_all_ends_and_the_log_verifies():
    check(engine.stop() == 0, "exit code")
    r = engine.verify()
    check(r.returncode == 0, "verify: " + r.stdout + r.stderr)
    engine.clean()


main(programs_run_as_agent_with_the_environment_of_the_design,
     exit_codes_signals_and_streams_come_back,
     a_terminal_has_its_size_and_gets_signals,
     a_kept_program_survives_its_client,
     two_sessions_share_nothing,
     the_life_of_a_session_is_in_the_log_in_order,
     a_session_that_is_not_there_is_refused,
     it_all_ends_and_the_log_verifies)
