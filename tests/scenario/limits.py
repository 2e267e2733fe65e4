#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each limit: refused with the figure or ended with the reason, and logged."""

import os
import sys
import json
import shutil
import subprocess

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import (BIN, IMAGES, TOP, Engine, Failure, Refused, check, cli, have_image,  # noqa: E402
                   main)

QEMU_MIB = 192  # what QEMU is counted with under software emulation

CEILINGS = """
[limits]
memory_mib = 128
session_memory_max_mib = 2048
session_vcpus_max = 4
"""


def refusal(config, ask=None, before=(), mock=True):
    """The sentence and the event of a refused start."""
    engine = Engine(mock=mock, config=CEILINGS + config).start()
    try:
        for params in before:
            engine.session(**params)
        try:
            engine.session(**(ask or {}))
        except Refused as r:
            check(r.name == "limit", "%r" % r.error)
            event = engine.wait_event("limit.reached")
            check(event["attrs"]["kenaz.reason"] == r.message,
                  "%r" % event["attrs"])
            check(event["attrs"]["kenaz.limit.outcome"] == "refused",
                  "%r" % event["attrs"])
            code, _, err = cli("run", *flags(ask or {}), "--", "true",
                               env={"KENAZ_SOCKET": engine.path})
            # What the host has left changes from one moment to the next.
            same = r.message if mock else r.message.split(",")[0]
            check(code == 125 and same in err, "%r %r" % (code, err))
            return r.message, event["attrs"]
        raise Failure("it was not refused: " + config)
    finally:
        engine.stop()
        engine.clean()


def flags(ask):
    found = []
    if "memory_mib" in ask:
        found += ["--memory", str(ask["memory_mib"])]
    if "vcpus" in ask:
        found += ["--cpus", str(ask["vcpus"])]
    return found


def says(got, limit, *figures):
    text, attrs = got
    check(attrs["kenaz.limit"] == limit, "%r" % attrs)
    check("limits." + limit in text, text)
    for figure in figures:
        check(figure in text, "%r not in %r" % (figure, text))


def memory_of_a_session():
    says(refusal("", {"memory_mib": 4096}), "session_memory_max_mib",
         "memory: 4096 MiB asked", "2048 MiB")


def memory_of_a_user():
    config = "user_memory_max_mib = %d\n" % (2 * (128 + QEMU_MIB) - 1)
    text, attrs = got = refusal(config, before=[{}])
    says(got, "user_memory_max_mib", "memory: 320 MiB asked",
         "319 MiB of 639 MiB left for user ")
    check((attrs["kenaz.limit.asked"], attrs["kenaz.limit.left"],
           attrs["kenaz.limit.value"]) == (320, 319, 639), "%r" % attrs)


def memory_of_the_host():
    says(refusal("host_memory_max_mib = 400\n", before=[{}]),
         "host_memory_max_mib", "80 MiB of 400 MiB left for all users")


def vcpus_of_a_session():
    says(refusal("", {"vcpus": 5}), "session_vcpus_max", "vCPUs: 5 asked",
         "may have 4")


def vcpus_of_a_user():
    says(refusal("user_vcpus_max = 3\n", {"vcpus": 2}, [{"vcpus": 2}]),
         "user_vcpus_max", "vCPUs: 2 asked, 1 of 3 left for user ")


def vcpus_of_the_host():
    says(refusal("host_vcpus_max = 3\n", {"vcpus": 2}, [{"vcpus": 2}]),
         "host_vcpus_max", "vCPUs: 2 asked, 1 of 3 left for all users")


def number_of_sessions():
    says(refusal("max_sessions_user = 1\n", before=[{}]),
         "max_sessions_user", "sessions: 1 asked, 0 of 1 left for user ")
    says(refusal("max_sessions = 1\n", before=[{}]), "max_sessions",
         "sessions: 1 asked, 0 of 1 left for all users")


def ended(config, during):
    engine = Engine(mock=True, config=CEILINGS + config).start()
    try:
        session, _, _ = engine.session()
        during(engine, session)
        event = engine.wait_event("session.end", session=session)
        return event["attrs"], engine.call("session.show", session=session)
    finally:
        engine.stop()
        engine.clean()


