#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Machines that boot before anybody asks: real guests, claimed and dropped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import kenaz  # noqa: E402
from kenaz import (BOOT_S, Engine, alive, check, have_image, main,  # noqa: E402
                   wait_for)

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

POOL = """
[limits]
memory_mib = 128

[pool]
start = "pool"
size = 1
"""


def waiting(engine):
    """How many machines wait, as the doctor counts them."""
    return sum(int(c["text"].split(": ")[1].split(" of ")[0])
               for c in engine.doctor("pool"))


def wait_ready(engine, count=1):
    wait_for("%d machines in the pool" % count,
             lambda: waiting(engine) >= count, BOOT_S)


def machines(engine, purpose="pool"):
    return [e for e in engine.events(kind="vm.start")
            if e["attrs"]["kenaz.vm.purpose"] == purpose]


def sockets_of(pid):
    folder = "/proc/%d/fd" % pid
    return len([fd for fd in os.listdir(folder) if
                os.readlink(os.path.join(folder, fd)).startswith("socket:")])


def a_claimed_machine_is_a_session_like_any_other():
    engine = Engine(config=POOL).start()
    try:
        wait_ready(engine)
        check(not engine.call("session.list")["sessions"],
              "an unclaimed machine is listed as a session")
        [start] = machines(engine)
        vm = start["attrs"]["kenaz.vm.id"]
        check(not start.get("session"), "vm.start names a session: %r" % start)
        check(start["attrs"]["kenaz.vm.trust_domain"] == "uid:%d" % os.getuid(),
              "trust domain: %r" % start)
        check(not engine.events(kind="session.start"), "a session before any")
        qemu = engine.pids("qemu-system-x86_64")
        # Its gate was given no descriptor of the guest, which is told nothing.
        [gate] = engine.pids("kenaz-gate")
        check(sockets_of(gate) == 1, "%d sockets" % sockets_of(gate))
        session, owner, started = engine.session()
        check(started["start"] == "pool", "start: %r" % started)
        check(sockets_of(gate) > 1, "another gate")
        check(qemu[0] in engine.pids("qemu-system-x86_64"), "another QEMU")
        code, out, _ = engine.run(session, ["sh", "-c", "id -u; hostname"])
        check(code == 0 and out.decode() == "1000\nkenaz-%s\n" % session,
              "%r %r" % (code, out))
        shown = engine.call("session.show", session=session)
        check(shown["start"] == "pool" and shown["vm"] == vm and
              shown["booted_before_ms"] > 0, "show: %r" % shown)
        names = [s["name"] for s in shown["stages"]]
        check(names.index("claimed") < names.index("hello") <
              names.index("ready"), "stages: %r" % names)
        [begin] = engine.events(kind="session.start")
        check(begin["seq"] > start["seq"] and
              begin["attrs"]["kenaz.vm.id"] == vm and
              begin["attrs"]["kenaz.session.start"] == "pool" and
              begin["attrs"]["kenaz.vm.fingerprint"] ==
              start["attrs"]["kenaz.vm.fingerprint"], "%r" % begin)
        ready = engine.wait_event("session.ready", session=session)
        check(ready["seq"] > begin["seq"], "ready before its start")
        wait_ready(engine)
        check(len(machines(engine)) == 2, "no refill")
        owner.close()
        engine.wait_event("session.end", session=session)
        check(not engine.events(kind="vm.end"), "a claimed machine has vm.end")
        # Another kind boots cold and alone.
        session, owner, started = engine.session(memory_mib=192)
        check(started["start"] == "cold", "another size: %r" % started)
        check(waiting(engine) == 1, "the machine that waits is gone")
        cold = machines(engine, "session")[-1]
        check(cold["session"] == session and
              cold["attrs"]["kenaz.vm.memory_mib"] == 192, "%r" % cold)
        owner.close()
    finally:
        engine.stop()
    ends = [e for e in log_of(engine) if '"vm.end"' in e]
    check(len(ends) == 1 and "the engine stopped" in ends[0], "%r" % ends)
    check(engine.verify().returncode == 0, engine.verify().stderr)
    engine.clean()


def log_of(engine):
    """The stored events of a stopped engine, as lines."""
    again = Engine(config="", folder=engine.folder).start()
    try:
        return [repr(e).replace("'", '"') for e in again.events()]
    finally:
        again.stop()


