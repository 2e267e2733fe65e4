#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The vault's backends: passphrase, key file, systemd's credentials.

Each opens what it made and nothing else; changing it keeps the secrets; what
cannot be opened is said, to requests and by doctor. The desktop's keyring has
a scenario of its own, keyring.py.
"""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, Engine, Refused, check, cli, main, wait_for  # noqa: E402

WORD = "correct horse battery"
KEY = "sk-test-" + os.urandom(24).hex()
# As little work as the configuration allows: the test is about the logic.
CHEAP = "passphrase_memory_mib = 64\npassphrase_passes = 1\n"


def config(backend, extra=CHEAP):
    return '[vault]\nbackend = "%s"\n%s' % (backend, extra)


def provider(port):
    return ('[[provider]]\nname = "p"\nkind = "byo"\nsecret = "p"\n'
            'endpoint = "http://127.0.0.1:%d"\nallow_http = true\n' % port)


class Provider:
    def __init__(self, folder):
        self.record = os.path.join(folder, "requests.jsonl")
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "..", "lib", "fake_provider.py"),
             "--record", self.record, "--seconds", "280"],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def keys(self):
        try:
            with open(self.record) as f:
                lines = [json.loads(line) for line in f]
        except OSError:
            return []
        return [v for r in lines for k, v in r.get("headers", [])
                if k.lower() in ("authorization", "x-api-key")]

    def stop(self):
        self.process.kill()
        self.process.wait()


def refusal(call, *args, **params):
    try:
        call(*args, **params)
    except Refused as refused:
        return refused
    check(False, "%r was not refused" % (args,))


def vault_check(engine):
    found = [c for c in engine.call("doctor")["checks"] if c["id"] == "vault"]
    check(len(found) == 1, "doctor says of the vault: %r" % found)
    return found[0]


def vault_files(engine):
    return sorted(os.listdir(os.path.join(engine.state, "vault")))


def tested(engine):
    """Text of a request that needs the key."""
    return engine.call("provider.test", name="p")["text"]


engine = Engine(config=config("passphrase"))
fake = Provider(engine.folder)
engine.write("kenaz.toml", config("passphrase") + provider(fake.port))


def a_passphrase_makes_the_vault_first():
    engine.start()
    check(vault_check(engine)["status"] == "info", "%r" % vault_check(engine))
    refused = refusal(engine.set_secret, "p", KEY)
    check("kenaz secret unlock" in refused.message, refused.message)
    check(vault_files(engine) == [], "files: %r" % vault_files(engine))
    for short in ("", "1234567"):
        refused = refusal(engine.type_secrets, "secret.unlock", short)
        check("passphrase" in refused.message, refused.message)
    check(vault_files(engine) == [], "files: %r" % vault_files(engine))
    made = engine.type_secrets("secret.unlock", WORD)
    check(made["state"] == "open" and made["backend"] == "passphrase", "%r" % made)
    check(vault_files(engine) == ["vault"], "files: %r" % vault_files(engine))
    engine.set_secret("p", KEY)
    tested(engine)
    check(any(KEY in k for k in fake.keys()), "upstream got %r" % fake.keys())
    check(vault_check(engine)["status"] == "ok", "%r" % vault_check(engine))


def a_locked_vault_refuses_and_says_why():
    engine.stop()
    engine.start()
    count = len(fake.keys())
    text = tested(engine)
    check("passphrase" in text and "kenaz secret unlock" in text, text)
    check(len(fake.keys()) == count, "it was sent")
    found = vault_check(engine)
    check(found["status"] == "fail" and "locked" in found["text"] and
          "passphrase" in found["text"] and
          found["fix"] == "kenaz secret unlock", "%r" % found)
    for call in ((engine.set_secret, "p", "x" * 9), (engine.call, "secret.list")):
        check("kenaz secret unlock" in refusal(*call).message, "%r" % (call,))
    refused = refusal(engine.type_secrets, "secret.unlock", WORD + "x")
    check(refused.name == "permission" and "not the vault's passphrase" in
          refused.message, refused.message)
    # Two lines, none, one without its end: nothing is tried.
    check("lines" in refusal(engine.type_secrets, "secret.unlock", WORD, WORD).message, "")
    check("cut off" in refusal(engine.type_secrets, "secret.unlock").message, "")
    engine.type_secrets("secret.unlock", WORD)
    tested(engine)
    check(len(fake.keys()) == count + 1, "it was not sent after the unlock")


def at_a_terminal(answers, *words):
    """Run kenaz on a terminal of its own: (code, all that it showed)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(os.path.join(BIN, "kenaz"), ["kenaz", "--socket", engine.path, *words])
    shown = b""
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if not data:
            break
        shown += data
        if answers and answers[0][0].encode() in shown.rsplit(b"\n", 1)[-1]:
            os.write(fd, answers.pop(0)[1].encode() + b"\n")
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def at_a_terminal_a_passphrase_is_asked_for_first():
    engine.stop()
    engine.start()
    code, shown = at_a_terminal([("Passphrase of the vault", WORD),
                                 ("Secret for typed", KEY + "-typed")],
                                "secret", "set", "typed")
    check(code == 0 and "secret typed is set" in shown, shown)
    check(WORD not in shown and KEY not in shown, "it was shown: " + shown)
    code, shown = at_a_terminal([("Passphrase of the vault", WORD),
                                 ("New passphrase", WORD + " 2"),
                                 ("The same again", WORD + " 3")],
                                "secret", "rewrap")
    check(code == 2 and "differ" in shown and WORD not in shown, shown)
    engine.call("secret.remove", name="typed")


