#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run.py [KIND...] - npm's SDKs against the gate, every provider behind it

openai, @anthropic-ai/sdk and @aws-sdk/client-bedrock-runtime, unmodified, on
npm's own node, run chat, streaming and tool loops. The gate is entered at the
socket that a mock session has in place of a guest, by way of a loopback
listener; audit, broker, core and policy are the real ones. Behind the broker
stands tests/lib/fake_models.py. The packages are installed into build/sdk,
once (KENAZ_SDK_DIR: another place).
"""
import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from kenaz import Engine, Failure, check  # noqa: E402

SDK = os.environ.get("KENAZ_SDK_DIR", os.path.join(TOP, "build", "sdk"))
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
OTHER = "amazon.nova-lite-v1:0"
FAKE = "agent;tool=weather;tool-input={\"city\":\"Kaliningrad\"}"
SIGV4 = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

# kind of provider behind the gate: its entry, secret, models, fake's switches
KINDS = {
    "anthropic": ('kind = "anthropic"', "sk-a", "claude-sonnet-4-5", CLAUDE, ""),
    "openai": ('kind = "openai"', "sk-o", "gpt-5", "gpt-5", ""),
    "openrouter": ('kind = "openrouter"', "sk-r", "meta/llama", "meta/llama", ""),
    "bedrock": ('kind = "bedrock"\nregion = "eu-central-1"', "bearer-key",
                CLAUDE, CLAUDE, ""),
    "bedrock-sigv4": ('kind = "bedrock"\nregion = "eu-central-1"\n'
                      'auth = "sigv4"', SIGV4, OTHER, OTHER,
                      "sigv4=" + SIGV4),
    "bento": ('kind = "bento"', "bento-key", "llama", "llama", ""),
    "byo-chat": ('kind = "byo"\ndialects = ["chat"]', None, "local", "local", ""),
    "byo-responses": ('kind = "byo"\ndialects = ["responses"]\n'
                      'models = ["local"]', None, "local", "local", ""),
    "byo-messages": ('kind = "byo"\ndialects = ["messages"]', None,
                     "local", "local", ""),
}


# Kinds behind which nobody counts tokens; docs/translation.md says which do.
COUNT_NOTHING = ("openrouter", "bento", "byo-chat")


def install():
    """The packages, by npm; the lock of package.json is their versions."""
    os.makedirs(SDK, exist_ok=True)
    stamp = os.path.join(SDK, "installed.json")
    with open(os.path.join(HERE, "package.json")) as f:
        wanted = f.read()
    try:
        with open(stamp) as f:
            if f.read() == wanted:
                return
    except OSError:
        pass
    with open(os.path.join(SDK, "package.json"), "w") as f:
        f.write(wanted)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund",
                    "--loglevel=error"], cwd=SDK, check=True)
    with open(stamp, "w") as f:
        f.write(wanted)


class Door:
    """A loopback listener whose connections lead to the gate's socket."""

    def __init__(self, path):
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()
        self.ready.wait()

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(
            self.serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        try:
            there = await asyncio.open_unix_connection(self.path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, there[1]),
                             self.pump(there[0], writer),
                             return_exceptions=True)

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


def fake(switches):
    process = subprocess.Popen(
        [sys.executable, os.path.join(TOP, "tests", "lib", "fake_models.py"),
         "--behave", ";".join(s for s in (FAKE, switches) if s),
         "--seconds", "900"], stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def run_kind(name, only):
    entry, secret, model, bedrock_model, switches = KINDS[name]
    provider, port = fake(switches)
    config = '[[provider]]\nname = "there"\n%s\nendpoint = ' \
        '"http://127.0.0.1:%d"\nallow_http = true\n' % (entry, port)
    if secret:
        config += 'secret = "there"\n'
    engine = Engine(mock=True, config=config)
    door = None
    try:
        engine.start()
        if secret:
            engine.set_secret("there", secret)
        session, owner, _ = engine.session(provider="there")
        door = Door(os.path.join(engine.runtime, "mock-" + session,
                                 "host-1024"))
        node = os.path.join(SDK, "node_modules", ".bin", "node")
        script = os.path.join(SDK, "clients.mjs")
        shutil.copyfile(os.path.join(HERE, "clients.mjs"), script)
        done = subprocess.run(
            [node, script, "http://127.0.0.1:%d" % door.port, model,
             bedrock_model] + only, capture_output=True, text=True,
            timeout=600, check=False)
        check(done.returncode == 0, done.stderr[-2000:])
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            if line["case"].startswith("count."):
                line["ok"] &= (line.get("text") == "counted") != (
                    name in COUNT_NOTHING)
        check(lines, "no case ran: " + done.stderr[-500:])
        owner.close()
        engine.stop()
        check(engine.verify().returncode == 0, "the log does not verify")
        return lines
    finally:
        if door:
            door.stop()
        if engine.process:
            engine.stop()
        provider.kill()
        provider.wait()
        engine.clean()


def main():
    wanted = [a for a in sys.argv[1:] if a in KINDS] or list(KINDS)
    only = [a for a in sys.argv[1:] if a not in KINDS]
    install()
    failed = 0
    for name in wanted:
        try:
            lines = run_kind(name, only)
        except (Failure, subprocess.SubprocessError) as e:
            print("%s: FAILED: %s" % (name, e))
            failed += 1
            continue
        bad = [line for line in lines if not line["ok"]]
        print("%s: %d of %d cases" % (name, len(lines) - len(bad), len(lines)))
        for line in bad:
            failed += 1
            print("   FAILED %s: %s" % (line["case"],
                                        line.get("error") or line.get("text")))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
