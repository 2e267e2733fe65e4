#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kenaz setup in tmux, against a real engine and servers of our own."""

import atexit
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, Engine, Failure, check, cli, main, wait_for  # noqa: E402

KEY = "sk-good-0123456789abcdef"

if not shutil.which("tmux"):
    print("skipped: tmux is not installed")
    sys.exit(77)

engine = Engine(mock=True)
TMUX = ["tmux", "-S", os.path.join(engine.folder, "tmux"), "-f", "/dev/null"]
server = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
     "--record", os.path.join(engine.folder, "models.jsonl"), "--seconds",
     "280"], stdout=subprocess.PIPE, text=True)
atexit.register(server.kill)
URL = "http://127.0.0.1:%d" % int(server.stdout.readline())
engine.start()
TOML = os.path.join(engine.config_dir, "kenaz.toml")


def text():
    with open(TOML) as f:
        return f.read()


def tmux(*args):
    return subprocess.run(TMUX + list(args), capture_output=True, text=True)


# A server whose last session ends goes away while the next one is asked for.
tmux("new-session", "-d", "-s", "hold", "read x")
atexit.register(tmux, "kill-server")


class Dialogue:
    def __init__(self, env=""):
        tmux("new-session", "-d", "-s", "kenaz", "-x", "110", "-y", "70",
             "env %s KENAZ_SOCKET=%s TERM=xterm-256color %s setup; "
             "echo CODE=$?; read x" % (env, engine.path,
                                       os.path.join(BIN, "kenaz")))
        self.answered = 0

    def screen(self):
        return tmux("capture-pane", "-p", "-J", "-S", "-500", "-t", "kenaz").stdout

    def until(self, what):
        def look():
            shown = self.screen()
            return shown if re.search(what, shown[self.answered:]) else None
        try:
            return wait_for(what, look, 40)
        except Failure as e:
            raise Failure("%s; the screen shows:\n%s" % (e, self.screen()))

    def answer(self, question, line):
        shown = self.until(question)
        self.answered = len(shown.rstrip())
        if line:
            tmux("send-keys", "-t", "kenaz", "-l", line)
        tmux("send-keys", "-t", "kenaz", "Enter")

    def interrupt(self, question):
        self.until(question)
        tmux("send-keys", "-t", "kenaz", "C-c")

    def end(self):
        shown = self.until("CODE=")
        tmux("kill-session", "-t", "kenaz")
        return shown


def kind(name):
    d = Dialogue()
    shown = d.until(r"Kind \[1\]:")
    tmux("kill-session", "-t", "kenaz")
    return re.search(r"(\d+)\) %s " % name, shown).group(1)


def needs_a_terminal():
    code, _, err = cli("--socket", engine.path, "setup")
    check(code == 2 and "kenaz provider add" in err, err)


def a_local_server():
    before = text()
    d = Dialogue()
    d.answer(r"Kind \[1\]:", LOCAL)
    d.answer(r"Name of the provider here \[local\]:", "")
    d.answer("Where does it listen", "4")
    d.answer("Endpoint", URL + "/v1")
    d.answer("API", "1")
    d.answer("Key", "")
    shown = d.until("Write this")
    for part in ('name = "local"', 'endpoint = "%s/v1"' % URL,
                 "allow_http = true", 'dialects = ["chat"]',
                 'auth = "none"', TOML):
        check(part in shown.replace("\n", "") or part in shown,
              "%s was not shown: %s" % (part, shown))
    check(text() == before, "it was written before it was agreed to")
    d.answer("Write this", "y")
    shown = d.until("A number, a model")
    check(re.search(r"HTTP 200 in \d+ ms", shown) and "1) fake" in shown, shown)
    entry = text()
    check(entry != before, "nothing was written")
    d.answer("A number, a model", "1")
    d.answer("Name of the alias", "quick")
    shown = d.until(r'model = "fake"}[\s\S]*Write this')
    check(text() == entry, "the alias was written before it was agreed to")
    d.answer(r'model = "fake"}[\s\S]*Write this', "y")
    shown = d.end()
    check("Next: kenaz run --provider local" in shown and "CODE=0" in shown,
          shown)
    check('name = "quick"' in text(), text())


