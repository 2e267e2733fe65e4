#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A gate that its guest took over costs its own session and nothing else."""

import json
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import kenaz  # noqa: E402
from kenaz import Engine, check, main, wait_for  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
GATE = os.path.join(HERE, "..", "lib", "hostile_gate.py")

# Programs of the build, but for the gate.
programs = tempfile.mkdtemp(prefix="kz-bin-")
for name in os.listdir(kenaz.BIN):
    target = os.path.join(programs, name)
    if name == "kenazd":
        shutil.copy(os.path.join(kenaz.BIN, name), target)
    elif name != "kenaz-gate":
        os.symlink(os.path.join(kenaz.BIN, name), target)
shutil.copy(GATE, os.path.join(programs, "kenaz-gate"))
kenaz.BIN = programs
engine = Engine(mock=True, config="[limits]\npayload_bytes = 1048576\n").start()
go = os.path.join(programs, "go")


def begin(what, **more):
    with open(os.path.join(programs, "plan"), "w") as f:
        json.dump(dict({"what": what, "go": go}, **more), f)
    if os.path.exists(go):
        os.unlink(go)
    session, owner, _ = engine.session()
    with open(go, "w"):
        pass
    return session, owner


def permanent():
    return {n: engine.pids(n) for n in ("kenaz-audit", "kenaz-broker")}


def state(session):
    return engine.call("session.show", session=session)["state"]


def is_refused(what):
    before = permanent()
    session, owner = begin(what)
    wait_for("the end of the session", lambda: state(session) == "failed" or
             permanent() != before, 20)
    owner.close()
    check(permanent() == before, "%s: %r became %r" % (what, before, permanent()))
    check(not engine.events(session=session, kind="prompt.sent"), "it was sent")


def a_body_that_did_not_come_ends_its_session():
    is_refused("no body")


def a_body_that_came_twice_ends_its_session():
    is_refused("two bodies")


def an_attempt_that_core_did_not_ask_for_ends_its_session():
    is_refused("an attempt nobody asked for")


def a_body_that_can_still_change_ends_its_session():
    is_refused("unsealed body")


def tool_calls_of_no_request_write_nothing():
    session, owner = begin("tools of no request")
    engine.call("engine.info")
    owner.close()
    wait_for("the end", lambda: state(session) in ("ended", "failed"), 20)
    kinds = {e["kind"] for e in engine.events(session=session)}
    check(not kinds & {"tool.invoked", "policy.deny"}, "%r" % kinds)


def tool_results_count_as_events():
    session, owner = begin("results")
    engine.wait_event("tool.completed", session=session)
    engine.call("engine.info")
    owner.close()
    engine.wait_event("session.end", session=session)
    found = engine.events(session=session, kind="tool.completed")
    # 40 requests of 600; the limit is 1000 a second, the last may go over it.
    check(len(found) <= 6000, "%d events" % len(found))


def payloads_in_the_log_are_limited():
    session, owner = begin("payloads")
    engine.wait_event("prompt.sent", session=session)
    engine.call("engine.info")
    owner.close()
    engine.wait_event("session.end", session=session)
    found = engine.events(session=session, kind="prompt.sent")
    check(5 <= len(found) <= 7, "%d requests of 200,000 bytes" % len(found))


def a_request_that_runs_cannot_be_made_forgotten():
    session, owner = begin("again while it runs")
    wait_for("the end of the session", lambda: state(session) == "failed", 20)
    owner.close()
    # It was sent, so its outcome is there.
    check(len(engine.events(session=session, kind="prompt.sent")) == 1, "not sent")
    engine.wait_event("response.received", session=session)


def a_guest_announces_itself_once():
    session, owner = begin("nothing", announce=4)
    check(state(session) == "ready", state(session))
    owner.close()


def it_ends():
    engine.stop()
    check("ERROR: AddressSanitizer" not in engine.log(), engine.log()[-6000:])
    engine.clean()
    shutil.rmtree(programs)


main(a_body_that_did_not_come_ends_its_session,
     a_body_that_came_twice_ends_its_session,
     an_attempt_that_core_did_not_ask_for_ends_its_session,
     a_body_that_can_still_change_ends_its_session,
     tool_calls_of_no_request_write_nothing, tool_results_count_as_events,
     payloads_in_the_log_are_limited,
     a_request_that_runs_cannot_be_made_forgotten, a_guest_announces_itself_once, it_ends)
