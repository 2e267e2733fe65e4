#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Both fingerprints, recomputed from the log and from the files themselves."""

import hashlib
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import IMAGES, Engine, check, cli, have_image, main  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

engine = Engine().start()
MINI = os.path.join(IMAGES, "mini")
session = None


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sha256_of(path):
    with open(path, "rb") as f:
        return sha256(f.read())


def document(**parts):
    """As docs/fingerprint.md says: order kept, no white space."""
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()


def vector(argv):
    return sha256(b"".join(a.encode() + b"\0" for a in argv))


def event(kind):
    found = engine.events(session=session, kind=kind)
    check(len(found) == 1, "%d events %s" % (len(found), kind))
    return found[0]


def a_session_runs():
    global session
    session, owner, _ = engine.session()
    code, out, _ = cli("session", "show", session, env={"KENAZ_SOCKET": engine.path})
    check(code == 0, "session show: %d" % code)
    start = event("session.start")["attrs"]
    for words in (start["kenaz.session.fingerprint"], start["kenaz.vm.fingerprint"],
                  "its id, user, policy and nonce", "equal machines have equal ones",
                  "verified at this start", "the processor that the guest sees"):
        check(words in out, "session show does not say %r:\n%s" % (words, out))
    owner.close()
    engine.wait_event("session.end", session=session)


def the_machines_fingerprint_is_recomputed():
    a = event("vm.start")["attrs"]
    argv = a["kenaz.vm.argv"]
    middle = argv.index("--")
    check(vector(argv) == a["kenaz.vm.jail"], "digest of the jail's vector")
    check(vector(argv[middle + 1:]) == a["kenaz.qemu.arguments"],
          "digest of QEMU's vector")
    check(a["kenaz.vm.kernel_command_line"] in argv, "the command line")
    more = {"start": a["kenaz.vm.start"]}
    if more["start"] == "template":
        more["template"] = a["kenaz.vm.template"]
    more["vsock"] = a["kenaz.vm.vsock"]
    got = sha256(document(
        v=1, image=a["kenaz.image.name"], manifest=a["kenaz.image.manifest"],
        kernel=a["kenaz.image.kernel"], initrd=a["kenaz.image.initrd"],
        qemu=a["kenaz.qemu.digest"], qemu_version=a["kenaz.qemu.version"],
        arguments=a["kenaz.qemu.arguments"], jail=a["kenaz.vm.jail"],
        memory_mib=a["kenaz.vm.memory_mib"], vcpus=a["kenaz.vm.vcpus"],
        accelerator=a["kenaz.vm.accelerator"], cpu=a["kenaz.vm.cpu"], **more))
    check(got == a["kenaz.vm.fingerprint"], "%s is not %s" % (
        got, a["kenaz.vm.fingerprint"]))


def its_parts_are_the_files():
    a = event("vm.start")["attrs"]
    for name, file in (("manifest", "manifest.json"), ("kernel", "vmlinux"),
                       ("initrd", "initrd.cpio")):
        check(sha256_of(os.path.join(MINI, file)) == a["kenaz.image." + name], name)
    qemu = os.path.realpath(shutil.which("qemu-system-x86_64"))
    check(sha256_of(qemu) == a["kenaz.qemu.digest"], "QEMU")


def the_sessions_fingerprint_is_recomputed():
    e = event("session.start")
    a = e["attrs"]
    check(a["kenaz.vm.fingerprint"] == event("vm.start")["attrs"]["kenaz.vm.fingerprint"],
          "two machines")
    got = sha256(document(
        v=1, vm=a["kenaz.vm.fingerprint"], session=e["session"],
        user=a["kenaz.user"], policy=e["policy"], nonce=a["kenaz.session.nonce"]))
    check(got == a["kenaz.session.fingerprint"], "%s is not %s" % (
        got, a["kenaz.session.fingerprint"]))


def events_are_listed_by_image():
    everything = engine.events()
    mine = [e["seq"] for e in everything if e.get("session") == session]
    check(len(mine) > 3 and len(mine) < len(everything), "events of the session")
    a = event("vm.start")["attrs"]
    for image in ("mini", a["kenaz.image.manifest"], a["kenaz.image.kernel"][:12],
                  a["kenaz.image.initrd"], a["kenaz.vm.fingerprint"][:8]):
        got = [e["seq"] for e in engine.events(image=image)]
        check(got == mine, "%s: %r, not %r" % (image, got, mine))
    # Backwards the session's start lies behind its other events.
    page = engine.call("audit.list", image="mini", backward=True, limit=2)
    check([e["seq"] for e in page["events"]] == mine[-2:], "backwards")
    for image in ("dev", "00000000", a["kenaz.image.manifest"][:7]):
        check(engine.events(image=image) == [], "events of %s" % image)
    code, out, _ = cli("-o", "jsonl", "audit", "list", "--image", "mini", "--kind",
                       "session.end", env={"KENAZ_SOCKET": engine.path})
    check(code == 0 and [json.loads(line)["kind"] for line in out.splitlines()] ==
          ["session.end"], "audit list --image: %r" % out)


def it_all_ends_and_the_log_verifies():
    check(engine.stop() == 0, "exit code")
    r = engine.verify()
    check(r.returncode == 0, "verify: " + r.stdout + r.stderr)
    engine.clean()


main(a_session_runs, the_machines_fingerprint_is_recomputed, its_parts_are_the_files,
     the_sessions_fingerprint_is_recomputed, events_are_listed_by_image,
     it_all_ends_and_the_log_verifies)
