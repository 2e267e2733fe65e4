#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill.py [--sessions N] [--parallel P] [--seed S] - death at any moment

Starts N sessions, P at a time. Each loses one process at a random moment, by
SIGKILL: its QEMU, launcher, gate, egress or client, or one that all share, core
included. Afterwards: no process is left, the log verifies, what a client was
told is in the log, and no file, mount or cgroup remains.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import leaks  # noqa: E402
from kenaz import (BIN, Connection, Engine, Failure, Refused, Terminal,  # noqa: E402
                   check, have_image, wait_for)

MEMORY_MIB = 128
MOMENT_BOOTS = 3.0      # kills fall into so many times a boot's duration
SHARED_KILLS_MAX = 2    # of one kind in SHARED_WINDOW_S: the engine gives up
SHARED_WINDOW_S = 70    # after the fourth (RESTARTS_MAX of engine/core)
LIFE_MAX_S = 240
GONE_S = 60
EXECS_MAX = 8
KEYS_MAX = 6             # epochs' and the log's own
OWN = ("qemu-system-x86_64", "bwrap", "kenaz-launch", "kenaz-gate", "kenaz-egress")
SHARED = ("kenaz-audit", "kenaz-broker", "kenaz-scripted")

options = argparse.ArgumentParser()
options.add_argument("--sessions", type=int, default=200)
options.add_argument("--parallel", type=int, default=3)
options.add_argument("--seed", type=int, default=None)
options = options.parse_args()
seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)


