#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An engine of a user who is not root trusts what root installed."""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import BIN, IMAGES, Engine, check, have_image, main  # noqa: E402

UID = 54321
if os.geteuid() != 0 or not shutil.which("setpriv"):
    print("skipped: only root can become another user")
    sys.exit(77)
keys = os.path.join(os.path.dirname(IMAGES), "image-keys")
if not have_image() or not os.path.isdir(keys):
    print("skipped: no image was built here")
    sys.exit(77)

folder = tempfile.mkdtemp(prefix="kz-", dir="/tmp")
os.chmod(folder, 0o755)
installed = os.path.join(folder, "image-keys")
shutil.copytree(keys, installed)
home = os.path.join(folder, "home")
os.mkdir(home, 0o700)
engine = Engine(mock=True, folder=home, env={"KENAZ_IMAGE_KEYS": installed},
                wrap=["setpriv", "--reuid", str(UID), "--regid", str(UID),
                      "--clear-groups"])
for at, _, files in os.walk(home):
    for name in [at] + [os.path.join(at, f) for f in files]:
        os.chown(name, UID, UID)


def ask(*words):
    """As that user: nobody else has a role there."""
    r = subprocess.run(engine.wrap + [os.path.join(BIN, "kenaz"), "--socket",
                                      engine.path, "-o", "json", *words],
                       capture_output=True, text=True, timeout=60)
    return r.stdout + r.stderr


def roots_keys_are_trusted():
    engine.start()
    said = ask("image", "list")
    check('"signed"' in said and '"refused"' not in said, said)
    said = ask("doctor")
    check("no key is trusted" not in said, said)


def others_keys_are_not():
    check(engine.stop() == 0, "kenazd's exit code")
    os.chown(installed, UID + 1, UID + 1)
    engine.start()
    said = ask("image", "list")
    check('"refused"' in said and '"signed"' not in said, said)
    check("is not trusted" in engine.log(), "nothing was said")


def nothing_is_left():
    check(engine.stop() == 0, "kenazd's exit code")
    shutil.rmtree(folder)


main(roots_keys_are_trusted, others_keys_are_not, nothing_is_left)
