#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad configuration, policy, image, flag or name: one sentence, nothing runs."""

import json
import os
import shutil
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from kenaz import (IMAGES, Connection, Engine, Refused, check, cli, have_image,  # noqa: E402
                   main)


def refuses_to_start(text, name, *words):
    engine = Engine(mock=True)
    engine.write(name, text)
    engine.start(wait=False)
    code = engine.process.wait(20)
    log = engine.log()
    check(code == 1, "%r: exit %d\n%s" % (text, code, log))
    lines = [l for l in log.splitlines() if "error:" in l]
    check(len(lines) == 1, "%r: not one sentence:\n%s" % (text, log))
    for word in words:
        check(word in lines[0], "%r: no %r in %r" % (text, word, lines[0]))
    check(not os.path.exists(engine.path), "it listens all the same")
    engine.process = None
    engine.clean()


def a_bad_configuration_names_file_and_line():
    refuses_to_start("[limits]\nmemory_mib = 'much'\n", "kenaz.toml", "kenaz.toml:2")
    refuses_to_start("[limits]\nmemory = 5\n", "kenaz.toml", "kenaz.toml:2", "memory")
    refuses_to_start("[[provider]]\nname = 'x'\nkind = 'nosuch'\n", "kenaz.toml",
                     "kenaz.toml:3", "anthropic")
    refuses_to_start("this is not toml", "kenaz.toml", "kenaz.toml:1")


def a_bad_policy_names_file_and_line():
    refuses_to_start("[[rule]]\nid = 'a'\neffect = 'perhaps'\ntarget = 'tool'\n",
                     "policy.toml", "policy.toml:3", "allow", "ask", "deny")
    refuses_to_start("[[rule]]\nid = 'a'\neffect = 'allow'\ntarget = 'egress'\nhost = '*'\n",
                     "policy.toml", "policy.toml:5")
    refuses_to_start("[[rule]]\nid = 'a'\neffect = 'allow'\ntarget = 'tool'\nname = []\n",
                     "policy.toml", "policy.toml:5")


def a_policy_with_an_error_is_not_loaded_into_a_running_engine():
    engine = Engine(mock=True).start()
    before = engine.call("policy.show")["digest"]
    engine.write("policy.toml", "[[rule]]\nid = 'a'\n")
    try:
        engine.call("policy.reload")
    except Refused as e:
        check("policy.toml:" in e.message, e.message)
    else:
        check(False, "a bad policy was loaded")
    check(engine.call("policy.show")["digest"] == before, "the old policy is gone")
    engine.stop()
    engine.clean()


def a_changed_image_is_refused():
    if not have_image():
        return
    engine = Engine()
    images = os.path.join(engine.folder, "images")
    shutil.copytree(os.path.join(IMAGES, "mini"), os.path.join(images, "mini"))
    manifest = json.load(open(os.path.join(images, "mini", "manifest.json")))
    initrd = os.path.join(images, "mini", manifest["initrd"]["file"])
    os.chmod(initrd, 0o644)
    with open(initrd, "r+b") as f:
        f.seek(1000)
        byte = f.read(1)
        f.seek(1000)
        f.write(bytes([byte[0] ^ 1]))
    engine.options += ["--image-dir", images]
    engine.start()
    try:
        engine.session()
    except Refused as e:
        check(manifest["initrd"]["file"] in e.message, e.message)
    else:
        check(False, "a changed image was started")
    check(not engine.pids("qemu-system-x86_64"), "QEMU runs")
    try:
        engine.call("session.start", image="nosuch", detach=False)
    except Refused as e:
        check(e.exit == 5 and "nosuch" in e.message, "%r %r" % (e.exit, e.message))
    else:
        check(False, "an image that is not there was started")
    engine.stop()
    engine.clean()


def copy_image(engine):
    images = os.path.join(engine.folder, "images")
    shutil.copytree(os.path.join(IMAGES, "mini"), os.path.join(images, "mini"))
    engine.options += ["--image-dir", images]
    return os.path.join(images, "mini")


def refused_image(engine, *words):
    """The session's start, `image verify` and the log all say why."""
    before = len(engine.events(kind="image.refused"))
    try:
        engine.session()
    except Refused as e:
        check(all(w in e.message for w in words), e.message)
    else:
        check(False, "the image was started")
    check(not engine.pids("qemu-system-x86_64"), "QEMU runs")
    code, _, err = cli("image", "verify", "mini",
                       env={"KENAZ_SOCKET": engine.path})
    check(code == 1 and all(w in err for w in words), "%d %s" % (code, err))
    events = engine.events(kind="image.refused")
    check(len(events) == before + 1, events)
    check(all(w in events[-1]["attrs"]["kenaz.reason"] for w in words), events)
    check(not engine.events(kind="vm.start"), "a VM was started")


