#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sessions of a service engine outlive it: adopted, or ended with a reason."""

import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import (BIN, DATA, EXIT, ERROR, Engine, alive, check, cli,  # noqa: E402
                   have_image, main, wait_for)

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

KEPT = ("kenaz-launch", "kenaz-gate", "qemu-system-x86_64", "bwrap")


def service(adopt_s=120):
    return Engine(config="[engine]\nsurvive = true\nadopt_s = %d\n"
                  % adopt_s).start()


def kill_core(engine, spare=KEPT):
    """SIGKILL the engine and all it started but @spare; gives the spared."""
    tree = engine.tree()
    core = engine.process
    doomed = [p for p, (n, _) in tree.items() if n not in spare]
    for pid in [core.pid] + doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    core.wait()
    engine.process = None
    wait_for("the engine's processes to end",
             lambda: not [p for p in doomed if alive(p)], 20)
    spared = [p for p, (n, _) in tree.items() if n in spare]
    atexit.register(last_resort, [(p, tree[p][0]) for p in spared])
    return spared


def last_resort(spared):
    """A test that broke leaves nobody waiting for an engine."""
    for pid, name in spared:
        try:
            if os.path.basename(os.readlink("/proc/%d/exe" % pid)) == name:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def record_path(engine, session):
    return os.path.join(engine.state, "sessions", session + ".json")


def record(engine, session):
    with open(record_path(engine, session)) as f:
        return json.load(f)


def edit(engine, session, **changes):
    r = record(engine, session)
    r.update(changes)
    with open(record_path(engine, session), "w") as f:
        json.dump(r, f)


def detached(engine, argv=("sh", "-c", "while :; do sleep 1; done")):
    return engine.call("session.start", detach=True, argv=list(argv))["session"]


def state(engine, session):
    return engine.call("session.show", session=session)["state"]


def adopted(engine, session, times=1):
    wait_for("the adoption", lambda: state(engine, session) == "ready", 60)
    events = engine.events(kind="session.adopted", session=session)
    check(len(events) == times, "%d times adopted: %r" % (len(events), events))
    return events[-1]


def ended(engine, session):
    return engine.wait_event("session.end", session=session)


def nothing_is_left(engine, session, pids):
    wait_for("its processes to end", lambda: not [p for p in pids if alive(p)], 40)
    wait_for("its record to go",
             lambda: not os.path.exists(record_path(engine, session)))
    folder = os.path.join(engine.runtime, "sessions", session)
    wait_for("its sockets to go", lambda: not os.path.exists(folder))


def close(engine):
    check(engine.stop() == 0, "exit code:\n" + engine.log()[-3000:])
    r = engine.verify()
    check(r.returncode == 0, r.stdout + r.stderr)
    engine.clean()


def until(t, text):
    """What a shell's terminal says up to @text."""
    return t.read_until(text.encode()).decode(errors="replace")


def tell(t, line):
    t.send(DATA, 0, line.encode() + b"\n")


def code_of(t):
    while True:
        frame = t.frame()
        check(frame is not None, "the terminal closed without an exit")
        if frame[0] == EXIT:
            return struct.unpack("<iB", frame[2])[0]
        check(frame[0] != ERROR, "terminal error: %r" % (frame,))


def rest_of(t):
    out = b""
    while True:
        frame = t.frame()
        check(frame is not None, "the terminal closed without an exit: %r" % out)
        if frame[0] == EXIT:
            return struct.unpack("<iB", frame[2])[0], out.decode()
        check(frame[0] != ERROR, "terminal error: %r" % (frame,))
        if frame[0] == DATA:
            out += frame[2]


