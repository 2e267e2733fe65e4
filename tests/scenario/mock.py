#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The development loop: guestd on the host, and every surface says so."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Engine, check, cli, main  # noqa: E402

engine = Engine(mock=True).start()
session, owner, started = engine.session()


def it_says_no_isolation_everywhere():
    check(started["no_isolation"], "%r" % started)
    check(engine.call("engine.info")["no_isolation"], "engine.info")
    check(engine.call("session.show", session=session)["no_isolation"], "session.show")
    event = engine.events(session=session, kind="session.start")[0]["attrs"]
    check(event["kenaz.isolation"] is False and "no isolation" in event["kenaz.warning"],
          "%r" % event)
    check("NO ISOLATION" in engine.log(), "kenazd is silent about it")
    code, out, err = engine.run(session, ["sh", "-c", "echo $KENAZ_NO_ISOLATION"])
    check(out.strip() == b"1", "%r %r" % (out, err))
    code, out, err = cli("session", "list", env={"KENAZ_SOCKET": engine.path})
    check("no isolation" in (out + err).lower(), "%r %r" % (out, err))


def no_file_can_switch_it_on():
    other = Engine(config="dev_mock_vm = true\n")
    other.start(wait=False)
    check(other.process.wait(20) == 1 and "dev_mock_vm" in other.log(), other.log())
    other.process = None
    other.clean()


def the_workbench_runs_over_the_same_channels():
    code, out, err = engine.run(session, [
        os.path.join(os.environ.get("KENAZ_BIN", os.path.join(
            os.path.dirname(__file__), "..", "..", "build", "bin")), "kenaz-workbench"),
        "-p", "scenario: chat"])
    check(code == 0 and b"no model is called" in out.lower() + err.lower(),
          "%d %r %r" % (code, out, err))
    kinds = [e["kind"] for e in engine.events(session=session)]
    check("prompt.sent" in kinds and "response.received" in kinds, "%r" % kinds)
    sent = engine.events(session=session, kind="prompt.sent")[0]["attrs"]
    check("anthropic-version: 2023-06-01" in sent["kenaz.request.headers"]
          and len(sent["kenaz.request.header_sha256"]) == 64, "%r" % sent)


def it_ends():
    owner.close()
    engine.wait_event("session.end", session=session)
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(it_says_no_isolation_everywhere, no_file_can_switch_it_on,
     the_workbench_runs_over_the_same_channels, it_ends)
