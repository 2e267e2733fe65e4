#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of every dialect, behind them providers of every dialect.

Real core, audit, broker and gate; the clients and the provider are written
from the providers' documents (tests/lib), and share no code with Kenaz.
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from dialect_client import Broken, DIALECTS, ask, count  # noqa: E402
from kenaz import Engine, check, main  # noqa: E402

CLAUDE = "anthropic.claude-sonnet-4-5"
PROVIDERS = {
    "messages": ('kind = "byo"\ndialects = ["messages"]', "m"),
    "chat": ('kind = "byo"\ndialects = ["chat"]', "m"),
    "responses": ('kind = "byo"\ndialects = ["responses"]', "m"),
    "invoke": ('kind = "bedrock"\nregion = "eu-central-1"\n'
               'dialects = ["invoke"]\nsecret = "there"', CLAUDE),
    "converse": ('kind = "bedrock"\nregion = "eu-central-1"\n'
                 'dialects = ["converse"]\nsecret = "there"', CLAUDE),
}
# Some servers answer 400 to stream_options.
REFUSES_USAGE = 'kind = "byo"\ndialects = ["chat"]\nstream_usage = false'
POLICY = """
[[rule]]
id = "test.no-prague"
effect = "deny"
target = "tool"
name = "weather"
args = [{ name = "city", glob = "Prague*" }]
"""

fake = subprocess.Popen(
    [sys.executable, os.path.join(HERE, "..", "lib", "fake_models.py"),
     "--stdin-ends"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
port = int(fake.stdout.readline())
engine = Engine(mock=True, policy=POLICY, config="".join(
    '[[provider]]\nname = "%s"\n%s\nendpoint = "http://127.0.0.1:%d"\n'
    'allow_http = true\nretries = 0\n' % (name, text, port)
    for name, (text, _) in dict(PROVIDERS, old=(REFUSES_USAGE, "")).items()) +
    "[inference]\ncircuit_failures = 0\n").start()
engine.set_secret("there", "key-of-dialects")
gates = {}
for name in PROVIDERS:
    session, _, _ = engine.session(provider=name)
    gates[name] = os.path.join(engine.runtime, "mock-" + session, "host-1024")


def pairs():
    for name, (_, model) in PROVIDERS.items():
        for dialect in DIALECTS:
            for stream in (False, True):
                yield (name, model, dialect, stream,
                       "%s behind %s, stream %s" % (name, dialect, stream))


def a_text_arrives_as_it_was_sent():
    text = "Gr\u00fc\u00dfe, \u20ac and \U0001f600"
    for name, model, dialect, stream, what in pairs():
        told = "fake: chunk=3;deltas=5;thinking=hm;text=" + text
        answer = ask(gates[name], dialect, told, (), stream, model)
        check(answer.text == text, "%s: %r" % (what, answer.text))


def calls_arrive_whole():
    value = {"city": "Kaliningrad \u20ac"}
    for name, model, dialect, stream, what in pairs():
        told = "fake: deltas=7;tool=weather;tool-input=" + json.dumps(value)
        answer = ask(gates[name], dialect, told, ["weather"], stream, model)
        check(answer.calls == [("weather", value)] and
              answer.text == "I will call a tool.",
              "%s: %r %r" % (what, answer.text, answer.calls))


def a_denied_call_becomes_a_text_that_names_the_rule():
    told = 'fake: tool=weather;tool-input={"city": "Prague"}'
    for name, model, dialect, stream, what in pairs():
        answer = ask(gates[name], dialect, told, ["weather"], stream, model)
        check(not answer.calls and "test.no-prague" in answer.text,
              "%s: %r %r" % (what, answer.text, answer.calls))


def what_breaks_off_is_an_error():
    for fault in ("truncate=0", "truncate=300", "error-event", "status=500"):
        for name, model, dialect, _, what in pairs():
            try:
                answer = ask(gates[name], dialect, "fake: text=%s;%s" % (
                    "x" * 400, fault), (), True, model)
            except Broken:
                continue
            check(False, "%s, %s: %r" % (what, fault, answer.text))


def usage_is_asked_for_unless_told_not_to():
    where, _, _ = engine.session(provider="old")
    gate = os.path.join(engine.runtime, "mock-" + where, "host-1024")
    for dialect in DIALECTS:
        for _ in range(2):
            answer = ask(gate, dialect, "fake: no-usage;text=there")
            check(answer.text == "there", "%s: %r" % (dialect, answer.text))
    ask(gates["chat"], "chat", "fake: text=there")
    for session, known in ((where, False), (gates["chat"], True)):
        name = session if session == where else \
            os.path.basename(os.path.dirname(session))[len("mock-"):]
        last = engine.events(session=name, kind="response.received")[-1]
        check(("gen_ai.usage.input_tokens" in last["attrs"]) == known,
              "usage of %s: %r" % (name, last["attrs"]))


def counts_are_the_providers():
    """No provider of chat completions counts: 404, in the client's words."""
    for name, (_, model) in PROVIDERS.items():
        for dialect in ("anthropic", "responses", "invoke", "converse"):
            what = "%s counted behind %s" % (dialect, name)
            if name in ("invoke", "converse"):
                model = "us." + CLAUDE  # a profile, which is no model there
            try:
                tokens = count(gates[name], dialect, "fake: ", model)
                check(name != "chat" and tokens == 11, "%s: %r" % (
                    what, tokens))
            except Broken as error:
                check(name == "chat", "%s: %s" % (what, error))
                status, value, headers = error.args
                if dialect in ("invoke", "converse"):
                    kind = headers["x-amzn-errortype"]
                    wanted = "ResourceNotFoundException"
                else:
                    kind, wanted = value["error"]["type"], "not_found_error"
                    if dialect == "responses":
                        wanted = kind
                check(status == 404 and kind == wanted, "%s: %r" % (
                    what, error.args))
    counted = [e["attrs"] for e in engine.events(kind="response.received")
               if e["attrs"].get("http.response.status_code") == 200][-16:]
    check(not any("gen_ai.usage.input_tokens" in a for a in counted),
          "counting used no tokens: %r" % counted)


def it_ends():
    sent = engine.events(kind="prompt.sent")
    check({e["attrs"].get("kenaz.wire_dialect", e["attrs"]["kenaz.dialect"])
           for e in sent} == set(DIALECTS), "wires: not all were spoken")
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()
    fake.stdin.close()
    fake.wait(30)


main(a_text_arrives_as_it_was_sent, calls_arrive_whole,
     a_denied_call_becomes_a_text_that_names_the_rule,
     what_breaks_off_is_an_error, counts_are_the_providers,
     usage_is_asked_for_unless_told_not_to, it_ends)
