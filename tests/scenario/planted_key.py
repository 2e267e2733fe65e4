#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A planted key is looked for everywhere: raw, in hexadecimal, in base64.

In files, diagnostics, arguments, environments, and the memory of every
process; then by another program of the same user, and in a core file. key.py
does the same for a request of a guest.
"""

import base64
import os
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, Engine, check, main, wait_for  # noqa: E402

if os.getuid() != 0 or not shutil.which("setpriv"):
    print("skipped: reading other processes' memory needs root, and setpriv")
    sys.exit(77)

USER = 65534
WORD = "passphrase-" + os.urandom(16).hex()
KEY = "sk-planted-" + os.urandom(24).hex()


def forms(text):
    """The text as it might lie about: each with what it is found by."""
    raw = text.encode()
    found = {"raw": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    # Whatever stood before it, one of three alignments; the ends may differ.
    for skip in range(3):
        found["base64 %d" % skip] = base64.b64encode(b"\0" * skip + raw)[4:-4]
    found["utf-16"] = text.encode("utf-16-le")
    return found


FORMS = {**{("key", k): v for k, v in forms(KEY).items()},
         **{("passphrase", k): v for k, v in forms(WORD).items()}}
OVERLAP = max(len(v) for v in FORMS.values())


def holds(data):
    return {k for k, v in FORMS.items() if v in data}


def memory_of(pid):
    try:
        with open("/proc/%d/maps" % pid) as maps, \
                open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                where, mode = line.split()[:2]
                if "r" not in mode or "[v" in line:
                    continue
                start, end = (int(x, 16) for x in where.split("-"))
                at = start
                while at < end:
                    size = min(end - at, 1 << 22)
                    try:
                        mem.seek(at)
                        yield mem.read(size)
                    except (OSError, ValueError, OverflowError):
                        pass
                    if at + size >= end:
                        break
                    at += size - OVERLAP
    except OSError:
        return


def as_user(*argv, **options):
    return subprocess.run(["setpriv", "--reuid=%d" % USER, "--regid=%d" % USER,
                           "--clear-groups", *argv], capture_output=True, **options)


engine = Engine(wrap=["setpriv", "--reuid=%d" % USER, "--regid=%d" % USER,
                      "--clear-groups"])
provider = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_provider.py"),
     "--record", os.path.join(engine.folder, "requests"), "--seconds", "280",
     "--behave", "echo=header"], stdout=subprocess.PIPE, text=True)
engine.write("kenaz.toml", """
[vault]
backend = "passphrase"
passphrase_memory_mib = 64
passphrase_passes = 1
[[provider]]
name = "p"
kind = "byo"
secret = "p"
endpoint = "http://127.0.0.1:%d"
allow_http = true
""" % int(provider.stdout.readline()))
# A shell may have any key when it starts an engine.
engine.env.update(ANTHROPIC_API_KEY=KEY, SOME_TOKEN=WORD,
                  XDG_RUNTIME_DIR=engine.folder)
os.chmod(engine.folder, 0o755)
for folder, _, files in os.walk(engine.folder):
    for name in [folder] + [os.path.join(folder, f) for f in files]:
        os.chown(name, USER, USER)
engine.start()
engine.type_secrets("secret.unlock", WORD)
engine.set_secret("p", KEY)


def cli_as_user(*words, text):
    return as_user(os.path.join(BIN, "kenaz"), "--socket", engine.path, *words,
                   input=text.encode(), timeout=60)


def it_is_used():
    engine.call("provider.test", name="p")
    with open(os.path.join(engine.folder, "requests"), "rb") as f:
        check(KEY.encode() in f.read(), "the provider did not get the key")
    # Typed into a real client, too: a second version, and a wrong passphrase.
    r = cli_as_user("secret", "set", "p", text=KEY + "\n")
    check(r.returncode == 0, r.stderr.decode())
    check(not holds(r.stdout + r.stderr), "the client showed it")
    engine.call("provider.test", name="p")


def no_file_has_it():
    searched = 0
    for folder, _, files in os.walk(engine.folder):
        for name in files:
            path = os.path.join(folder, name)
            if name == "requests" or not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                found = holds(f.read())
            check(not found, "%s has %r" % (path, found))
            searched += 1
    check(searched >= 8, "only %d files were there to be searched" % searched)
    check("kenaz-audit:" in engine.log(), "the stderr of children is elsewhere")


def no_argument_and_no_environment_has_it():
    for pid, (name, _) in engine.tree().items():
        for part in ("cmdline", "environ"):
            with open("/proc/%d/%s" % (pid, part), "rb") as f:
                found = holds(f.read())
            check(not found, "%s: %s has %r" % (name, part, found))


def no_other_process_has_it_in_memory():
    tree = engine.tree()
    check(len(tree) >= 5, "too few processes: %r" % tree)
    for pid, (name, _) in tree.items():
        found = set()
        for piece in memory_of(pid):
            found |= holds(piece)
        if name != "kenaz-broker":
            check(not found, "%s has %r in memory" % (name, found))
            continue
        # The passphrase was needed for a moment only.
        check(("key", "raw") in found, "the search does not work")
        check(not any(what == "passphrase" for what, _ in found), "%r" % found)


def nor_has_the_disk_cache_of_the_log():
    for e in engine.events():
        text = repr(e).encode()
        check(not holds(text), "event %d has it" % e["seq"])


def another_program_of_the_user_cannot_look():
    try_all = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for pid in map(int, sys.argv[1:]):\n"
        "    for name in ('mem', 'environ', 'maps'):\n"
        "        try:\n"
        "            open('/proc/%d/%s' % (pid, name), 'rb').read(1)\n"
        "            print(pid, name)\n"
        "        except OSError: pass\n"
        "    if libc.ptrace(16, pid, None, None) == 0:\n"  # PTRACE_ATTACH
        "        print(pid, 'ptrace')\n")
    pids = [str(p) for p in engine.tree()]
    r = as_user(sys.executable, "-c", try_all, *pids, timeout=60)
    check(r.returncode == 0 and not r.stdout, "%r %r" % (r.stdout, r.stderr))
    # The same on a process of the same user that does not protect itself.
    open_one = subprocess.Popen(["setpriv", "--reuid=%d" % USER, "--regid=%d" % USER,
                                 "--clear-groups", "sleep", "60"])
    wait_for("sleep", lambda: b"sleep\0" in
             open("/proc/%d/cmdline" % open_one.pid, "rb").read()[:6])
    r = as_user(sys.executable, "-c", try_all, str(open_one.pid), timeout=60)
    open_one.kill()
    open_one.wait()
    check(b"maps" in r.stdout, "the attempt itself does not work: %r" % r.stderr)
    if shutil.which("gcore"):
        for pid, (name, _) in engine.tree().items():
            target = os.path.join("/tmp", "kenaz-core-%d" % pid)
            r = as_user("gcore", "-o", target, str(pid), timeout=60)
            check(not os.path.exists("%s.%d" % (target, pid)),
                  "a core of %s was written: %r" % (name, r.stdout))


def nobody_writes_a_core_file():
    where = {os.readlink("/proc/%d/cwd" % p) for p in engine.tree()} | {engine.folder}
    before = {os.path.join(w, n) for w in where for n in os.listdir(w)}
    for name in ("kenaz-broker", "kenaz-scripted"):
        pid = engine.pids(name)[0]
        with open("/proc/%d/limits" % pid) as f:
            core = [line for line in f if line.startswith("Max core file size")][0]
        check(core.split()[4:6] == ["0", "0"], "%s: %s" % (name, core))
        os.kill(pid, signal.SIGABRT)
        wait_for("the next " + name, lambda: engine.pids(name) not in ([], [pid]))
    after = {os.path.join(w, n) for w in where for n in os.listdir(w)}
    new = {n for n in after - before if os.path.basename(n).startswith("core")}
    check(not new, "core files: %r" % new)


def the_end_leaves_nothing():
    engine.stop()
    no_file_has_it()
    r = as_user(os.path.join(BIN, "kenaz-verify"), "--log",
                os.path.join(engine.state, "log"), "--anchor",
                os.path.join(engine.state, "anchor", "anchor.note"))
    check(r.returncode == 0, r.stdout + r.stderr)
    provider.kill()
    provider.wait()
    engine.clean()


try:
    main(it_is_used,
         no_file_has_it,
         no_argument_and_no_environment_has_it,
         no_other_process_has_it_in_memory,
         nor_has_the_disk_cache_of_the_log,
         another_program_of_the_user_cannot_look,
         nobody_writes_a_core_file,
         the_end_leaves_nothing)
finally:
    provider.kill()
