#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/dev/kvm is no proof: a probe decides, once, and its verdict is kept."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import Engine, check, have_image, main  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)


def the_verdict_is_found_said_and_kept():
    engine = Engine().start()
    session, owner, first = engine.session()
    info = engine.call("engine.info")["accelerator"]
    check(info["name"] in ("kvm", "tcg") and info["reason"], "%r" % info)
    check(first["accelerator"] == info["name"], "%r" % first)
    if not os.path.exists("/dev/kvm"):
        check("no /dev/kvm" in info["reason"], "%r" % info)
    event = engine.events(session=session, kind="vm.start")[0]["attrs"]
    check(event["kenaz.vm.accelerator"] == info["name"], "%r" % event)
    owner.close()
    engine.stop()
    engine.start()
    again = engine.call("engine.info").get("accelerator")
    if os.path.exists("/dev/kvm") and os.access("/dev/kvm", os.R_OK | os.W_OK):
        check(again and again["name"] == info["name"],
              "the verdict was not kept: %r" % again)
        session, owner, second = engine.session()
        check(engine.log().count("accelerator %s" % info["name"]) == 1,
              "it probed again:\n" + engine.log())
        owner.close()
        engine.wait_event("session.end", session=session)
    engine.stop()
    engine.clean()


main(the_verdict_is_found_said_and_kept)