def sessions_go_on_under_a_new_core():
    engine = service()
    session = detached(engine)
    code, out, err = engine.run(session, ["kenaz-workbench", "-p", "scenario: chat"])
    check(code == 0, "%r %r" % (out, err))
    shell = engine.terminal(session, ["sh"])
    tell(shell, "echo shell $((1 + 1)) is up")
    until(shell, "shell 2 is up")
    slow = engine.terminal(session, ["kenaz-workbench", "-p", "scenario: slow"])
    slow.read_until(b"slow piece")
    before = engine.call("session.show", session=session)
    # What was spent is written down twice a second.
    wait_for("the record to catch up", lambda: record(
        engine, session)["usage_requests"] == before["usage"]["requests"])
    spared = kill_core(engine)
    check(len([p for p in spared if alive(p)]) == len(spared), "something ended")

    # A request in flight fails at once, with an error of its dialect.
    code, out = rest_of(slow)
    # Which end the gate saw first, that of core or of the broker, is open.
    check(code == 1 and ("restarted" in out or "broker was lost" in out),
          "in flight: %r %r" % (code, out))
    # The shell goes on; what it asks for is refused until there is a core.
    tell(shell, "kenaz-workbench -p 'scenario: chat'; echo code $((0 + $?))")
    out = until(shell, "code 1")
    check("restarted" in out, "in the gap: %r" % out)
    # A client of the control socket gets a clear answer.
    code, out, err = cli("--socket", engine.path, "session", "list")
    check(code == 3 and "engine" in err, "%r %r" % (code, err))
    # One that would start the user's own engine does not take its place.
    os.makedirs(os.path.join(engine.folder, "x"))
    os.symlink(engine.state, os.path.join(engine.folder, "x", "kenaz"))
    code, out, err = cli("session", "list", env={
        "XDG_STATE_HOME": os.path.join(engine.folder, "x"),
        "XDG_RUNTIME_DIR": os.path.join(engine.folder, "y"),
        "KENAZ_SOCKET": ""})
    check(code == 3 and "sessions wait for it" in err, "%r %r" % (code, err))

    engine.start()
    event = adopted(engine, session)
    a = event["attrs"]
    check(a["kenaz.gap.ms"] > 0 and a["kenaz.gap.last_seq"] < event["seq"], "%r" % a)
    check(a["kenaz.gap.last_time"] < event["time"], "%r" % a)
    check(a["kenaz.gate_reported.requests_failed"] == 1, "%r" % a)
    check(a["kenaz.gate_reported.requests_refused"] >= 1, "%r" % a)
    check(a["kenaz.gate_reported.terminals"] == 2, "%r" % a)
    recovered = engine.wait_event("log.recovered")
    check("prompt.sent %s: outcome unknown" % session in str(recovered["attrs"]),
          "%r" % recovered)
    # Nothing of the session was written between engine.start and that.
    start = engine.events(kind="engine.start")[-1]["seq"]
    between = [e["kind"] for e in engine.events(session=session)
               if start < e["seq"] < event["seq"]]
    check(not between, "before the adoption: %r" % between)

    tell(shell, "kenaz-workbench -p 'scenario: chat'; echo again $((0 + $?))")
    until(shell, "again 0")
    code, out, err = engine.run(session, ["sh", "-c", "echo hello; exit 4"])
    check(code == 4 and out == b"hello\n", "%r %r %r" % (code, out, err))
    after = engine.call("session.show", session=session)
    check(after["usage"]["requests"] > before["usage"]["requests"],
          "usage: %r then %r" % (before["usage"], after["usage"]))
    check(after["fingerprint"] == before["fingerprint"], "fingerprint")
    check(after["adoptions"] == 1 and after["created"] == before["created"], "%r" % after)

    # And once more, idle but for the shell.
    spared = kill_core(engine)
    engine.start()
    adopted(engine, session, 2)
    tell(shell, "exit 7")
    check(code_of(shell) == 7, "the shell's code")
    engine.wait_event("terminal.detached", lambda e: e["attrs"].get(
        "kenaz.guest_claimed.exit_code") == 7, session=session)
    result = engine.call("session.stop", session=session)
    check(result["state"] == "ended", "%r" % result)
    nothing_is_left(engine, session, spared)
    close(engine)


def a_core_that_comes_at_once_waits_for_the_old_log():
    """As a service manager does it: nothing is waited for in between."""
    engine = service()
    session = detached(engine)
    shell = engine.terminal(session, ["sh"])
    # Core answers before it passes the client's socket on: wait for the gate.
    tell(shell, "echo turn $((0 + 0))")
    until(shell, "turn 0")
    for turn in range(1, 6):
        tree = engine.crash()
        atexit.register(last_resort, [(p, n) for p, (n, _) in tree.items()
                                      if n in KEPT])
        engine.start()
        adopted(engine, session, turn)
        tell(shell, "echo turn $((%d + 0))" % turn)
        until(shell, "turn %d" % turn)
    engine.call("session.stop", session=session)
    nothing_is_left(engine, session, [])
    close(engine)


