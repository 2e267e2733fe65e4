#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A jump host without a desktop, through a real sshd: a passphrase's vault.

What is typed goes through a terminal that sshd made; what needs none works
without; a line that is lost ends the session that ran on it.
"""

import atexit
import os
import pty
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, Engine, check, main, wait_for  # noqa: E402

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or ""
if os.geteuid() != 0 or not SSHD or not shutil.which("ssh"):
    print("skipped: needs root and openssh's sshd and ssh")
    sys.exit(77)

WORD, KEY = "correct horse battery", "sk-jump-0123456789"
engine = Engine(mock=True, config='[vault]\nbackend = "passphrase"\n'
                "passphrase_memory_mib = 64\npassphrase_passes = 1\n")
server = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
     "--seconds", "200"], stdout=subprocess.PIPE, text=True)
atexit.register(server.kill)
URL = "http://127.0.0.1:%d" % int(server.stdout.readline())


def inside(name):
    return os.path.join(engine.folder, name)


def start_sshd():
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                        inside(name)], check=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with open(inside("sshd_config"), "w") as f:
        f.write("Port %d\nListenAddress 127.0.0.1\nHostKey %s\n"
                "AuthorizedKeysFile %s\nStrictModes no\nUsePAM no\n"
                "PasswordAuthentication no\nPrintMotd no\n"
                "PermitRootLogin prohibit-password\nPidFile none\n"
                % (port, inside("host"), inside("id.pub")))
    os.makedirs("/run/sshd", exist_ok=True)
    p = subprocess.Popen([SSHD, "-D", "-f", inside("sshd_config"), "-E",
                          inside("sshd.log")])
    atexit.register(p.kill)

    def listens():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    wait_for("sshd", listens, 20)
    return p, port


def ssh(*words, tty=False):
    remote = "env -i TERM=xterm-256color HOME=%s PATH=/usr/bin:/bin LANG=C.UTF-8 " \
        "KENAZ_SOCKET=%s %s" % (engine.folder, engine.path, " ".join(
            shlex.quote(w) for w in (os.path.join(BIN, "kenaz"),) + words))
    return ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o",
            "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-p",
            str(port), "-i", inside("id")] + (["-tt"] if tty else []) + \
        ["root@127.0.0.1", remote]


def plain(*words):
    r = subprocess.run(ssh(*words), capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL)
    return r.returncode, r.stdout + r.stderr


class Typist:
    """A person at a terminal of ssh."""

    def __init__(self, *words):
        self.fd, child = pty.openpty()
        self.process = subprocess.Popen(ssh(*words, tty=True), stdin=child,
                                        stdout=child, stderr=child,
                                        start_new_session=True)
        os.close(child)
        self.shown, self.at = "", 0

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            more = os.read(self.fd, 4096) if ready else None
        except OSError:
            more = b""
        if more:
            self.shown += more.decode(errors="replace")
        return more != b""

    def answer(self, question, line):
        end = time.monotonic() + 60
        while question not in self.shown[self.at:]:
            check(self.read(1) and time.monotonic() < end,
                  "no %r in %r" % (question, self.shown))
        self.at = self.shown.index(question, self.at) + len(question)
        os.write(self.fd, line.encode() + b"\n")

    def end(self):
        while self.read(1):
            if self.process.poll() is not None and not self.read(0.2):
                break
        os.close(self.fd)
        return self.process.wait(60), self.shown


def a_key_is_typed_over_the_line():
    engine.start()
    code, said = plain("provider", "add", "p", "--kind", "byo", "--endpoint",
                       URL, "--allow-http", "--auth", "bearer", "--secret",
                       "p", "--dialect", "chat")
    check(code == 0 and "kenaz secret set p" in said, said)
    t = Typist("secret", "set", "p")
    t.answer("New passphrase of the vault", WORD)
    t.answer("The same again", WORD)
    t.answer("Secret for p", KEY)
    code, said = t.end()
    check(code == 0 and "is set" in said and KEY not in said and
          WORD not in said, said)
    code, said = plain("provider", "test", "p")
    check(code == 0 and "HTTP 200" in said, said)


def after_a_restart_it_is_asked_for():
    check(engine.stop() == 0, "kenazd's exit code")
    engine.start()
    code, said = plain("provider", "test", "p")
    check(code == 1 and "kenaz secret unlock" in said and "asked http" not in
          said, said)
    code, said = plain("run", "--", "true")
    check(code == 0 and "the vault is locked" in said, said)
    t = Typist("provider", "test", "p")
    t.answer("Passphrase of the vault", WORD)
    code, said = t.end()
    check(code == 0 and "HTTP 200" in said and WORD not in said, said)
    code, said = plain("run", "--", "true")
    check(code == 0 and "locked" not in said, said)


def a_lost_line_ends_its_session():
    t = Typist("run", "--", "sh", "-c", "echo begun; exec sleep 1000")
    t.answer("begun", "")
    check(engine.call("session.list")["sessions"], "no session")
    t.process.kill()
    t.end()
    wait_for("the session's end", lambda: not [
        s for s in engine.call("session.list")["sessions"]
        if s["state"] not in ("ended", "failed")])


def nothing_is_left():
    check(engine.stop() == 0, "kenazd's exit code")
    sshd.kill()
    engine.clean()


sshd, port = start_sshd()
main(a_key_is_typed_over_the_line, after_a_restart_it_is_asked_for,
     a_lost_line_ends_its_session, nothing_is_left)