def wall_time():
    def wait_in_a_terminal(engine, session):
        # So does `kenaz run`, which says why and exits with 125.
        client = subprocess.Popen(
            [os.path.join(BIN, "kenaz"), "run", "--", "sleep", "60"],
            env=dict(os.environ, KENAZ_SOCKET=engine.path),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            engine.run(session, ["sleep", "60"])
        except Failure:
            pass  # a program that runs is no excuse
        err = client.communicate(timeout=60)[1].decode()
        check(client.returncode == 125 and "limits.wall_s" in err,
              "%r %r" % (client.returncode, err))

    attrs, shown = ended("wall_s = 3\n", wait_in_a_terminal)
    check(attrs["kenaz.limit"] == "wall_s" and attrs["kenaz.limit.value"] == 3
          and attrs["kenaz.limit.outcome"] == "ended", "%r" % attrs)
    check("3 s (limits.wall_s)" in attrs["kenaz.reason"], "%r" % attrs)
    check(shown["reason"] == attrs["kenaz.reason"], "%r" % shown)


def idle_time():
    def work(engine, session):
        engine.run(session, ["true"])

    attrs, shown = ended("idle_s = 2\n", work)
    check(attrs["kenaz.limit"] == "idle_s", "%r" % attrs)
    check("2 s (limits.idle_s)" in shown["reason"], "%r" % shown)


# --- with a real guest ------------------------------------------------------

def a_host_short_of_memory_refuses():
    """What is available now, less the reserve, is too little by a bit."""
    with open("/proc/meminfo") as f:
        kib = [int(l.split()[1]) for l in f if l.startswith("MemAvailable")][0]
    # Half of what is there stays for whoever else uses this machine.
    reserve = kib // 1024
    got = refusal("host_reserve_mib = %d\n" % min(reserve, 1048576), mock=False)
    says(got, "host_reserve_mib", "memory: 320 MiB asked", "left on this host",
         "MiB available", "%d MiB in reserve" % reserve)


def console_bytes():
    engine = Engine(config=CEILINGS + "console_bytes = 64\n")
    # The same image, whose kernel talks.
    loud = os.path.join(engine.folder, "loud")
    shutil.copytree(os.path.join(IMAGES, "mini"), loud)
    with open(os.path.join(loud, "manifest.json")) as f:
        manifest = json.load(f)
    manifest["name"] = "loud"
    manifest["cmdline"] = manifest["cmdline"].replace("quiet ", "")
    with open(os.path.join(loud, "manifest.json"), "w") as f:
        json.dump(manifest, f)
    os.unlink(os.path.join(loud, "manifest.sig"))
    subprocess.run([os.path.join(TOP, "scripts", "image-sign"), loud],
                   check=True)
    engine.write("kenaz.toml", CEILINGS + "console_bytes = 64\n"
                 '[[image]]\nname = "loud"\npath = "%s"\n' % loud)
    engine.options[:0] = ["--image-dir", engine.folder]
    engine.start()
    session, _, _ = engine.session(image="loud")
    attrs = engine.wait_event("limit.reached", session=session)["attrs"]
    check(attrs["kenaz.limit"] == "console_bytes"
          and attrs["kenaz.limit.value"] == 64
          and attrs["kenaz.limit.outcome"] == "cut", "%r" % attrs)
    code, out, err = engine.run(session, ["echo", "goes on"])
    check(code == 0 and out == b"goes on\n", "%r %r" % (out, err))
    shown = engine.call("session.show", session=session)
    check("64 bytes" in shown["limit_note"], "%r" % shown)
    engine.stop()
    engine.clean()


def qemu_has_its_own_user_and_limits():
    engine = Engine(config=CEILINGS).start()
    one, _, _ = engine.session()
    two, _, _ = engine.session()
    users = set()
    for pid in engine.pids("qemu-system-x86_64"):
        with open("/proc/%d/status" % pid) as f:
            s = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
        check(len(set(s["Uid"].split())) == 1, s["Uid"])
        users.add(int(s["Uid"].split()[0]))
        check(int(s["Seccomp_filters"]) >= 3, "filters: %r" % s)
        with open("/proc/%d/oom_score_adj" % pid) as f:
            check(int(f.read()) >= 600, "QEMU dies after the engine")
        with open("/proc/%d/limits" % pid) as f:
            limits = f.read()
        for line in ("Max core file size        0 ", "Max file size             0 ",
                     "Max processes             192 ", "Max locked memory         0 "):
            check(line in limits, line + "\n" + limits)
    check(len(users) == (2 if os.getuid() == 0 else 1), "%r" % users)
    for pid in engine.pids("kenaz-launch"):
        with open("/proc/%d/status" % pid) as f:
            s = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
        check(int(s["Uid"].split()[0]) in users, "launch: " + s["Uid"])
        check(int(s["CapEff"], 16) == 0 and int(s["CapPrm"], 16) == 0,
              "launch has capabilities")
    with open("/proc/%d/oom_score_adj" % engine.process.pid) as f:
        check(int(f.read()) < 600, "the engine dies first")
    engine.stop()
    engine.clean()


TESTS = [memory_of_a_session, memory_of_a_user, memory_of_the_host,
         vcpus_of_a_session, vcpus_of_a_user, vcpus_of_the_host,
         number_of_sessions, wall_time, idle_time]
if have_image():
    TESTS += [a_host_short_of_memory_refuses, console_bytes,
              qemu_has_its_own_user_and_limits]
main(*TESTS)