class Soak:
    def __init__(self):
        self.lock = threading.Lock()
        self.engine = Engine()
        self.herd = leaks.Herd()
        self.mounts = leaks.count_mounts()
        self.cgroups = leaks.cgroups()
        self.paths = None
        self.told = []      # (kind, session, how many at least)
        self.checked = 0
        self.problems = []
        self.killed = {}
        self.shared = {}    # name: when it was killed
        self.moment = 0.0
        self.started = self.refused = self.finished = 0
        self.stopping = threading.Event()

    # --- what a client is told ---------------------------------------------

    def acknowledge(self, kind, session, count=1):
        with self.lock:
            self.told.append((kind, session, count))

    def check_told(self):
        """Each event that a client was told of, or relied on, is there."""
        have = {}
        for e in self.engine.events():
            key = (e["kind"], e.get("session"))
            have[key] = have.get(key, 0) + 1
        with self.lock:
            told, self.told = self.told, []
        for kind, session, count in told:
            check(have.get((kind, session), 0) >= count,
                  "session %s was told of %s, which is not in the log" % (session, kind))
        self.checked += len(told)

    # --- one session ---------------------------------------------------------

    def talk(self, rng):
        """A client in this thread; says what it was told."""
        c = Connection(self.engine.path)
        c.sock.settimeout(LIFE_MAX_S)
        try:
            r = c.call("session.start", detach=False, memory_mib=MEMORY_MIB)
            session = r["session"]
            for kind in ("vm.start", "session.start", "session.ready"):
                self.acknowledge(kind, session)
            for n in range(1, EXECS_MAX + 1):
                what = rng.choice(("chat", "slow", "fetch"))
                argv = (["wget", "-q", "-O-", "http://127.0.0.1:9/"]
                        if what == "fetch" else
                        ["kenaz-workbench", "-p", "scenario: " + what])
                e = Connection(self.engine.path)
                e.sock.settimeout(LIFE_MAX_S)
                try:
                    e.call("session.exec", session=session, argv=argv, tty=False)
                    self.acknowledge("terminal.attached", session, n)
                    code, _, err = Terminal(e).finish(b"")
                finally:
                    e.close()
                if code == 0 and what != "fetch":
                    self.acknowledge("prompt.sent", session)
                    self.acknowledge("response.received", session)
                elif b" 403 " in err:
                    self.acknowledge("policy.deny", session)
            if rng.random() < 0.3:
                c.call("session.stop", session=session)
        finally:
            c.close()

    def client(self, rng, begun):
        """A session, by one kind of client or the other."""
        if rng.random() < 0.3:
            p = subprocess.Popen(
                [os.path.join(BIN, "kenaz"), "run", "--memory", str(MEMORY_MIB), "--",
                 "kenaz-workbench", "-p", "scenario: slow"],
                env=dict(os.environ, KENAZ_SOCKET=self.engine.path),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            begun.append(p)
            try:
                p.wait(LIFE_MAX_S)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise TimeoutError("a client did not end")
        else:
            self.talk(rng)

    def kill_one(self, rng, begun):
        tree = self.herd.look(self.engine)
        if begun and rng.random() < 0.4:
            name, pids = "kenaz", [begun[0].pid]
        else:
            roll = rng.random()
            if roll < 0.04:
                name = "kenazd"
            elif roll < 0.25:
                name = rng.choice(SHARED)
            else:
                name = rng.choice(OWN)
            pids = [p for p, (n, _) in tree.items() if n == name]
            if name in SHARED and not self.may_kill(name):
                return
            if name == "kenazd":
                pids = [self.engine.process.pid]
        if not pids:
            return
        try:
            os.kill(rng.choice(sorted(pids)), 9)
        except (ProcessLookupError, AttributeError):
            return
        with self.lock:
            self.killed[name] = self.killed.get(name, 0) + 1

    def may_kill(self, name):
        now = time.monotonic()
        with self.lock:
            times = [t for t in self.shared.get(name, ()) if now - t < SHARED_WINDOW_S]
            if len(times) == SHARED_KILLS_MAX:
                return False
            self.shared[name] = times + [now]
        return True

    def life(self, number):
        rng = random.Random((seed << 16) + number)
        begun, moment = [], rng.random() * self.moment
        timer = threading.Timer(moment, self.kill_one, (rng, begun))
        timer.daemon = True
        timer.start()
        try:
            self.client(random.Random((seed << 16) + number + (1 << 48)), begun)
            with self.lock:
                self.finished += 1
        except (Refused, Failure, OSError, ValueError) as e:
            with self.lock:
                # An answer that never comes is no answer.
                if isinstance(e, TimeoutError):
                    self.problems.append("session %d: %s" % (number, e))
                self.refused += 1
        timer.join()

    # --- the engine ----------------------------------------------------------

    def watch(self):
        while not self.stopping.wait(0.2):
            self.herd.look(self.engine)

    def expect_none_left(self):
        wait_for("every process to end", lambda: not self.herd.left(), GONE_S)

    def verify(self, when):
        r = self.engine.verify()
        check(r.returncode == 0, "%s: verify: %s%s" % (when, r.stdout, r.stderr))

    def batch(self, first, count):
        """Sessions until they are done, or core was killed under them."""
        numbers = list(range(first, first + count))

        def work():
            while True:
                with self.lock:
                    if not numbers or self.engine.process.poll() is not None:
                        return
                    number = numbers.pop(0)
                    self.started += 1
                self.life(number)
        threads = [threading.Thread(target=work) for _ in range(options.parallel)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not self.problems, "; ".join(self.problems))
        return count - len(numbers)

    def run(self):
        self.engine.start()
        # What stays after any session, like the accelerator's verdict.
        begin = time.monotonic()
        _, owner, _ = self.engine.session(memory_mib=MEMORY_MIB)
        self.moment = MOMENT_BOOTS * (time.monotonic() - begin)
        owner.close()
        self.engine.wait_event("session.end")
        self.paths = self.files()
        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        done = 0
        while done < options.sessions:
            done += self.batch(done, options.sessions - done)
            if self.engine.process.poll() is None:
                continue
            # Core was killed: all of it goes, and the log stands by itself.
            self.engine.process.wait()
            self.expect_none_left()
            self.verify("after core was killed")
            self.engine.start()
            self.check_told()
        self.stopping.set()
        watcher.join()
        wait_for("the sessions' ends", lambda: not [
            s for s in self.engine.call("session.list")["sessions"]
            if s["state"] not in ("ended", "failed")], GONE_S)
        self.check_told()
        # It did not give up: a session starts as ever.
        _, owner, _ = self.engine.session(memory_mib=MEMORY_MIB)
        self.herd.look(self.engine)
        owner.close()
        sessions = {e["session"] for e in self.engine.events(kind="vm.start")}
        code = self.engine.stop()
        check(code == 0, "kenazd ended with %r" % code)
        self.expect_none_left()
        self.verify("at the end")
        self.expect_clean(sessions)

    def files(self):
        """Keys change their number with each start of audit."""
        return {re.sub(r"epoch-\d+", "epoch-N", p)
                for p in leaks.paths(self.engine.folder)}

    def expect_clean(self, sessions):
        now = self.files()
        keys = os.listdir(os.path.join(self.engine.state, "keys"))
        check(len(keys) <= KEYS_MAX, "keys remain: %r" % keys)
        named = [p for p in now if any(s in p for s in sessions if s)]
        check(not named, "files of sessions remain: %r" % named)
        more = {p for p in now - self.paths if not p.startswith(("s/log", "r/"))}
        check(not more, "files remain: %r" % more)
        left = [p for p in now if p.startswith("r/") and p != "r/kenazd.sock"
                and p not in self.paths]
        check(not left, "runtime files remain: %r" % left)
        check(leaks.count_mounts() == self.mounts, "mounts remain")
        more = leaks.cgroups() - self.cgroups
        check(not more, "cgroups remain: %r" % more)


def main():
    soak = Soak()
    begin = time.monotonic()
    print("kill: seed %d, %d sessions, %d at a time" % (
        seed, options.sessions, options.parallel), flush=True)
    try:
        soak.run()
    except Exception:
        print("kill: FAILED with --seed %d; the engine's folder is %s" % (
            seed, soak.engine.folder), flush=True)
        raise
    finally:
        soak.stopping.set()
    print("kill: %d sessions in %.0f s (%d ended by themselves, %d were cut off); killed %s; "
          "%d acknowledged events are in the log; %d processes, none left" % (
              soak.started, time.monotonic() - begin, soak.finished, soak.refused,
              ", ".join("%s %d" % k for k in sorted(soak.killed.items())),
              soak.checked, len(soak.herd.seen)))
    soak.engine.clean()


main()
