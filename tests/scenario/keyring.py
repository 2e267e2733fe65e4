#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The vault's key in a real Secret Service: gnome-keyring on a bus of its own.

Stored, found again after restarts, locked, deleted; no service, one
that hangs, one that is killed in the middle.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, Refused, check, main, wait_for  # noqa: E402

for needed in ("gnome-keyring-daemon", "dbus-daemon", "dbus-send"):
    if not shutil.which(needed):
        print("skipped: %s is not installed" % needed)
        sys.exit(77)

KEY = "sk-test-" + os.urandom(24).hex()
SECRETS = "/org/freedesktop/secrets"
LOGIN = SECRETS + "/collection/login"
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""


class Desktop:
    """A bus without any service of its own, and a keyring on it."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("bus", "home", "run"):
            os.mkdir(os.path.join(folder, name), mode=0o700)
        with open(os.path.join(folder, "bus.conf"), "w") as f:
            f.write(BUS % os.path.join(folder, "bus"))
        self.bus = subprocess.Popen(
            ["dbus-daemon", "--config-file=" + os.path.join(folder, "bus.conf"),
             "--nofork", "--print-address"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.address = self.bus.stdout.readline().strip()
        home = os.path.join(folder, "home")
        self.env = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8",
                    "XDG_DATA_HOME": home, "XDG_RUNTIME_DIR": os.path.join(folder, "run"),
                    "DBUS_SESSION_BUS_ADDRESS": self.address}
        self.daemon = None

    def start(self):
        self.daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--components=secrets",
             "--unlock"], env=self.env, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemon.stdin.write(b"pw")
        self.daemon.stdin.close()
        wait_for("the Secret Service", lambda: self.call("ReadAlias", "string:default"))

    def call(self, method, *args, path=SECRETS, interface="org.freedesktop.Secret.Service"):
        r = subprocess.run(["dbus-send", "--bus=" + self.address, "--print-reply",
                            "--reply-timeout=5000", "--dest=org.freedesktop.secrets",
                            path, interface + "." + method, *args],
                           env=self.env, capture_output=True, text=True)
        return r.stdout if r.returncode == 0 else ""

    def lock(self):
        check(self.call("Lock", "array:objpath:" + LOGIN), "the keyring was not locked")

    def unlock(self):
        """As a new login does it: a daemon that gets the password."""
        self.stop()
        self.start()

    def items(self):
        text = self.call("Get", "string:org.freedesktop.Secret.Collection",
                         "string:Items", path=LOGIN,
                         interface="org.freedesktop.DBus.Properties")
        return re.findall(r'object path "([^"]+)"', text)

    def delete(self, item):
        check(self.call("Delete", path=item, interface="org.freedesktop.Secret.Item"),
              "the item was not deleted")

    def stop(self):
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
        self.daemon = None

    def end(self):
        self.stop()
        self.bus.kill()
        self.bus.wait()


def refusal(call, *args, **params):
    try:
        call(*args, **params)
    except Refused as refused:
        return refused
    check(False, "%r was not refused" % (args,))


def state():
    return engine.call("secret.status")["state"]


def settled():
    wait_for("the vault's state", lambda: state() != "opening", 30)
    return state()


def restart():
    engine.stop()
    engine.start()
    return settled()


def vault_check():
    return [c for c in engine.call("doctor")["checks"] if c["id"] == "vault"][0]


# Nothing listens there: what counts is whether there is a key to send.
PROVIDER = ('[[provider]]\nname = "p"\nkind = "byo"\nsecret = "a"\n'
            'endpoint = "https://127.0.0.1:9"\n')


def configure(backend):
    engine.write("kenaz.toml", '[vault]\nbackend = "%s"\n%s' % (backend, PROVIDER))


engine = Engine()
configure("secret-service")
engine.env.pop("DBUS_SESSION_BUS_ADDRESS", None)
engine.env["XDG_RUNTIME_DIR"] = engine.folder
desktop = Desktop(engine.folder)


def without_a_session_there_is_no_vault():
    engine.start()
    refused = refusal(engine.set_secret, "a", KEY)
    check("DBUS_SESSION_BUS_ADDRESS" in refused.message, refused.message)
    check(os.listdir(os.path.join(engine.state, "vault")) == [], "files were made")


def without_a_service_there_is_no_vault():
    engine.stop()
    engine.env["DBUS_SESSION_BUS_ADDRESS"] = desktop.address
    engine.start()
    refused = refusal(engine.set_secret, "a", KEY)
    check("no Secret Service runs" in refused.message, refused.message)
    check(os.listdir(os.path.join(engine.state, "vault")) == [], "files were made")


def the_key_is_an_item_of_the_keyring():
    desktop.start()
    engine.set_secret("a", KEY)
    check(len(desktop.items()) == 1, "items: %r" % desktop.items())
    check(os.listdir(os.path.join(engine.state, "vault")) == ["vault"],
          "more than the vault")
    wait_for("kenaz-keychain to end", lambda: not engine.pids("kenaz-keychain"))
    check(restart() == "open", "%r" % engine.call("secret.status"))
    check(engine.call("secret.list")["secrets"] == ["a"], "the secret is gone")
    check(vault_check()["status"] == "ok" and "secret-service" in vault_check()["text"],
          "%r" % vault_check())


def a_locked_keyring_is_said_and_tried_again():
    desktop.lock()
    check(restart() == "locked", state())
    found = vault_check()
    check(found["status"] == "fail" and "the keyring is locked" in found["text"] and
          "unlock" in found["fix"], "%r" % found)
    # An unattended try asks nobody; an unlock does, and nobody answers here.
    refused = refusal(engine.set_secret, "b", KEY)
    check("the keyring is locked" in refused.message, refused.message)
    refused = refusal(engine.type_secrets, "secret.unlock", "")
    check("nobody unlocked it" in refused.message, refused.message)
    text = engine.call("provider.test", name="p")["text"]
    check("the keyring is locked" in text, text)
    # A request finds out that somebody logged in meanwhile.
    desktop.unlock()
    wait_for("the vault", lambda: "keyring" not in
             engine.call("provider.test", name="p")["text"] and state() == "open")
    check(engine.call("secret.list")["secrets"] == ["a"], "the secret is gone")


def a_rewrap_makes_a_new_item_and_forgets_the_old():
    before = desktop.items()
    engine.type_secrets("secret.rewrap", "", "")
    after = desktop.items()
    check(len(after) == 1 and after != before, "%r, then %r" % (before, after))
    check(restart() == "open", state())
    # Out of the keyring, and back into it.
    configure("keyfile")
    engine.type_secrets("secret.rewrap", "", "")
    check(desktop.items() == [], "items: %r" % desktop.items())
    configure("secret-service")
    engine.type_secrets("secret.rewrap", "", "")
    check(len(desktop.items()) == 1, "items: %r" % desktop.items())
    check(os.listdir(os.path.join(engine.state, "vault")) == ["vault"],
          "the key file is still there")


def a_rewrap_that_cannot_reach_the_keyring_changes_nothing():
    configure("keyfile")
    engine.type_secrets("secret.rewrap", "", "")
    configure("secret-service")
    desktop.stop()
    refused = refusal(engine.type_secrets, "secret.rewrap", "", "")
    check("no Secret Service" in refused.message, refused.message)
    check(engine.call("secret.status")["backend"] == "keyfile", "it moved")
    check(engine.call("secret.list")["secrets"] == ["a"], "the secret is gone")
    desktop.start()
    engine.type_secrets("secret.rewrap", "", "")


def killed_in_the_middle():
    engine.stop()
    os.kill(desktop.daemon.pid, signal.SIGSTOP)
    engine.start()
    check(state() == "opening", state())
    wait_for("the question", lambda: engine.pids("kenaz-keychain"))
    desktop.stop()
    check(settled() == "locked", state())
    check("keyring" in vault_check()["fix"], "%r" % vault_check())
    desktop.start()
    engine.type_secrets("secret.unlock", "")
    check(engine.call("secret.list")["secrets"] == ["a"], "the secret is gone")


def the_helper_killed_in_the_middle():
    engine.stop()
    os.kill(desktop.daemon.pid, signal.SIGSTOP)
    engine.start()
    helper = wait_for("the question", lambda: engine.pids("kenaz-keychain"))
    os.kill(helper[0], signal.SIGKILL)
    check(settled() == "locked", state())
    check("ended without an answer" in engine.call("secret.status")["text"],
          "%r" % engine.call("secret.status"))
    os.kill(desktop.daemon.pid, signal.SIGCONT)
    engine.type_secrets("secret.unlock", "")


def the_helper_is_jailed_and_alone_with_glib():
    helper = wait_for("the question", lambda: engine.pids("kenaz-keychain"))[0]
    wait_for("its jail", lambda: "Seccomp:\t2" in open("/proc/%d/status" % helper).read())
    status = open("/proc/%d/status" % helper).read()
    check("NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status, status)
    if os.getuid() == 0:
        for pid, (name, _) in engine.tree().items():
            with open("/proc/%d/maps" % pid) as f:
                has = "libglib" in f.read()
            check(has == (name == "kenaz-keychain"), name + ": GLib is where it must not be")


def one_that_hangs_is_given_up():
    os.kill(desktop.daemon.pid, signal.SIGSTOP)
    engine.stop()
    engine.start()
    # Everything else goes on meanwhile.
    check(state() == "opening", state())
    the_helper_is_jailed_and_alone_with_glib()
    check(engine.call("engine.info")["state"] == "running", "the engine waits")
    check(settled() == "locked", state())
    check("in time" in engine.call("secret.status")["text"],
          "%r" % engine.call("secret.status"))
    os.kill(desktop.daemon.pid, signal.SIGCONT)
    engine.type_secrets("secret.unlock", "")


def a_deleted_item_is_not_made_anew():
    item = desktop.items()[0]
    desktop.delete(item)
    check(restart() == "locked", state())
    check("has no key for this vault" in engine.call("secret.status")["text"],
          "%r" % engine.call("secret.status"))
    refusal(engine.set_secret, "b", KEY)
    check(desktop.items() == [], "a new key was made beside an old vault")


def an_open_vault_survives_the_loss_of_its_item():
    engine.stop()
    shutil.rmtree(os.path.join(engine.state, "vault"))
    engine.start()
    settled()
    engine.set_secret("a", KEY)
    desktop.delete(desktop.items()[0])
    engine.type_secrets("secret.rewrap", "", "")
    check(restart() == "open", state())
    check(engine.call("secret.list")["secrets"] == ["a"], "the secret is gone")


def the_log_verifies_and_nobody_wrote_the_key():
    rotated = [e["attrs"] for e in engine.events(kind="vault.rotated")]
    check(any(a.get("kenaz.phase") == "done" for a in rotated), "%r" % rotated)
    engine.stop()
    check(engine.verify().returncode == 0, "the log does not verify")
    log = engine.log()
    check(KEY not in log and "kenaz-vault-key:1" not in log, "kenazd.log has a key")
    desktop.end()
    engine.clean()


try:
    main(without_a_session_there_is_no_vault,
         without_a_service_there_is_no_vault,
         the_key_is_an_item_of_the_keyring,
         a_locked_keyring_is_said_and_tried_again,
         a_rewrap_makes_a_new_item_and_forgets_the_old,
         a_rewrap_that_cannot_reach_the_keyring_changes_nothing,
         killed_in_the_middle,
         the_helper_killed_in_the_middle,
         one_that_hangs_is_given_up,
         a_deleted_item_is_not_made_anew,
         an_open_vault_survives_the_loss_of_its_item,
         the_log_verifies_and_nobody_wrote_the_key)
finally:
    desktop.end()
