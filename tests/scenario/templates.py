#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sessions out of templates: equal machines with nothing in common."""

import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import kenaz  # noqa: E402
from kenaz import (BOOT_S, Engine, alive, check, have_image, main,  # noqa: E402
                   wait_for)

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

AUTO = """
[limits]
memory_mib = 128

[pool]
"""


def wait_template(engine, count=1):
    wait_for("%d templates" % count,
             lambda: len(engine.events(kind="template.made")) >= count, BOOT_S)
    return engine.events(kind="template.made")


def run(engine):
    """A whole session: (how it started, its id)."""
    session, owner, started = engine.session()
    owner.close()
    engine.wait_event("session.end", session=session)
    return started["start"], session


def ten_clones_share_nothing():
    engine = Engine(config=AUTO).start()
    try:
        check(run(engine)[0] == "cold", "the first start was not cold")
        [made] = wait_template(engine)
        maker = [e for e in engine.events(kind="vm.start")
                 if e["attrs"]["kenaz.vm.purpose"] == "template"]
        check(len(maker) == 1 and not maker[0].get("session") and
              maker[0]["attrs"]["kenaz.vm.id"] == made["attrs"]["kenaz.vm.id"],
              "its machine: %r" % maker)
        check(made["attrs"]["kenaz.vm.id"] not in
              [e["attrs"]["kenaz.vm.id"] for e in
               engine.events(kind="session.start")], "a session had it")
        check(made["attrs"]["kenaz.template.mib"] < 128, "%r" % made)
        seen, owners = [], []
        for _ in range(10):
            session, owner, started = engine.session()
            check(started["start"] == "template", "start: %r" % started)
            owners.append(owner)
            code, out, err = engine.run(session, ["sh", "-c", (
                "head -c 32 /dev/urandom | sha256sum; cat /etc/machine-id;"
                "hostname; date +%s")])
            check(code == 0, "%r %r" % (code, err))
            words = out.decode().split()
            check(words[-2] == "kenaz-" + session, "host name: %r" % words)
            check(abs(int(words[-1]) - time.time()) < 60,
                  "the guest's clock is wrong: %r" % words)
            seen.append(words)
        for i, what in ((0, "getrandom()"), (2, "machine-id"), (3, "host name")):
            check(len({w[i] for w in seen}) == 10, "equal %s: %r" % (what, seen))
        starts = [e for e in engine.events(kind="vm.start")
                  if e["attrs"]["kenaz.vm.start"] == "template"]
        check(len(starts) == 10 and {e["attrs"]["kenaz.vm.template"]
                                     for e in starts} ==
              {made["attrs"]["kenaz.template.digest"]}, "%r" % starts[0])
        begins = engine.events(kind="session.start")
        check(len({e["attrs"]["kenaz.session.nonce"] for e in begins}) == 11,
              "equal nonces")
        shown = engine.call("session.show", session=begins[-1]["session"])
        check(shown["start"] == "template" and shown["booted_before_ms"] > 0,
              "%r" % shown)
        [held] = engine.doctor("template")
        check("restored 10 times" in held["text"], "%r" % held)
        [way] = engine.doctor("start")
        check("a template's restore" in way["text"], "%r" % way)
        for owner in owners:
            owner.close()
    finally:
        engine.stop()
    check(engine.verify().returncode == 0, engine.verify().stderr)
    engine.clean()


def a_template_is_replaced_when_it_was_used_often_or_its_image_changed():
    images = tempfile.mkdtemp(prefix="kz-images-")
    shutil.copytree(os.path.join(kenaz.IMAGES, "mini"),
                    os.path.join(images, "mini"))
    engine = Engine(config=AUTO + "template_restores_max = 1\n",
                    options=["--image-dir", images]).start()
    try:
        check(run(engine)[0] == "cold", "the first start was not cold")
        wait_template(engine)
        check(run(engine)[0] == "template", "not restored")
        wait_template(engine, 2)
        [gone] = engine.events(kind="template.dropped")
        check(gone["attrs"]["kenaz.template.restores"] == 1 and
              "replacement" in gone["attrs"]["kenaz.reason"], "%r" % gone)
        path = os.path.join(images, "mini", "manifest.json")
        shutil.copy(path, path + ".new")
        os.rename(path + ".new", path)
        check(run(engine)[0] == "cold", "the old template was used")
        engine.wait_event("template.dropped", lambda e: "changed on disk" in
                          e["attrs"]["kenaz.reason"])
    finally:
        engine.stop()
        engine.clean()
        shutil.rmtree(images)


def an_old_template_that_nobody_used_goes():
    engine = Engine(config=AUTO + "template_max_age_s = 1\n").start()
    try:
        run(engine)
        wait_template(engine)
        engine.wait_event("template.dropped")
        check(not engine.doctor("template"), "it is still held")
    finally:
        engine.stop()
        engine.clean()


def the_pool_is_refilled_by_restores():
    engine = Engine(config=AUTO + "size = 2\n").start()
    try:
        wait_template(engine)
        wait_for("two machines", lambda: [
            c for c in engine.doctor("pool") if "2 of 2 wait" in c["text"]],
            BOOT_S)
        sessions = [engine.session() for _ in range(2)]
        check([s[2]["start"] for s in sessions] == ["pool", "pool"],
              "%r" % [s[2] for s in sessions])
        randoms = {engine.run(s[0], ["sh", "-c", "cat /etc/machine-id;"
                                     "head -c 32 /dev/urandom | sha256sum"])[1]
                   for s in sessions}
        check(len(randoms) == 2, "equal machines: %r" % randoms)
        for _, owner, _ in sessions:
            owner.close()
    finally:
        engine.stop()
    check(engine.verify().returncode == 0, engine.verify().stderr)
    engine.clean()


def a_core_killed_while_it_makes_one_leaves_nothing():
    engine = Engine(config=AUTO).start()
    run(engine)
    wait_for("the machine of a template", lambda: [
        e for e in engine.events(kind="vm.start")
        if e["attrs"]["kenaz.vm.purpose"] == "template"])
    tree = engine.crash()
    wait_for("every process to end", lambda: not [p for p in tree if alive(p)],
             30)
    engine.clean()


main(ten_clones_share_nothing,
     a_template_is_replaced_when_it_was_used_often_or_its_image_changed,
     the_pool_is_refilled_by_restores,
     depth=(an_old_template_that_nobody_used_goes,
            a_core_killed_while_it_makes_one_leaves_nothing))
