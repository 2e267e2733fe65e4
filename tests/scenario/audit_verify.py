#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kenaz-verify on a real engine's log: right, changed, cut, while it runs."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, Engine, alive, check, main, wait_for  # noqa: E402


def verify(*args, **kwargs):
    return subprocess.run([os.path.join(BIN, "kenaz-verify"), *args],
                          capture_output=True, text=True, **kwargs)


def made_log():
    engine = Engine(mock=True)
    engine.start()
    session, owner, _ = engine.session()
    code, out, _ = engine.run(session, ["sh", "-c", "echo hello"])
    check(code == 0 and out == b"hello\n", "the session does not work: %r" % out)
    owner.close()
    engine.wait_event("session.end", session=session)
    return engine


def sql(path, text):
    db = sqlite3.connect(os.path.join(path, "log.db"))
    db.executescript(text + "; PRAGMA journal_mode=DELETE;")
    db.commit()
    db.close()


def every_change_is_found():
    engine = made_log()
    log = os.path.join(engine.state, "log")
    running = verify("--log", log)
    check(running.returncode == 2 and "stop the engine" in running.stderr,
          "a running log: %d %r" % (running.returncode, running.stderr))
    engine.stop()
    good = engine.verify("-o", "json")
    report = json.loads(good.stdout)
    check(good.returncode == 0 and report["ok"] and report["events"] > 5
          and report["rollback_detectable"], "the log: %r" % good.stdout)
    text = verify("--log", log)
    check(text.returncode == 0 and "not detectable" in text.stdout,
          "no word about the missing anchor: %r" % text.stdout)
    last = report["events"] - 1
    for change, seq in (
            ("UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT), "
             "'session.start', 'session.ready') AS BLOB)", None),
            ("DELETE FROM events WHERE seq = 3", 3),
            ("UPDATE events SET seq = -1 WHERE seq = 2; UPDATE events SET seq = 2 "
             "WHERE seq = 3; UPDATE events SET seq = 3 WHERE seq = -1", 2),
            ("DELETE FROM events WHERE seq = %d; DELETE FROM checkpoints "
             "WHERE size > %d" % (last, last), last)):
        copy = os.path.join(engine.folder, "copy")
        shutil.copytree(log, copy)
        sql(copy, change)
        bad = verify("--log", copy, "-o", "json", "--anchor",
                     os.path.join(engine.state, "anchor", "anchor.note"))
        found = json.loads(bad.stdout)
        check(bad.returncode == 1 and not found["ok"],
              "not found: %s: %r" % (change, bad.stdout))
        check(seq is None or found["bad_seq"] == seq,
              "wrong event for %s: %r" % (change, found))
        shutil.rmtree(copy)
    engine.clean()


def a_killed_engines_log_is_verified():
    engine = made_log()
    tree = engine.crash()
    wait_for("what core left to end", lambda: not [p for p in tree if alive(p)], 20)
    r = engine.verify()
    check(r.returncode == 0, "after a crash: %r %r" % (r.stdout, r.stderr))
    engine.clean()


def wrong_arguments_get_one_sentence():
    for args, code, word in ((["--log", "/nonexistent"], 5, "/nonexistent"),
                             (["--log", "/tmp", "--anchor", "/none"], 5, "/none"),
                             (["--nonsense", "x"], 2, "--nonsense"),
                             (["--log"], 2, "--log"),
                             (["-o", "xml"], 2, "xml"),
                             (["--stream-fd", "x"], 2, "--stream-fd")):
        r = verify(*args, stdin=subprocess.DEVNULL)
        check(r.returncode == code and word in r.stderr,
              "%r: %d %r" % (args, r.returncode, r.stderr))
    r = verify(input="this is no dump, but long enough to be read as one")
    check(r.returncode == 1 and "no dump" in r.stderr, "%r" % r.stderr)


main(every_change_is_found, a_killed_engines_log_is_verified,
     wrong_arguments_get_one_sentence)
