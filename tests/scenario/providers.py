#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kenaz provider add, list, test and remove; kenaz alias; against servers."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, cli, main  # noqa: E402


def models(folder, *options):
    p = subprocess.Popen(
        [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
         "--record", os.path.join(folder, "models.jsonl"), "--seconds", "280",
         *options], stdout=subprocess.PIPE, text=True)
    return p, int(p.stdout.readline())


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers whatever the path's first part says."""

    def do_GET(self):
        what = self.path.split("/")[1]
        body = {"html": b"<html>hello</html>", "noutf8": b'{"data":"\xff"}',
                "huge": b'{"data":[' + b'{"id":"m"},' * 200000 + b'{}]}',
                "evil": json.dumps({"data": [{"id": "a\x1b[2Jb"}]}).encode(),
                "ollama": b'{"models":[{"name":"llama3:8b"}]}',
                }.get(what, b"{}")
        self.send_response(int(what) if what.isdigit() else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


engine = Engine(mock=True)
process, port = models(engine.folder)
odd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
threading.Thread(target=odd.serve_forever, daemon=True).start()
engine.start()
TOML = os.path.join(engine.config_dir, "kenaz.toml")


def kenaz(*args):
    return cli("--socket", engine.path, *args)


def good(*args):
    code, out, err = kenaz(*args)
    check(code == 0, "kenaz %s: %d %s" % (" ".join(args), code, err))
    return out + err


def bad(want, *args, exit=None):
    code, out, err = kenaz(*args)
    check(code != 0 and (exit is None or code == exit),
          "kenaz %s: exit code %d" % (" ".join(args), code))
    check(want in err, "kenaz %s said %r, not %r" % (" ".join(args), err, want))
    check("\x1b" not in out + err, "an escape sequence was shown")


def text():
    with open(TOML) as f:
        return f.read()


def byo(name, path="", *more):
    good("provider", "add", name, "--kind", "byo", "--endpoint",
         "http://127.0.0.1:%d%s" % (odd.server_port if path else port, path),
         "--allow-http", "--auth", "none", *more)


def every_key_can_be_given():
    before = text()
    good("provider", "add", "az", "--kind", "byo", "--endpoint",
         "https://x.example/openai/deployments/d", "--api-version",
         "2024-10-21", "--auth", "api-key", "--secret", "azure", "--dialect",
         "chat", "--dialect", "responses", "--proxy", "http://127.0.0.1:3128",
         "--proxy-secret", "p", "--http", "1.1", "--model", "a\"b", "--model",
         "c", "--connect-timeout-s", "3", "--first-byte-timeout-s", "4",
         "--idle-timeout-s", "5", "--total-timeout-s", "6", "--retries", "0",
         "--retry-after-max-s", "7")
    good("provider", "add", "aws", "--kind", "bedrock", "--region",
         "eu-central-1", "--endpoint-variant", "fips", "--auth", "sigv4",
         "--fallback", "az")
    for line in ('dialects = ["chat", "responses"]', 'models = ["a\\"b", "c"]',
                 "first_byte_timeout_s = 4", "retries = 0", 'http = "1.1"',
                 'fallback = ["az"]', 'endpoint_variant = "fips"'):
        check(line in text(), "%s is not in %s" % (line, text()))
    rows = {r["name"]: r for r in engine.call("provider.list")["providers"]}
    check(rows["az"]["dialects"] == ["chat", "responses"] and
          rows["az"]["auth"] == "api-key" and
          rows["az"]["secret_set"] is False, rows["az"])
    check(rows["aws"]["auth"] == "sigv4", rows["aws"])
    check("DIALECTS" in good("provider", "list"), "the list has no dialects")
    bad("fallback of provider aws", "provider", "remove", "az")
    good("provider", "remove", "aws")
    good("provider", "remove", "az")
    check(text() == before, "the file is not as before: %r" % text())
    bad("is not configured", "provider", "remove", "az", exit=5)
    bad("does not speak", "provider", "add", "x", "--kind", "anthropic",
        "--dialect", "chat")
    bad("give a number", "provider", "add", "x", "--kind", "openai",
        "--retries", "many", exit=2)
    check(text() == before, "a refusal changed the file")
    changes = [e["attrs"] for e in engine.events(kind="config.loaded")]
    check([(a.get("kenaz.provider"), a.get("kenaz.config.change"))
           for a in changes[-4:]] == [("az", "add"), ("aws", "add"),
                                      ("aws", "remove"), ("az", "remove")],
          changes)


def a_preview_writes_nothing():
    before = text()
    r = engine.call("provider.add", name="p", kind="anthropic", preview=True)
    check(r["path"] == TOML and r["text"] == '[[provider]]\nname = "p"\n'
          'kind = "anthropic"\nsecret = "p"\n', r)
    check(text() == before, "a preview wrote")


def a_test_lists_the_models():
    byo("local")
    out = good("provider", "test", "local")
    check("HTTP 200" in out and " ms" in out and "1 model" in out and
          "fake" in out.splitlines(), out)
    r = json.loads(kenaz("-o", "json", "provider", "test", "local")[1])
    check(r["models"] == ["fake"] and r["ok"], r)
    sent = engine.events(kind="prompt.sent")[-1]["attrs"]
    check(sent["gen_ai.operation.name"] == "provider.test" and
          sent["url.full"].endswith("/v1/models"), sent)
    got = engine.events(kind="response.received")[-1]["attrs"]
    check(got["kenaz.grant"] == sent["kenaz.grant"] and
          got["http.response.status_code"] == 200 and
          got["kenaz.response.bytes"] > 0, got)


def a_test_can_ask_a_model():
    good("provider", "test", "local", "--model", "fake")
    sent = engine.events(kind="prompt.sent")[-1]
    check(sent["attrs"]["gen_ai.request.model"] == "fake", sent)
    payload = engine.call("audit.payload", seq=sent["seq"])["text"]
    check(json.loads(payload)["max_tokens"] == 1, payload)
    # Bedrock has no list: its own dialect, and a model that must be named.
    good("provider", "add", "rock", "--kind", "bedrock", "--region",
         "eu-central-1", "--endpoint", "http://127.0.0.1:%d" % port,
         "--allow-http", "--dialect", "converse")
    engine.set_secret("rock", "abcdefgh-key")
    good("provider", "test", "rock", "--model", "amazon.nova-micro-v1:0")
    sent = engine.events(kind="prompt.sent")[-1]["attrs"]
    check(sent["url.full"].endswith("nova-micro-v1%3A0/converse"), sent)
    good("provider", "test", "rock")
    good("provider", "add", "only", "--kind", "byo", "--endpoint",
         "http://127.0.0.1:%d" % port, "--allow-http", "--auth", "none",
         "--model", "fake")
    bad("do not include", "provider", "test", "only", "--model", "other",
        exit=6)


def each_failure_has_its_sentence():
    for status, want in ((401, "wants a key"), (403, "wants a key"),
                         (404, "no such path"), (429, "rate limit"),
                         (400, "refused the request"), (402, "credit"),
                         (503, "failed by itself")):
        name = "s%d" % status
        byo(name, "/%d" % status)
        bad("HTTP %d: " % status, "provider", "test", name, exit=1)
        bad(want, "provider", "test", name, exit=1)
        good("provider", "remove", name)
    good("provider", "add", "gone", "--kind", "byo", "--endpoint",
         "http://127.0.0.1:%d" % free_port(), "--allow-http", "--auth", "none")
    bad("is it running", "provider", "test", "gone", exit=1)
    good("provider", "add", "tls", "--kind", "byo", "--endpoint",
         "https://127.0.0.1:%d" % port, "--auth", "none")
    bad("provider tls: ", "provider", "test", "tls", exit=1)
    good("provider", "add", "keyless", "--kind", "openai", "--endpoint",
         "http://127.0.0.1:%d" % port, "--allow-http")
    bad("keyless", "provider", "test", "keyless", exit=1)


def what_is_known_of_models():
    engine.write("kenaz.toml", text() + """
[[provider]]
name = "priced"
kind = "openai"
endpoint = "http://127.0.0.1:%d"
allow_http = true
secret = "priced"

[[model]]
kind = "openai"
name = "gpt-5"
input_price = "1.00"
output_price = 8125000

[[model]]
provider = "priced"
name = "mine"
""" % port)
    engine.call("provider.add", name="router", kind="openrouter", models=["m"])
    rows = {m["name"]: m for m in
            engine.call("provider.models", name="priced")["models"]}
    check(rows["gpt-5"]["price_source"] == "config" and
          rows["gpt-5"]["input_price"] == "1.00" and
          rows["gpt-5"]["output_price"] == "8.125", rows["gpt-5"])
    check(rows["gpt-4o"]["price_source"] == "table" and
          rows["gpt-4o"]["input_price"] == "2.50", rows["gpt-4o"])
    check(rows["mine"]["price_source"] == "unknown" and
          "input_price" not in rows["mine"], rows["mine"])
    r = engine.call("provider.models", name="router")
    check(r["only"] and [(m["name"], m["price_source"]) for m in r["models"]]
          == [("m", "provider")], r)
    out = good("provider", "models", "priced")
    check("PRICE FROM" in out and "is refused" in out, out)
    check("nothing is known" in good("provider", "models", "local"), "local")
    bad("is not configured", "provider", "models", "nosuch", exit=5)


def odd_lists_are_said_so():
    for path, want in (("noutf8", "not UTF-8"),
                       ("huge", "too large"), ("evil", "\\"),
                       ("ollama", "llama3:8b")):
        byo(path, "/" + path)
        out = good("provider", "test", path)
        check("\x1b" not in out, "an escape sequence was shown")
        check(want in out, "%s: %r" % (path, out[-400:]))
        good("provider", "remove", path)


def aliases():
    before = text()
    good("alias", "add", "fast", "local/fake", "gone/org/model")
    check('{provider = "gone", model = "org/model"}' in text(), text())
    check("fast" in good("alias", "list"), "the alias is not listed")
    rows = engine.call("alias.list")["aliases"]
    check(rows == [{"name": "fast", "targets": ["local/fake",
                                                "gone/org/model"]}], rows)
    bad("alias fast names it", "provider", "remove", "local")
    bad("already", "alias", "add", "fast", "local/x")
    bad("no provider", "alias", "add", "other", "nosuch/x")
    bad("PROVIDER/MODEL", "alias", "add", "other", "local")
    bad("PROVIDER/MODEL", "alias", "add", "o\nther", "local/x")
    good("alias", "remove", "fast")
    check(text() == before, "the file is not as before")
    bad("is not configured", "alias", "remove", "fast", exit=5)


def the_broker_forgets_the_removed():
    # More than the broker has room for, one after the other.
    for n in range(40):
        engine.call("provider.add", name="n%d" % n, kind="byo", auth="none",
                    endpoint="http://127.0.0.1:%d" % port, allow_http=True)
        if n % 13 == 0:
            check(engine.call("provider.test", name="n%d" % n)["ok"], n)
        engine.call("provider.remove", name="n%d" % n)
    check(engine.call("provider.test", name="local")["ok"], "local")


def nothing_is_left():
    check(engine.stop() == 0, "kenazd's exit code")
    process.kill()
    process.wait()
    odd.shutdown()
    engine.clean()


main(every_key_can_be_given, a_preview_writes_nothing, a_test_lists_the_models,
     a_test_can_ask_a_model, each_failure_has_its_sentence,
     what_is_known_of_models,
     odd_lists_are_said_so, aliases, the_broker_forgets_the_removed,
     nothing_is_left)