def only_signed_images_are_started():
    if not have_image():
        return
    engine = Engine()
    image = copy_image(engine)
    key = os.path.join(engine.folder, "key")
    manifest = os.path.join(image, "manifest.json")
    os.unlink(os.path.join(image, "manifest.sig"))
    engine.start()
    refused_image(engine, "manifest.sig", "only signed images are started")
    code, _, err = cli("image", "key", key)
    check(code == 0, err)
    code, _, err = cli("image", "sign", "--key", key, image)
    check(code == 0, err)
    refused_image(engine, "not trusted here", "image-keys")
    # Trusted from the moment its public half is in the folder, without a
    # restart; not any more once it is gone, nor while others may write it.
    keys = os.path.join(engine.config_dir, "image-keys")
    os.mkdir(keys, 0o755)
    public = os.path.join(keys, "mine.pub")
    shutil.copy(key + ".pub", public)
    os.chmod(public, 0o644)
    code, out, err = cli("image", "verify", "mini",
                         env={"KENAZ_SOCKET": engine.path})
    check(code == 0 and "mine" in out, out + err)
    os.chmod(public, 0o666)
    refused_image(engine, "not trusted here")
    os.chmod(public, 0o644)
    with open(manifest, "a") as f:
        f.write("\n")
    refused_image(engine, "manifest.json is not what key")
    os.chmod(key, 0o644)
    code, _, err = cli("image", "sign", "--key", key, image)
    check(code == 1 and "mode 0600" in err, err)
    os.chmod(key, 0o600)
    check(cli("image", "sign", "--key", key, image)[0] == 0, "sign")
    os.unlink(public)
    refused_image(engine, "not trusted here")
    code, _, err = cli("image", "key", key)
    check(code == 1 and "never overwritten" in err, err)
    engine.stop()
    engine.clean()


def bad_flags_and_names_exit_2_or_5():
    engine = Engine(mock=True).start()
    env = {"KENAZ_SOCKET": engine.path}
    for args, code, word in (
            (("nosuchcommand",), 2, "nosuchcommand"),
            (("session", "nosuch"), 2, "nosuch"),
            (("run", "--nosuch"), 125, "nosuch"),
            (("session", "show", "nosuchsession"), 5, "nosuchsession"),
            (("provider", "test", "nosuch"), 5, "nosuch"),
            (("-o", "yaml", "session", "list"), 2, "yaml"),
            (("secret", "set", "BAD NAME"), 2, "name")):
        got, out, err = cli(*args, env=env)
        check(got == code, "%r: exit %d, %r" % (args, got, err))
        check(word in err, "%r: %r does not say %r" % (args, err, word))
        check("\n" not in err.strip() or "usage" in err.lower() or "try" in err.lower(),
              "%r: more than a sentence: %r" % (args, err))
    engine.stop()
    engine.clean()
    got, out, err = cli("--socket", "/nonexistent/kenaz.sock", "session", "list")
    check(got == 3, "no engine: exit %d %r" % (got, err))


def a_bad_line_on_the_control_socket_gets_an_error():
    engine = Engine(mock=True).start()
    for line, code in ((b"{", -32700), (b"[]", -32600), (b'{"jsonrpc":"2.0"}', -32600),
                       (b'{"jsonrpc":"2.0","id":1,"method":"no.such"}', -32601),
                       (b'{"jsonrpc":"2.0","id":1,"method":"session.list","params":'
                        b'{"x":1}}', -32602),
                       (b'{"jsonrpc":"2.0","id":1,"method":"session.list"} x', -32700),
                       (b'\xff\xfe', -32700)):
        c = Connection(engine.path)
        c.sock.sendall(line + b"\n")
        answer = c.line()
        check(answer.get("error", {}).get("code") == code, "%r: %r" % (line, answer))
        c.close()
    c = socket.socket(socket.AF_UNIX)
    c.connect(engine.path)
    try:
        c.sendall(b"x" * (3 << 20))
        check(c.recv(1) == b"", "a line without an end was kept")
    except (BrokenPipeError, ConnectionResetError):
        pass
    check(engine.call("engine.info")["state"] == "running", "it took harm")
    engine.stop()
    engine.clean()


main(a_bad_configuration_names_file_and_line,
     a_bad_policy_names_file_and_line,
     a_policy_with_an_error_is_not_loaded_into_a_running_engine,
     a_changed_image_is_refused,
     only_signed_images_are_started,
     bad_flags_and_names_exit_2_or_5,
     a_bad_line_on_the_control_socket_gets_an_error)
