#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kenaz setup in tmux, against a real engine and servers of our own."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

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
    def __init__(self, env="", to=None):
        tmux("kill-session", "-t", "kenaz")  # of a test that broke
        tmux("new-session", "-d", "-s", "kenaz", "-x", "110", "-y", "70",
             "env %s KENAZ_SOCKET=%s TERM=xterm-256color %s setup; "
             "echo CODE=$?; read x" % (env, (to or engine).path,
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


def begin(kind_number, name, env="", to=None):
    d = Dialogue(env, to)
    d.answer(r"Kind \[1\]:", kind_number)
    d.answer("Name of the provider", name)
    return d


def finish(d, *parts, good=True):
    """Look at what would be written, agree, and give the whole screen."""
    shown = d.until("Write this")
    for part in parts:
        check(part in shown.replace("\n", "") or part in shown,
              "%s was not shown: %s" % (part, shown))
    d.answer("Write this", "y")
    if not good:
        return d.until("Keep it as it is")
    d.answer("A number, a model", "")
    return d.end()


def forget(name):
    engine.call("provider.remove", name=name)
    if name in engine.call("secret.list")["secrets"]:
        engine.call("secret.remove", name=name)


def bedrock_by_an_api_key():
    d = begin(BEDROCK, "rock")
    d.answer(r"Region \[us-east-1\]:", "eu-central-1")
    shown = d.until("Endpoint")
    check("[AWS's own for that region]" in shown, shown)
    d.answer("Endpoint", URL)
    d.answer(r"Key \[1\]:", "")
    d.answer("Key of rock", "bedrock-api-key-1234")
    shown = finish(d, 'kind = "bedrock"', 'region = "eu-central-1"',
                   'auth = "bearer"', 'secret = "rock"')
    check("HTTP 200" in shown and "bedrock-api-key" not in shown, shown)
    check("'kenaz alias add default rock/MODEL'" in shown.replace("\n", " "),
          shown)
    forget("rock")
    # Nothing is typed: the region's own, and what the shell has.
    d = begin(BEDROCK, "rock", "AWS_REGION=eu-west-1 "
              "AWS_BEARER_TOKEN_BEDROCK=from-the-shell-1")
    d.answer(r"Region \[eu-west-1\]:", "")
    d.answer("Endpoint", "")
    d.answer(r"Key \[1\]:", "")
    d.answer("AWS_BEARER_TOKEN_BEDROCK is set in this shell", "")
    shown = d.until("Write this")
    check("endpoint" not in shown.split("[[provider]]")[-1], shown)
    d.answer("Write this", "n")
    d.end()


def bedrock_by_credentials_that_sign():
    for token in ("", "AQoDYXdzEJr=="):
        d = begin(BEDROCK, "rock")
        d.answer("Region", "us-gov-west-1")
        d.answer("Endpoint", SIGNED)
        d.answer(r"Key \[1\]:", "2")
        d.answer("Access key id", ACCESS)
        d.answer("Secret access key", SECRET)
        d.answer("Session token, or nothing", token)
        shown = finish(d, 'auth = "sigv4"', 'region = "us-gov-west-1"')
        check("HTTP 200" in shown, shown)
        check(SECRET not in shown and ACCESS not in shown, shown)
        # Only Bedrock's own routes are checked for their signature.
        r = engine.call("provider.test", name="rock",
                        model="amazon.nova-micro-v1:0")
        check(r["ok"], r)
        with open(signed_record) as f:
            signed = [r for r in map(json.loads, f)
                      if r["event"] == "signature"]
        check(signed and signed[-1]["ok"], signed)
        forget("rock")
    d = begin(BEDROCK, "rock")
    d.answer("Region", "moon")
    d.answer("Endpoint", "")
    d.answer(r"Key \[1\]:", "")
    d.answer("Key of rock", KEY)
    d.answer(r"has not the form of AWS's[\s\S]*Name of the provider here "
             r"\[rock\]:", "")
    d.answer(r"Region \[moon\]:", "eu-central-1")
    d.answer("Endpoint", "")
    d.answer(r"Key \[1\]:", "")
    d.answer("Key of rock", KEY)
    d.answer("Write this", "n")
    shown = d.end()
    check("nothing was written" in shown, shown)


def azure_by_its_own_path():
    path = GUARDED + "/openai/deployments/gpt"
    d = begin(BYO, "corp")
    d.answer("Endpoint", "")
    d.answer("Endpoint", path)
    d.answer(r"api-version of Azure \[2024-10-21\]:", "")
    d.answer("API", "1")
    d.answer(r"Key \[3\]:", "2")
    d.answer("Key of corp", KEY)
    shown = finish(d, 'api_version = "2024-10-21"', 'auth = "api-key"',
                   'dialects = ["chat"]')
    check("HTTP 200" in shown, shown)
    check(ASKED[-1][0] ==
          "/openai/deployments/gpt/models?api-version=2024-10-21" and
          ASKED[-1][1] == KEY, ASKED[-1])
    forget("corp")
    # By its host's name, the header is known, and the shell's variable.
    d = begin(BYO, "corp", "AZURE_OPENAI_API_KEY=%s" % KEY)
    d.answer("Endpoint", "https://corp.openai.azure.com/openai/v1")
    d.answer("API", "1")
    d.answer(r"Key \[2\]:", "")
    d.answer("AZURE_OPENAI_API_KEY is set in this shell", "")
    shown = d.until("Write this")
    check('auth = "api-key"' in shown and "api_version" not in shown, shown)
    d.answer("Write this", "n")
    d.end()


def bento_and_openrouter():
    d = begin(BENTO, "served")
    d.answer("Endpoint", URL)
    d.answer(r"Key \[1\]:", "2")
    shown = finish(d, 'kind = "bento"', 'auth = "none"')
    check("HTTP 200" in shown and "1) fake" in shown, shown)
    forget("served")
    d = begin(OPENROUTER, "many", "OPENROUTER_API_KEY=%s" % KEY)
    d.answer(r"Endpoint \[https://openrouter.ai/api\]:", GUARDED)
    d.answer("OPENROUTER_API_KEY is set in this shell", "")
    shown = finish(d, 'kind = "openrouter"', 'secret = "many"')
    check("HTTP 200" in shown, shown)
    forget("many")


def an_alias_that_is_taken_is_asked_for_again():
    before = text()
    engine.call("alias.add", name="default", targets=["local/fake"])
    d = begin(BENTO, "served")
    d.answer("Endpoint", URL)
    d.answer(r"Key \[1\]:", "2")
    d.answer("Write this", "y")
    d.answer("A number, a model", "1")
    d.answer(r"Name of the alias \[served\]:", "default")
    d.answer(r"already[\s\S]*Name of the alias", "")
    d.answer(r"\[\[alias\]\][\s\S]*Write this", "y")
    shown = d.end()
    check("CODE=0" in shown and 'name = "served"' in text(), shown)
    for name in ("served", "default"):
        engine.call("alias.remove", name=name)
    forget("served")
    check(text() == before, "the file is not as before")


def the_vault_is_chosen_and_made():
    other = Engine(mock=True, config="# no [vault]\n")
    other.start()
    toml = os.path.join(other.config_dir, "kenaz.toml")

    def content():
        with open(toml) as f:
            return f.read()
    before = content()
    d = begin(OPENAI, "mine", to=other)
    d.answer("Endpoint", GUARDED)
    d.answer("Key of mine", KEY)
    shown = d.until(r"Vault \[1\]:")
    for part in ("1) passphrase", "2) secret-service  not here: no desktop",
                 "3) systemd-creds   not here: the engine's unit has no",
                 "4) keyfile"):
        check(part in shown, "%s was not offered: %s" % (part, shown))
    d.answer(r"Vault \[1\]:", "3")
    d.answer(r"That is not possible here[\s\S]*Vault \[1\]:", "")
    shown = d.until("Write this")
    check('[vault]' in shown and 'backend = "passphrase"' in shown and
          "it is made first, opened by passphrase" in shown, shown)
    check(content() == before, "it was written before it was agreed to")
    d.answer("Write this", "y")
    d.answer("New passphrase of the vault", "correct horse")
    d.answer("The same again", "battery staple")
    d.answer(r"the two differ[\s\S]*Vault \[1\]:", "")
    d.answer("Write this", "y")
    d.answer("New passphrase of the vault", "correct horse")
    d.answer("The same again", "correct horse")
    d.answer("A number, a model", "")
    shown = d.end()
    check("HTTP 200" in shown and "CODE=0" in shown and
          "correct horse" not in shown and
          "'kenaz alias add default mine/MODEL'" in
          shown.replace("\n", " "), shown)
    check(content().count("[vault]") == 2 and
          'backend = "passphrase"' in content(), content())
    status = other.call("secret.status")
    check(status["state"] == "open" and status["backend"] == "passphrase" and
          status["secrets"] == 1, status)
    changes = [e["attrs"].get("kenaz.config.change")
               for e in other.events(kind="config.loaded")]
    check("vault" in changes, changes)
    check(other.stop() == 0, "kenazd's exit code")
    other.clean()


def the_vault_is_chosen_by_what_there_is():
    folder = tempfile.mkdtemp(prefix="kz-")
    with open(os.path.join(folder, "kenaz-vault-key"), "wb") as f:
        f.write(os.urandom(32))
        os.fchmod(f.fileno(), 0o400)
    other = Engine(mock=True, config="[vault]\npassphrase_passes = 1\n", env={
        "CREDENTIALS_DIRECTORY": folder,
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"})
    other.start()
    toml = os.path.join(other.config_dir, "kenaz.toml")
    d = begin(OPENAI, "mine", "DISPLAY=:0", other)
    d.answer("Endpoint", GUARDED)
    d.answer("Key of mine", KEY)
    # What systemd gave stands first; a bus where nobody is, is found out.
    d.answer(r"Vault \[3\]:", "2")
    d.answer("Write this", "y")
    d.answer(r"The vault was not made[\s\S]*Vault \[", "3")
    d.answer(r'backend = "systemd-creds"[\s\S]*Write this', "y")
    d.answer("A number, a model", "")
    shown = d.end()
    check("CODE=0" in shown, shown)
    with open(toml) as f:
        content = f.read()
    check('[vault]\nbackend = "systemd-creds"\npassphrase_passes = 1' in content,
          content)
    check(other.call("secret.status")["backend"] == "systemd-creds", "backend")
    check(other.stop() == 0, "kenazd's exit code")
    other.clean()
    shutil.rmtree(folder)


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
                key = self.headers.get("api-key") or \
                    (self.headers.get("authorization") or "")[len("Bearer "):]
                ASKED.append((self.path, key))
                good = key == KEY
                body = b'{"data":[{"id":"m\\u001b[31mx"}]}' if good else b"{}"
                self.send_response(200 if good else 401)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


ASKED = []
ACCESS, SECRET = "AKIDEXAMPLE012345678", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
signed_record = os.path.join(engine.folder, "signed.jsonl")
signing = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
     "--record", signed_record, "--seconds", "280", "--behave",
     "sigv4=%s:%s" % (ACCESS, SECRET)], stdout=subprocess.PIPE, text=True)
atexit.register(signing.kill)
SIGNED = "http://127.0.0.1:%d" % int(signing.stdout.readline())
GUARDED = "http://127.0.0.1:%d" % Guarded().server.server_port
LOCAL, OPENAI, BEDROCK, BENTO, OPENROUTER, BYO = map(
    kind, ("local", "openai", "bedrock", "bento", "openrouter", "byo"))
main(needs_a_terminal, a_local_server, a_wrong_key_can_be_edited_and_undone,
     what_cannot_be_reached_is_undone,
     an_interrupt_leaves_nothing_half_written, bedrock_by_an_api_key,
     bedrock_by_credentials_that_sign, azure_by_its_own_path,
     bento_and_openrouter, an_alias_that_is_taken_is_asked_for_again,
     the_vault_is_chosen_and_made, the_vault_is_chosen_by_what_there_is,
     nothing_is_left)