def a_broker_that_dies_locks_it_again():
    broker = engine.pids("kenaz-broker")[0]
    os.kill(broker, signal.SIGKILL)
    wait_for("the next broker", lambda: engine.pids("kenaz-broker") not in ([], [broker]))
    wait_for("its state", lambda: engine.call("secret.status")["state"] == "locked")
    engine.type_secrets("secret.unlock", WORD)


def the_passphrase_is_changed_with_the_old_one_only():
    before = open(os.path.join(engine.state, "vault", "vault"), "rb").read()
    refused = refusal(engine.type_secrets, "secret.rewrap", "no" + WORD, "new" + WORD)
    check(refused.name == "permission", refused.message)
    refused = refusal(engine.type_secrets, "secret.rewrap", WORD, "short")
    check("at least 8" in refused.message, refused.message)
    check(open(os.path.join(engine.state, "vault", "vault"), "rb").read() == before,
          "the vault changed")
    done = engine.type_secrets("secret.rewrap", WORD, "new " + WORD)
    check(done["key_id"] == 2, "%r" % done)
    engine.stop()
    engine.start()
    refusal(engine.type_secrets, "secret.unlock", WORD)
    engine.type_secrets("secret.unlock", "new " + WORD)
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")


def the_backend_is_changed_by_rewrap_only():
    engine.write("kenaz.toml", config("keyfile") + provider(fake.port))
    engine.stop()
    engine.start()
    # The vault names the one, kenaz.toml the other: neither is used.
    found = vault_check(engine)
    check(found["status"] == "fail" and "'passphrase'" in found["text"] and
          "'keyfile'" in found["text"] and "rewrap" in found["fix"], "%r" % found)
    refused = refusal(engine.type_secrets, "secret.unlock", "new " + WORD)
    check("kenaz secret rewrap" in refused.message, refused.message)
    check(vault_files(engine) == ["vault"], "files: %r" % vault_files(engine))
    refused = refusal(engine.type_secrets, "secret.rewrap", "wrong", "")
    check(refused.name == "permission", refused.message)
    check(refusal(engine.call, "secret.list").name == "config", "it stayed open")
    check(vault_files(engine) == ["vault"], "files: %r" % vault_files(engine))
    engine.type_secrets("secret.rewrap", "new " + WORD, "")
    check(vault_files(engine) == ["vault", "vault.key.3"], "%r" % vault_files(engine))
    # And again, with a new key file in the old one's place.
    engine.type_secrets("secret.rewrap", "", "")
    check(vault_files(engine) == ["vault", "vault.key.4"], "%r" % vault_files(engine))
    engine.stop()
    engine.start()
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")
    check("keyfile" in vault_check(engine)["text"], "%r" % vault_check(engine))
    check(vault_check(engine)["status"] == "warn", "a key file is no good news")


def a_kenaz_toml_that_does_not_load_changes_nothing():
    engine.write("kenaz.toml", config("nothing") + provider(fake.port))
    refused = refusal(engine.type_secrets, "secret.rewrap", "", "")
    check("kenaz.toml:" in refused.message, refused.message)
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")
    engine.write("kenaz.toml", config("keyfile") + provider(fake.port))


