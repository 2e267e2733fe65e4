#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Claude Code from npm, unmodified, in a virtual machine.

Against a fake provider that answers with a tool call: the call runs in the
VM and is in the log; denied by a rule, Claude Code gets a refusal and reports
it. Needs the image `agents` (make image-agents). Minutes under emulation.
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import kenaz  # noqa: E402
from kenaz import Engine, FakeProvider, check, have_image, main  # noqa: E402

IMAGE = os.environ.get("KENAZ_AGENTS_IMAGE", "agents")
if not have_image(IMAGE):
    print("skipped: build/image/%s is not built (make image-agents)" % IMAGE)
    sys.exit(77)
# A quarter of a gigabyte of program, translated by QEMU on a busy machine.
kenaz.BOOT_S = 1200

MEMORY_MIB = 1536
SAID = "made-by-claude-code"
COMMAND = "echo %s > /home/agent/made.txt && cat /home/agent/made.txt" % SAID
POLICY = """
[[rule]]
id = "test.no-touching-secrets"
effect = "deny"
target = "tool"
name = "Bash"
args = [{ name = "command", glob = "*secrets*" }]
reason = "secrets are not for agents"
"""


def tell(command):
    """Have the provider answer with a call of Bash."""
    with open(control, "w") as f:
        f.write("agent;tool=Bash;tool-input=" + json.dumps(
            {"command": command, "description": "Do what was asked"}))


engine = Engine(policy=POLICY)
control = os.path.join(engine.folder, "control")
provider = FakeProvider(engine.folder, "--control", control, seconds=7200)
engine.write("kenaz.toml", provider.config("""
[limits]
session_memory_max_mib = 4096
"""))
engine.start()
engine.set_secret("anthropic", "sk-test-claude-code")
session, owner, started = engine.session(image=IMAGE, memory_mib=MEMORY_MIB)
print("   booted in %d ms" % started["total_ms"])


def claude(prompt):
    """Its answer, as it prints it for other programs."""
    began = time.monotonic()
    code, out, err = engine.run(session, [
        "claude", "-p", prompt, "--output-format", "json",
        "--dangerously-skip-permissions"])
    print("   claude took %.0f s" % (time.monotonic() - began))
    check(code == 0, "%d %r %r\n%s" % (code, out[-2000:], err[-2000:],
                                      refusals()))
    return json.loads(out)


def refusals():
    return "\n".join(json.dumps(e["attrs"]) for e in engine.events(
        session=session) if e["kind"] in ("policy.deny", "image.refused"))


def the_package_is_the_registry_s_own():
    code, out, err = engine.run(session, ["claude", "--version"])
    check(code == 0 and b"Claude Code" in out, "%d %r %r" % (code, out, err))
    print("   " + out.decode().strip())


def a_task_is_completed_in_the_vm_and_its_call_is_in_the_log():
    tell(COMMAND)
    answer = claude("Write %s into made.txt in your home and show it." % SAID)
    check(not answer["is_error"], answer)
    check("The tool said: " + SAID in answer["result"], answer["result"])
    code, out, _ = engine.run(session, ["cat", "/home/agent/made.txt"])
    check(code == 0 and out.decode().strip() == SAID, "%d %r" % (code, out))
    calls = engine.events(session=session, kind="tool.invoked")
    check([c["attrs"]["gen_ai.tool.name"] for c in calls] == ["Bash"], calls)
    done = engine.events(session=session, kind="tool.completed")
    check([d["attrs"]["gen_ai.tool.call.id"] for d in done] ==
          [calls[0]["attrs"]["gen_ai.tool.call.id"]], done)
    check(not engine.events(session=session, kind="policy.deny") or
          all(e["attrs"]["kenaz.policy.target"] == "egress" for e in
              engine.events(session=session, kind="policy.deny")), refusals())


def a_denied_call_becomes_a_refusal_that_it_reports():
    tell("cat /home/agent/secrets")
    before = len(engine.events(session=session, kind="tool.invoked"))
    answer = claude("Show me the secrets in your home.")
    check("test.no-touching-secrets" in answer["result"], answer)
    denied = [e for e in engine.events(session=session, kind="policy.deny")
              if e["attrs"]["kenaz.policy.target"] == "tool"]
    check([e["attrs"]["kenaz.policy.rule"] for e in denied] ==
          ["test.no-touching-secrets"], denied)
    after = len(engine.events(session=session, kind="tool.invoked"))
    check(before == after, "the denied call is in the log as invoked")


def it_never_held_the_key():
    for request in provider.requests():
        headers = dict(request["headers"])
        check(headers.get("x-api-key") == "sk-test-claude-code" or
              headers.get("authorization") == "Bearer sk-test-claude-code",
              headers)
    code, out, _ = engine.run(session, ["sh", "-c", "env; cat /proc/self/environ"])
    check(code == 0 and b"sk-test-claude-code" not in out, "the key is inside")


def the_log_verifies():
    engine.open.remove(owner)
    owner.close()
    engine.stop()
    done = engine.verify()
    check(done.returncode == 0, done.stdout + done.stderr)


try:
    code = main(the_package_is_the_registry_s_own,
                a_task_is_completed_in_the_vm_and_its_call_is_in_the_log,
                a_denied_call_becomes_a_refusal_that_it_reports,
                it_never_held_the_key,
                the_log_verifies)
finally:
    provider.stop()
    if engine.process:
        engine.stop()
    if not os.environ.get("KEEP"):
        engine.clean()
sys.exit(code)
