#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each process killed in mid-stream: a clear error, an event, no orphan."""

import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, alive, check, have_image, main, wait_for  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

POLICY = """
[[rule]]
id = "test.local"
effect = "allow"
target = "egress"
host = "127.0.0.1"
allow_private = true
"""

engine = Engine(policy=POLICY).start()


def begin():
    """A session with a reply of two seconds under way: (id, owner, terminal)."""
    session, owner, _ = engine.session()
    t = engine.terminal(session, ["kenaz-workbench", "-p", "scenario: slow"])
    t.read_until(b"slow piece")
    return session, owner, t


def end_of(t):
    """What the client sees until its terminal is over: (code or None, text)."""
    out = b""
    while True:
        try:
            frame = t.frame()
        except OSError as e:
            return None, out + str(e).encode()
        if frame is None:
            return None, out
        kind, _, data = frame
        if kind == 1:
            out += data
        elif kind == 5:
            return int.from_bytes(data[:4], "little", signed=True), out
        elif kind == 6:
            return None, out + data


def kill(name):
    pid = engine.pids(name)[-1]
    os.kill(pid, signal.SIGKILL)
    wait_for(name + " to be gone", lambda: not alive(pid))


def leaves_nothing(session):
    wait_for("the session's end", lambda: engine.call(
        "session.show", session=session)["state"] in ("ended", "failed"))
    wait_for("its processes to end", lambda: not (
        engine.pids("kenaz-launch") + engine.pids("kenaz-gate") +
        engine.pids("kenaz-egress") + engine.pids("qemu-system-x86_64")), 20)


def a_killed_broker_fails_the_request_only():
    session, owner, t = begin()
    kill("kenaz-broker")
    code, out = end_of(t)
    check(code == 1, "the client ended with %r: %r" % (code, out))
    check(b"broker" in out or b"error" in out.lower(), "no clear error: %r" % out)
    event = engine.wait_event("response.received", session=session)
    check("broker lost" in event["attrs"].get("kenaz.error", ""), "%r" % event)
    wait_for("a new broker", lambda: engine.pids("kenaz-broker"))
    code, out, err = wait_for("a request to pass again", lambda: (
        lambda r: r if r[0] == 0 else None)(
            engine.run(session, ["kenaz-workbench", "-p", "scenario: chat"])), 30)
    owner.close()
    leaves_nothing(session)


def a_killed_gate_ends_its_session():
    session, owner, t = begin()
    kill("kenaz-gate")
    code, out = end_of(t)
    check(code is None, "code %r" % code)
    leaves_nothing(session)
    event = engine.wait_event("session.end", session=session)
    check("gate" in event["attrs"]["kenaz.reason"], "%r" % event)
    owner.close()


def a_killed_launch_ends_its_session():
    session, owner, t = begin()
    kill("kenaz-launch")
    end_of(t)
    leaves_nothing(session)
    event = engine.wait_event("session.end", session=session)
    check("launch" in event["attrs"]["kenaz.reason"], "%r" % event)
    owner.close()


def a_killed_qemu_ends_its_session():
    session, owner, t = begin()
    kill("qemu-system-x86_64")
    end_of(t)
    leaves_nothing(session)
    event = engine.wait_event("session.end", session=session)
    check(event["attrs"]["error.type"] != "OK", "%r" % event)
    owner.close()


def a_killed_egress_closes_its_tunnels():
    session, owner, _ = engine.session()
    engine.run(session, ["sh", "-c", "wget -q -O- http://127.0.0.1:9/; true"])
    t = engine.terminal(session, ["kenaz-workbench", "-p", "scenario: slow"])
    t.read_until(b"slow piece")
    kill("kenaz-egress")
    code, out = end_of(t)
    check(code == 0, "inference suffered: %r %r" % (code, out))
    code, out, err = engine.run(session, ["sh", "-c",
                                          "wget -q -O- http://127.0.0.1:9/; true"])
    check(code == 0, "%r" % err)
    check(engine.pids("kenaz-egress"), "egress was not started anew")
    owner.close()
    leaves_nothing(session)


def a_killed_audit_denies_recovers_and_says_so():
    session, owner, t = begin()
    kill("kenaz-audit")
    code, out = end_of(t)
    check(code == 1, "the client ended with %r: %r" % (code, out))
    check(b"log" in out or b"audit" in out, "no clear error: %r" % out)
    wait_for("a new audit", lambda: engine.pids("kenaz-audit"))
    event = engine.wait_event("log.recovered")
    check("outcome unknown" in str(event["attrs"]), "%r" % event)
    wait_for("a request to pass again", lambda: engine.run(
        session, ["kenaz-workbench", "-p", "scenario: chat"])[0] == 0, 30)
    owner.close()
    leaves_nothing(session)


def a_killed_scripted_provider_is_started_anew():
    session, owner, t = begin()
    kill("kenaz-scripted")
    code, out = end_of(t)
    check(code == 1, "the client ended with %r: %r" % (code, out))
    wait_for("a request to pass again", lambda: engine.run(
        session, ["kenaz-workbench", "-p", "scenario: chat"])[0] == 0, 30)
    owner.close()
    leaves_nothing(session)


def the_log_verifies_after_all_that():
    check(engine.stop() == 0, "exit code:\n" + engine.log()[-2000:])
    r = engine.verify()
    check(r.returncode == 0, r.stdout + r.stderr)
    engine.clean()


main(a_killed_broker_fails_the_request_only,
     a_killed_gate_ends_its_session,
     a_killed_launch_ends_its_session,
     a_killed_qemu_ends_its_session,
     a_killed_egress_closes_its_tunnels,
     a_killed_audit_denies_recovers_and_says_so,
     a_killed_scripted_provider_is_started_anew,
     the_log_verifies_after_all_that)