def a_missing_key_file_is_never_replaced():
    engine.stop()
    path = os.path.join(engine.state, "vault", "vault.key.4")
    os.rename(path, path + ".away")
    engine.start()
    found = vault_check(engine)
    check(found["status"] == "fail" and "missing" in found["text"], "%r" % found)
    refusal(engine.set_secret, "p", KEY)
    check(not os.path.exists(path), "a new key was made beside an old vault")
    os.rename(path + ".away", path)
    engine.type_secrets("secret.unlock", "")
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")


def a_damaged_vault_is_not_opened():
    engine.stop()
    path = os.path.join(engine.state, "vault", "vault")
    good = open(path, "rb").read()
    with open(path, "r+b") as f:
        f.seek(len(good) - 40)
        f.write(bytes([good[len(good) - 40] ^ 1]))
    engine.start()
    found = vault_check(engine)
    check(found["status"] == "fail" and "changed or is damaged" in found["text"],
          "%r" % found)
    with open(path, "wb") as f:
        f.write(good)
    engine.type_secrets("secret.unlock", "")


def credential(folder, name):
    """Encrypted and decrypted by systemd-creds, as a unit's start does it."""
    env = dict(os.environ, SYSTEMD_CREDENTIAL_SECRET=os.path.join(folder, "host"))
    plain, sealed = (os.path.join(folder, name + x) for x in (".plain", ".cred"))
    with open(plain, "wb") as f:
        f.write(os.urandom(32))
    r = subprocess.run(["systemd-creds", "encrypt", "--with-key=host",
                        "--name=" + name, plain, sealed], env=env,
                       capture_output=True, text=True)
    if r.returncode != 0:
        print("skipped: systemd-creds encrypt: " + r.stderr.strip())
        return False
    os.unlink(plain)
    given = os.path.join(folder, "given")
    os.makedirs(given, mode=0o700, exist_ok=True)
    target = os.path.join(given, name)
    subprocess.run(["systemd-creds", "decrypt", "--name=" + name, sealed, target],
                   env=env, check=True, capture_output=True)
    os.chmod(target, 0o400)
    return True


def a_credential_of_systemd_opens_it():
    if os.getuid() != 0 or not shutil.which("systemd-creds"):
        print("skipped: needs root and systemd-creds")
        return
    folder = os.path.join(engine.folder, "creds")
    os.mkdir(folder)
    if not credential(folder, "kenaz-vault-key") or not credential(folder, "second"):
        return
    text = config("systemd-creds") + provider(fake.port)
    # Not given yet: nothing else is tried, and nothing changes.
    engine.write("kenaz.toml", text)
    refused = refusal(engine.type_secrets, "secret.rewrap", "", "")
    check("LoadCredentialEncrypted" in refused.message, refused.message)
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")
    found = vault_check(engine)
    check(found["status"] == "warn" and "keyfile" in found["text"], "%r" % found)
    engine.stop()
    engine.env["CREDENTIALS_DIRECTORY"] = os.path.join(folder, "given")
    engine.start()
    engine.type_secrets("secret.rewrap", "", "")
    check(vault_files(engine) == ["vault"], "files: %r" % vault_files(engine))
    engine.stop()
    engine.start()
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")
    check(vault_check(engine)["status"] == "ok", "%r" % vault_check(engine))
    # Another credential, then the first is taken away.
    engine.write("kenaz.toml", text.replace("[vault]", '[vault]\ncredential = "second"'))
    engine.type_secrets("secret.rewrap", "", "")
    os.unlink(os.path.join(folder, "given", "kenaz-vault-key"))
    engine.stop()
    engine.start()
    check(engine.call("secret.list")["secrets"] == ["p"], "the secret is gone")
    # Another one of the same name opens nothing.
    os.unlink(os.path.join(folder, "given", "second"))
    credential(folder, "second")
    engine.stop()
    engine.start()
    found = vault_check(engine)
    check(found["status"] == "fail" and "does not open this vault" in found["text"],
          "%r" % found)
    del engine.env["CREDENTIALS_DIRECTORY"]