def a_dead_machine_is_dropped_and_replaced(
        names=("qemu-system-x86_64",)):
    engine = Engine(config=POOL).start()
    try:
        for name in names:
            wait_ready(engine)
            before = len(engine.events(kind="vm.end"))
            tree = {p for p, (n, _) in engine.tree().items()
                    if n in ("kenaz-launch", "kenaz-gate",
                             "qemu-system-x86_64")}
            os.kill(engine.pids(name)[0], signal.SIGKILL)
            wait_for("vm.end after the death of " + name,
                     lambda: len(engine.events(kind="vm.end")) > before)
            wait_for("nothing of it to be left",
                     lambda: not [p for p in tree if alive(p)], 20)
            # The next one waits a little longer, and the doctor says why.
            [report] = engine.doctor("pool")
            check("failed in a row" in report["text"] or
                  "1 of 1" in report["text"], "%r" % report)
        wait_ready(engine)
        session, owner, started = engine.session()
        check(started["start"] == "pool", "%r" % started)
        owner.close()
    finally:
        engine.stop()
    check(engine.verify().returncode == 0, engine.verify().stderr)
    engine.clean()


def a_dead_launcher_or_gate_is_one_too():
    a_dead_machine_is_dropped_and_replaced(("kenaz-launch", "kenaz-gate"))


def a_changed_image_is_not_served_from_the_pool():
    images = tempfile.mkdtemp(prefix="kz-images-")
    shutil.copytree(os.path.join(kenaz.IMAGES, "mini"),
                    os.path.join(images, "mini"))
    engine = Engine(config=POOL, options=["--image-dir", images]).start()
    try:
        wait_ready(engine)
        [first] = machines(engine)
        # The same bytes in a new file: whether they are equal is for a new
        # start to find out.
        path = os.path.join(images, "mini", "manifest.json")
        shutil.copy(path, path + ".new")
        os.rename(path + ".new", path)
        session, owner, started = engine.session()
        shown = engine.call("session.show", session=session)
        check(shown["vm"] != first["attrs"]["kenaz.vm.id"], "%r" % shown)
        end = engine.wait_event("vm.end")
        check(end["attrs"]["kenaz.vm.id"] == first["attrs"]["kenaz.vm.id"] and
              "changed on disk" in end["attrs"]["kenaz.reason"], "%r" % end)
        owner.close()
    finally:
        engine.stop()
        engine.clean()
        shutil.rmtree(images)


def a_session_takes_the_memory_that_the_pool_holds():
    engine = Engine(config=POOL.replace(
        "memory_mib = 128", "memory_mib = 128\nhost_memory_max_mib = 500")).start()
    try:
        wait_ready(engine)
        session, owner, started = engine.session(memory_mib=256)
        check(started["start"] == "cold", "%r" % started)
        end = engine.wait_event("vm.end")
        check("needs its memory" in end["attrs"]["kenaz.reason"], "%r" % end)
        wait_for("the doctor to name the limit", lambda: [
            c for c in engine.doctor("pool")
            if "host_memory_max_mib" in c["text"]])
        owner.close()
    finally:
        engine.stop()
        engine.clean()


def a_killed_core_leaves_no_machine():
    engine = Engine(config=POOL).start()
    wait_ready(engine)
    tree = engine.crash()
    wait_for("every process to end", lambda: not [p for p in tree if alive(p)],
             30)
    engine.clean()


def a_pool_that_cannot_be_filled_says_why():
    engine = Engine(config=POOL + 'images = "absent"\n').start()
    try:
        def says():
            [report] = engine.doctor("pool")
            return "failed in a row" in report["text"] and report
        report = wait_for("the doctor to say it", says)
        check(report["status"] == "warn" and "next try in" in report["text"] and
              "absent" in report["text"], "%r" % report)
        wait_for("a second attempt", lambda: "2 failed in a row" in
                 engine.doctor("pool")[0]["text"])
        check(not engine.pids("kenaz-launch"), "a launcher is left")
        session, owner, started = engine.session()
        check(started["start"] == "cold", "%r" % started)
        owner.close()
    finally:
        engine.stop()
        engine.clean()