def a_core_killed_at_any_moment_loses_no_session():
    """Each core gets a little longer than the one before; most adopt nothing."""
    engine = service()
    sessions = [detached(engine), detached(engine)]
    kept = {p: n for p, (n, _) in engine.tree().items() if n in KEPT}
    atexit.register(last_resort, list(kept.items()))
    for turn in range(16):
        engine.crash()
        engine.start(wait=False)
        # No synchronisation: the moment of the next kill is what is varied.
        time.sleep(turn * 0.01)
    engine.crash()
    engine.start()
    for session in sessions:
        wait_for("the adoption", lambda: state(engine, session) == "ready", 90)
        code, out, err = engine.run(session, ["sh", "-c", "exit 6"])
        check(code == 6, "%r %r %r" % (code, out, err))
        engine.call("session.stop", session=session)
    for session in sessions:
        nothing_is_left(engine, session, list(kept))
    close(engine)


def a_client_sees_nothing_of_it_but_its_session_ends_with_it():
    engine = service()
    client = subprocess.Popen(
        [os.path.join(BIN, "kenaz"), "--socket", engine.path, "run", "--no-tty", "--",
         "sh", "-c", "echo up; read x; echo got $x; exit 5"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(client.stdout.readline() == b"up\n", "the program did not start")
    session = engine.call("session.list")["sessions"][0]["session"]
    spared = kill_core(engine)
    engine.start()
    adopted(engine, session)
    out, err = client.communicate(b"word\n", timeout=60)
    check(client.returncode == 5 and out == b"got word\n",
          "%r %r %r" % (client.returncode, out, err))
    event = ended(engine, session)
    check("client" in event["attrs"]["kenaz.reason"], "%r" % event)
    nothing_is_left(engine, session, spared)
    close(engine)


def stand_in(engine, session, version):
    """A process in the gate's place that greets with another version."""
    folder = os.path.join(engine.runtime, "sessions", session)
    ready, told = os.pipe()
    pid = os.fork()
    if pid:
        os.close(told)
        check(os.read(ready, 1) == b"x", "the stand-in did not start")
        os.close(ready)
        return pid
    try:
        path = os.path.join(folder, "gate.sock")
        os.unlink(path)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(path)
        s.listen(1)
        os.write(told, b"x")
        c, _ = s.accept()
        hello = struct.pack("<III", version, 6, os.getpid())
        c.sendall(struct.pack("<IHBB", len(hello), 1, 0, 0) + hello)
        while True:
            signal.pause()
    finally:
        os._exit(1)


def started(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[19])


def what_does_not_match_ends_the_session():
    """Four sessions; of each something else is not what it was."""
    engine = service()
    kept, sessions = {}, []
    for _ in range(4):
        sessions.append(detached(engine))
        kept[sessions[-1]] = [p for p, (n, _) in engine.tree().items()
                              if n in KEPT and
                              not any(p in of for of in kept.values())]
    names = {p: n for p, (n, _) in engine.tree().items()}
    record_version, process_version, other_process, no_qemu = sessions
    kill_core(engine)
    edit(engine, record_version, protocol=4711)
    pid = stand_in(engine, process_version, 99)
    edit(engine, process_version, gate_pid=pid, gate_started=started(pid))
    other = subprocess.Popen(["sleep", "600"])
    edit(engine, other_process, gate_pid=other.pid,
         gate_started=started(other.pid) - 1)
    [qemu] = [p for p in kept[no_qemu] if names[p] == "qemu-system-x86_64"]
    os.kill(qemu, signal.SIGKILL)
    wait_for("launch to end",
             lambda: not alive(record(engine, no_qemu)["launch_pid"]))
    engine.start()

    reason = ended(engine, record_version)["attrs"]
    check("another version" in reason["kenaz.reason"] and
          "4711" in reason["kenaz.reason"] and
          reason["error.type"] == "VERSION", "%r" % reason)
    reason = ended(engine, process_version)["attrs"]["kenaz.reason"]
    check("kenaz-gate speaks protocol 99" in reason, reason)
    # It was killed as the process it is; the real gate is nobody's any more.
    check(os.waitpid(pid, 0)[1] == signal.SIGKILL, "the stand-in")
    ended(engine, other_process)
    check(other.poll() is None, "a process that is another one was killed")
    other.kill()
    other.wait()
    reason = ended(engine, no_qemu)["attrs"]["kenaz.reason"]
    check("kenaz-launch ended" in reason, reason)
    for session in process_version, other_process:
        last_resort([(p, "kenaz-gate") for p in kept[session]])
    for session in sessions:
        nothing_is_left(engine, session, kept[session])
    close(engine)


def a_damaged_record_ends_the_session():
    engine = service(adopt_s=3)
    session = detached(engine)
    spared = kill_core(engine)
    with open(record_path(engine, session), "w") as f:
        f.write('{"format": 1, "proto')
    engine.start()
    event = ended(engine, session)
    check("damaged" in event["attrs"]["kenaz.reason"], "%r" % event)
    nothing_is_left(engine, session, spared)
    close(engine)


def nobody_comes_and_it_ends():
    engine = service(adopt_s=2)
    session = detached(engine)
    spared = kill_core(engine)
    wait_for("everything to end", lambda: not [p for p in spared if alive(p)], 40)
    engine.start()
    event = ended(engine, session)
    check("ended while there was no engine" in event["attrs"]["kenaz.reason"],
          "%r" % event)
    nothing_is_left(engine, session, spared)
    close(engine)


def everything_killed_is_told_at_the_next_start():
    engine = service()
    session = detached(engine)
    kill_core(engine, spare=())
    engine.start()
    event = ended(engine, session)
    check(event["attrs"]["error.type"] != "OK", "%r" % event)
    nothing_is_left(engine, session, [])
    check(state(engine, session) == "failed", "state")
    close(engine)


def a_session_that_was_starting_ends():
    engine = service()
    c = engine.connect()
    request = {"jsonrpc": "2.0", "id": 1, "method": "session.start",
               "params": {"detach": True, "argv": ["sh"]}}
    c.sock.sendall(json.dumps(request).encode() + b"\n")
    folder = os.path.join(engine.state, "sessions")
    name = wait_for("its record", lambda: [n for n in os.listdir(folder)
                                           if n.endswith(".json")])[0]
    session = name[:-len(".json")]
    check(not record(engine, session)["ready"], "it is ready already")
    tree = engine.tree()
    engine.crash()
    wait_for("everything to end", lambda: not [p for p in tree if alive(p)], 30)
    engine.start()
    event = ended(engine, session)
    check("was starting" in event["attrs"]["kenaz.reason"], "%r" % event)
    nothing_is_left(engine, session, list(tree))
    close(engine)


def a_handover_leaves_the_sessions_and_no_loose_end():
    engine = service()
    session = detached(engine)
    shell = engine.terminal(session, ["sh"])
    tell(shell, "echo shell $((1 + 1)) is up")
    until(shell, "shell 2 is up")
    slow = engine.terminal(session, ["kenaz-workbench", "-p", "scenario: slow"])
    slow.read_until(b"slow piece")
    core, kept = engine.process, [p for p, (n, _) in engine.tree().items()
                                  if n in KEPT]
    atexit.register(last_resort, [(p, engine.tree()[p][0]) for p in kept])
    code, out, err = cli("--socket", engine.path, "engine", "handover")
    check(code == 0, "%r %r" % (out, err))
    check(core.wait(60) == 0, "the engine's exit code:\n" + engine.log()[-2000:])
    engine.process = None
    check(all(alive(p) for p in kept), "something of the session ended")
    code, out = rest_of(slow)
    check(code == 1 and "restarted" in out, "in flight: %r %r" % (code, out))
    engine.start()
    adopted(engine, session)
    stop = engine.wait_event("engine.stop")
    check(stop["attrs"]["kenaz.sessions_left"] == 1, "%r" % stop)
    check(not engine.events(kind="log.recovered"), "the log was not closed")
    intents = engine.events(kind="prompt.sent", session=session)
    outcomes = engine.events(kind="response.received", session=session)
    check(len(intents) == len(outcomes), "%r %r" % (intents, outcomes))
    tell(shell, "exit 3")
    check(code_of(shell) == 3, "the shell's code")
    # A plain stop ends them as ever.
    check(engine.stop() == 0, "exit code:\n" + engine.log()[-3000:])
    nothing_is_left(engine, session, kept)
    check(engine.verify().returncode == 0, engine.verify().stderr)
    engine.clean()


main(sessions_go_on_under_a_new_core,
     a_client_sees_nothing_of_it_but_its_session_ends_with_it,
     what_does_not_match_ends_the_session,
     nobody_comes_and_it_ends,
     a_session_that_was_starting_ends,
     a_handover_leaves_the_sessions_and_no_loose_end,
     depth=(a_core_that_comes_at_once_waits_for_the_old_log,
            a_core_killed_at_any_moment_loses_no_session,
            a_damaged_record_ends_the_session,
            everything_killed_is_told_at_the_next_start))