def a_vault_of_a_crash_while_rewrapping_opens():
    """Kill the broker in the middle of rewraps: one state or the next."""
    other = Engine(config=config("keyfile"))
    other.start()
    other.set_secret("one", KEY)

    killed = threading.Event()

    def rewrap():
        # One that begins after the kill may well succeed.
        while not killed.is_set():
            try:
                other.type_secrets("secret.rewrap", "", "")
            except Exception:  # noqa: BLE001: that is the broker's end
                return

    for pause in (0.01, 0.033):
        broker = other.pids("kenaz-broker")[0]
        killed.clear()
        worker = threading.Thread(target=rewrap, daemon=True)
        worker.start()
        time.sleep(pause)  # any moment will do
        os.kill(broker, signal.SIGKILL)
        killed.set()
        worker.join()
        wait_for("the next broker", lambda: other.pids("kenaz-broker") not in ([], [broker]))
        wait_for("the vault", lambda: other.call("secret.status")["state"] == "open")
        check(other.call("secret.list")["secrets"] == ["one"], "the secret is gone")
    # What a rewrap left that did not come to its end is in nobody's way.
    key_id = other.call("secret.status")["key_id"]
    with open(os.path.join(other.state, "vault", "vault.key.%d" % (key_id + 1)), "w") as f:
        f.write("half")
    other.type_secrets("secret.rewrap", "", "")
    check(vault_files(other) == ["vault", "vault.key.%d" % (key_id + 1)],
          "%r" % vault_files(other))
    other.stop()
    other.clean()


def the_environment_is_read_by_import_only():
    env = {"XDG_RUNTIME_DIR": os.path.join(engine.folder, "x"),
           "XDG_STATE_HOME": os.path.join(engine.folder, "xs"),
           "XDG_CONFIG_HOME": os.path.join(engine.folder, "xc"),
           "OPENAI_API_KEY": KEY, "AWS_ACCESS_KEY_ID": "AKIATEST" + KEY[-8:],
           "AWS_SECRET_ACCESS_KEY": KEY + "/x", "AWS_SESSION_TOKEN": "",
           "GROQ_API_KEY": ""}
    os.makedirs(os.path.join(env["XDG_CONFIG_HOME"], "kenaz"), mode=0o700)
    for folder in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        os.mkdir(env[folder], mode=0o700)
    with open(os.path.join(env["XDG_CONFIG_HOME"], "kenaz", "kenaz.toml"), "w") as f:
        f.write(config("keyfile"))
    code, out, err = cli("secret", "import", env=env)
    check(code == 2 and "--yes" in err, "%d %s %s" % (code, out, err))
    check("OPENAI_API_KEY" in out and "AWS_ACCESS_KEY_ID" in out and
          "GROQ" not in out and KEY not in out + err, out)
    check(cli("secret", "import", "NO_SUCH_KEY", env=env)[0] == 2, "it was known")
    code, out, err = cli("secret", "import", "OPENAI_API_KEY", "--yes", env=env)
    check(code == 0 and "bedrock" not in out, "%d %s %s" % (code, out, err))
    code, out, err = cli("secret", "import", "-y", env=env)
    check(code == 0 and KEY not in out + err, "%d %s %s" % (code, out, err))
    code, out, err = cli("-o", "json", "secret", "list", env=env)
    check(sorted(json.loads(out)["secrets"]) == ["bedrock", "openai"], out)
    # The engine that this command started inherited the variables.
    pid = json.loads(cli("-o", "json", "engine", "info", env=env)[1])["pid"]
    with open("/proc/%d/environ" % pid, "rb") as f:
        check(KEY.encode() not in f.read(), "the engine's environment has the key")
    cli("engine", "stop", env=env)


def everything_is_in_the_log():
    if not engine.process:
        engine.start()
    kinds = [(e["kind"], e["attrs"].get("kenaz.phase")) for e in engine.events()]
    for kind in (("vault.opened", None), ("vault.rotated", "intent"),
                 ("vault.rotated", "done"), ("vault.rotated", "failed"),
                 ("secret.set", "done"), ("secret.set", "failed")):
        check(kind in kinds, "no event %r" % (kind,))
    text = json.dumps(engine.events())
    check(WORD not in text and KEY not in text, "the log has a secret")
    engine.stop()
    check(engine.verify().returncode == 0, "the log does not verify")
    log = engine.log()
    check(WORD not in log and KEY not in log, "kenazd.log has a secret")
    fake.stop()
    engine.clean()


main(a_passphrase_makes_the_vault_first,
     a_locked_vault_refuses_and_says_why,
     at_a_terminal_a_passphrase_is_asked_for_first,
     a_broker_that_dies_locks_it_again,
     the_passphrase_is_changed_with_the_old_one_only,
     the_backend_is_changed_by_rewrap_only,
     a_kenaz_toml_that_does_not_load_changes_nothing,
     a_missing_key_file_is_never_replaced,
     a_damaged_vault_is_not_opened,
     a_credential_of_systemd_opens_it,
     a_vault_of_a_crash_while_rewrapping_opens,
     the_environment_is_read_by_import_only,
     everything_is_in_the_log)