def machines_with_disks_wait_too():
    """Each has a disk of its own; a template of them cannot be made."""
    built = subprocess.run([os.path.join(kenaz.TOP, "scripts", "image-disk")],
                           capture_output=True, text=True)
    if built.returncode != 0:
        print("     the test image cannot be built: not run")
        return
    image = os.path.join(os.environ.get("B", os.path.join(kenaz.TOP, "build")),
                         "image-test", "disk")
    engine = Engine(config="""
[engine]
default_image = "disk"
[[image]]
name = "disk"
path = "%s"
[limits]
memory_mib = 256
disk_mib = 64
[pool]
size = 1
""" % image).start()
    try:
        for i in range(2):
            wait_ready(engine)
            session, owner, started = engine.session()
            check(started["start"] == "pool", "%r" % started)
            check(engine.call("session.show", session=session)["disk"]
                  ["disk_mib"] == 64, "the claimed machine's disk is not shown")
            code, out, err = engine.run(session, ["sh", "-c", (
                "ls ~/kept 2>/dev/null; echo %d > ~/kept; cat ~/kept" % i)])
            check((code, out) == (0, b"%d\n" % i), "%r %r" % (out, err))
            owner.close()
        wait_for("the launcher to refuse a template",
                 lambda: "no template can be made of it" in engine.log())
        check(not engine.events(kind="template.made"), "a template was made")
        wait_ready(engine)
        [report] = engine.doctor("pool")
        check("failed" not in report["text"], "%r" % report)
    finally:
        engine.stop()
        engine.clean()


AS_ANOTHER = """
import json, os, socket, sys
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session.start",
                      "params": {"detach": False}}).encode() + b"\\n")
f = s.makefile()
while True:
    answer = json.loads(f.readline())
    if "id" in answer:
        print(json.dumps(answer), flush=True)
        sys.stdin.read()
        break
"""


def start_as_another(engine):
    """nobody's session: (the answer, the process that owns it)."""
    process = subprocess.Popen([sys.executable, "-c", AS_ANOTHER, engine.path],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return json.loads(process.stdout.readline()), process


def one_users_machines_never_serve_another(templates=False):
    if os.getuid() != 0:
        print("     only root can be two users: not run")
        return
    folder = tempfile.mkdtemp(prefix="kz-")
    engine = Engine(options=["--system"], folder=folder, config=POOL.replace(
        '"pool"', '"auto"' if templates else '"pool"') + """
[roles]
user = { users = ["nobody", "root"] }
""")
    os.makedirs(engine.runtime, exist_ok=True)
    os.chmod(folder, 0o711)
    os.chmod(engine.runtime, 0o755)
    engine.start()
    try:
        check(not engine.doctor("pool"), "machines for nobody in particular")
        engine.session()[1].close()
        wait_ready(engine)
        if templates:
            engine.wait_event("template.made")
        roots = {e["attrs"]["kenaz.vm.id"] for e in engine.events()
                 if "kenaz.vm.id" in e["attrs"]}
        answer, process = start_as_another(engine)
        check(answer["result"]["start"] == "cold", "%r" % answer)
        check(waiting(engine) == 1, "root's machine is gone")
        [begin] = [e for e in engine.events(kind="session.start")
                   if e["attrs"]["kenaz.user"] == "nobody"]
        check(begin["attrs"]["kenaz.vm.id"] not in roots, "%r" % begin)
        if not templates:
            process.communicate(timeout=60)
            return
        # Now there are machines for both, and templates.
        wait_ready(engine, 2)
        process.communicate(timeout=60)
        wait_for("nobody's template", lambda: {
            e["attrs"]["kenaz.vm.trust_domain"]
            for e in engine.events(kind="template.made")} ==
            {"uid:0", "uid:65534"}, BOOT_S)
        answer, process = start_as_another(engine)
        check(answer["result"]["start"] == "pool", "%r" % answer)
        begin = [e for e in engine.events(kind="session.start")
                 if e["attrs"]["kenaz.user"] == "nobody"][-1]
        [vm] = [e for e in engine.events(kind="vm.start") if
                e["attrs"]["kenaz.vm.id"] == begin["attrs"]["kenaz.vm.id"]]
        check(vm["attrs"]["kenaz.vm.trust_domain"] == "uid:65534", "%r" % vm)
        process.communicate(timeout=60)
    finally:
        engine.stop()
        check(engine.verify().returncode == 0, engine.verify().stderr)
        shutil.rmtree(folder)


def one_users_templates_never_serve_another():
    one_users_machines_never_serve_another(templates=True)


main(a_claimed_machine_is_a_session_like_any_other,
     a_dead_machine_is_dropped_and_replaced,
     a_changed_image_is_not_served_from_the_pool,
     a_session_takes_the_memory_that_the_pool_holds,
     one_users_machines_never_serve_another,
     a_killed_core_leaves_no_machine,
     depth=(a_dead_launcher_or_gate_is_one_too,
            a_pool_that_cannot_be_filled_says_why,
            machines_with_disks_wait_too,
            one_users_templates_never_serve_another))
