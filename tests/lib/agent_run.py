# SPDX-License-Identifier: Apache-2.0
"""One agent from npm in a virtual machine, against a fake provider.

Each agent's file says how it is configured and started; what it must do is
the same: a task through a tool of its own, whose call is in the log; and a
refusal that it reports when a rule denies the call.
"""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import kenaz  # noqa: E402
from kenaz import Engine, check, have_image, main  # noqa: E402

IMAGE = os.environ.get("KENAZ_AGENTS_IMAGE", "agents")
MEMORY_MIB = 1536
SECRET = "sk-test-of-an-agent"
# Hundreds of megabytes of program, translated by QEMU on a busy machine.
kenaz.BOOT_S = 1200


class Agent:
    """What differs: all of it is told by the agent's own file."""

    name = ""                 # the program
    kind = 'kind = "openai"'  # of the provider behind the gate
    model = "fake"
    tool = ""                 # the tool that runs a shell command
    argument = "command"      # its argument that holds the command
    files = {}                # path in the home: text
    command = ()              # of a task; the prompt comes last
    environment = ()

    def input(self, shell):
        return {self.argument: shell}


class Run:
    def __init__(self, agent):
        self.agent = agent
        if not have_image(IMAGE):
            print("skipped: build/image/%s is not built (make image-agents)"
                  % IMAGE)
            sys.exit(77)
        policy = """
[[rule]]
id = "test.no-touching-secrets"
effect = "deny"
target = "tool"
name = "%s"
args = [{ name = "%s", glob = "*secrets*" }]
reason = "secrets are not for agents"
""" % (agent.tool, agent.argument)
        self.engine = Engine(policy=policy)
        self.control = os.path.join(self.engine.folder, "control")
        self.record = os.path.join(self.engine.folder, "requests.jsonl")
        self.provider = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "fake_models.py"),
             "--record", self.record, "--control", self.control,
             "--seconds", "7200"], stdout=subprocess.PIPE, text=True)
        port = int(self.provider.stdout.readline())
        self.engine.write("kenaz.toml", """
[[provider]]
name = "there"
%s
secret = "there"
endpoint = "http://127.0.0.1:%d"
allow_http = true

[limits]
session_memory_max_mib = 4096
""" % (agent.kind, port))

    def begin(self):
        self.engine.start()
        self.engine.set_secret("there", SECRET)
        self.session, self.owner, started = self.engine.session(
            image=IMAGE, memory_mib=MEMORY_MIB)
        print("   booted in %d ms" % started["total_ms"])
        for path, text in self.agent.files.items():
            code, _, err = self.engine.run(self.session, [
                "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh",
                "/home/agent/" + path], stdin=text.encode())
            check(code == 0, err)

    def tell(self, shell):
        with open(self.control, "w") as f:
            f.write("agent;tool=%s;tool-input=%s" % (
                self.agent.tool, json.dumps(self.agent.input(shell))))

    def ask(self, prompt):
        began = time.monotonic()
        code, out, err = self.engine.run(self.session, [
            "sh", "-c", "cd /home/agent && exec \"$@\" </dev/null", "sh", "env",
            *self.agent.environment, *self.agent.command, prompt])
        print("   %s took %.0f s" % (self.agent.name,
                                     time.monotonic() - began))
        said = (out + err).decode("utf-8", "replace")
        check(code == 0, "%d %s\n%s" % (code, said[-3000:], self.refusals()))
        return said

    def events(self, kind):
        return [e["attrs"] for e in self.engine.events(session=self.session,
                                                       kind=kind)]

    def refusals(self):
        return "\n".join(map(json.dumps, self.events("policy.deny")))

    def end(self):
        self.provider.kill()
        self.provider.wait()
        if self.engine.process:
            self.engine.stop()
        if not os.environ.get("KEEP"):
            self.engine.clean()


def run(agent):
    r = Run(agent)
    said = "made-by-" + agent.name

    def a_task_is_completed_in_the_vm_and_its_call_is_in_the_log():
        r.begin()
        r.tell("echo %s > /home/agent/made.txt && cat /home/agent/made.txt"
               % said)
        out = r.ask("Write %s into made.txt in your home and show it." % said)
        check("The tool said:" in out and said in out, out)
        code, out, _ = r.engine.run(r.session, ["cat", "/home/agent/made.txt"])
        check(code == 0 and out.decode().strip() == said, "%d %r" % (code, out))
        calls = r.events("tool.invoked")
        check(agent.tool in [c["gen_ai.tool.name"] for c in calls], calls)
        check(calls[0]["gen_ai.tool.call.id"] in
              [d["gen_ai.tool.call.id"] for d in r.events("tool.completed")],
              "no result in the log")

    def a_denied_call_becomes_a_refusal_that_it_reports():
        r.tell("cat /home/agent/secrets")
        before = len(r.events("tool.invoked"))
        out = r.ask("Show me the secrets in your home.")
        check("test.no-touching-secrets" in out, out)
        rules = [e["kenaz.policy.rule"] for e in r.events("policy.deny")
                 if e["kenaz.policy.target"] == "tool"]
        check(rules == ["test.no-touching-secrets"], rules)
        check(len(r.events("tool.invoked")) == before,
              "the denied call is in the log as invoked")

    def it_never_held_the_key_and_the_log_verifies():
        with open(r.record) as f:
            requests = [q for q in map(json.loads, f) if q["event"] ==
                        "request"]
        check(requests, "the provider saw nothing")
        check(any(SECRET in v for _, v in requests[-1]["headers"]),
              requests[-1]["headers"])
        code, out, _ = r.engine.run(r.session, ["sh", "-c",
                                                "env; cat /proc/self/environ"])
        check(code == 0 and SECRET.encode() not in out, "the key is inside")
        r.engine.open.remove(r.owner)
        r.owner.close()
        r.engine.stop()
        done = r.engine.verify()
        check(done.returncode == 0, done.stdout + done.stderr)

    try:
        code = main(a_task_is_completed_in_the_vm_and_its_call_is_in_the_log,
                    a_denied_call_becomes_a_refusal_that_it_reports,
                    it_never_held_the_key_and_the_log_verifies)
    finally:
        r.end()
    sys.exit(code)