def a_wrong_key_can_be_edited_and_undone():
    before, wrong = text(), "sk-wrong-9999999999"
    d = Dialogue("OPENAI_API_KEY=%s" % wrong)
    d.answer(r"Kind \[1\]:", OPENAI)
    d.answer("Name of the provider", "mine")
    d.answer("Endpoint", GUARDED)
    d.answer("OPENAI_API_KEY is set in this shell", "")
    shown = d.until("Write this")
    check('secret = "mine"' in shown and "as the secret mine" in shown, shown)
    check(text() == before and not engine.call("secret.list")["secrets"],
          "it was written before it was agreed to")
    d.answer("Write this", "y")
    shown = d.until("keep|Keep it as it is")
    check("HTTP 401: it refused the key" in shown, shown)
    d.answer("Keep it as it is", "e")
    d.answer("Endpoint", "")
    d.answer("OPENAI_API_KEY is set in this shell", "n")
    d.answer("Key of mine", KEY)
    d.answer("Write this", "y")
    d.answer("A number, a model", "")
    shown = d.end()
    check("CODE=0" in shown and KEY not in shown and wrong not in shown, shown)
    check(engine.call("secret.list")["secrets"] == ["mine"], "secrets")
    check('name = "mine"' in text() and KEY not in text(), text())
    engine.call("provider.remove", name="mine")
    engine.call("secret.remove", name="mine")
    check(text() == before, "the file is not as before")


def what_cannot_be_reached_is_undone():
    before = text()
    d = Dialogue()
    d.answer(r"Kind \[1\]:", OPENAI)
    d.answer("Name of the provider", "mine")
    d.answer("Endpoint", "http://127.0.0.1:1")
    d.answer("Key of mine", KEY)
    d.answer("Write this", "y")
    shown = d.until("Keep it as it is")
    check("The test failed" in shown and "is it running" in
          shown.replace("\n", " "), shown)
    check('name = "mine"' in text(), "it is not there while one decides")
    d.answer("Keep it as it is", "u")
    shown = d.end()
    check("nothing of it is left" in shown, shown)
    check(text() == before and not engine.call("secret.list")["secrets"],
          "something is left")


def an_interrupt_leaves_nothing_half_written():
    before = text()
    d = Dialogue()
    d.interrupt("Kind")
    shown = d.end()
    check("nothing was written" in shown and "CODE=130" in shown, shown)
    d = Dialogue()
    d.answer(r"Kind \[1\]:", OPENAI)
    d.answer("Name of the provider", "mine")
    d.answer("Endpoint", URL)
    d.interrupt("Key of mine")
    shown = d.end()
    check("nothing was written" in shown and "CODE=130" in shown, shown)
    d = Dialogue()
    d.answer(r"Kind \[1\]:", OPENAI)
    d.answer("Name of the provider", "mine")
    d.answer("Endpoint", URL)
    d.answer("Key of mine", KEY)
    d.answer("Write this", "n")
    shown = d.end()
    check("nothing was written" in shown, shown)
    check(text() == before and not engine.call("secret.list")["secrets"],
          "something was written")
    d = Dialogue()
    d.answer(r"Kind \[1\]:", OPENAI)
    d.answer("Name of the provider", "mine")
    d.answer("Endpoint", URL)
    d.answer("Key of mine", KEY)
    d.answer("Write this", "y")
    d.interrupt("A number, a model")
    shown = d.end().replace("\n", "")
    check("written so far: secret mine in the vault, provider mine" in shown,
          shown)


def nothing_is_left():
    tmux("kill-server")
    check(engine.stop() == 0, "kenazd's exit code")
    engine.clean()


class Guarded:
    """A server that takes one key."""

    def __init__(self):
        import http.server
        import threading

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                good = self.headers.get("authorization") == "Bearer " + KEY
                body = b'{"data":[{"id":"m\\u001b[31mx"}]}' if good else b"{}"
                self.send_response(200 if good else 401)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


GUARDED = "http://127.0.0.1:%d" % Guarded().server.server_port
LOCAL, OPENAI = kind("local"), kind("openai")
main(needs_a_terminal, a_local_server, a_wrong_key_can_be_edited_and_undone,
     what_cannot_be_reached_is_undone,
     an_interrupt_leaves_nothing_half_written, nothing_is_left)
