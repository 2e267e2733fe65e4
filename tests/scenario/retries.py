#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attempts of one request: tried again, passed on, held back, given up."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, main, wait_for  # noqa: E402


class Provider:
    def __init__(self, folder, name):
        self.record = os.path.join(folder, name + ".jsonl")
        self.sequence = os.path.join(folder, name + ".sequence")
        self.cases = 0
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "..", "lib", "fake_provider.py"),
             "--record", self.record, "--sequence", self.sequence,
             "--seconds", "280"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.seen = 0

    def plan(self, *lines):
        self.cases += 1
        with open(self.sequence + ".new", "w") as f:
            f.write("case %d\n%s\n" % (self.cases, "\n".join(lines)))
        os.rename(self.sequence + ".new", self.sequence)
        self.seen = len(self.all())

    def all(self):
        try:
            with open(self.record) as f:
                return [r for r in map(json.loads, f) if r["event"] == "request"]
        except OSError:
            return []

    def got(self):
        """What came since the plan was made."""
        return self.all()[self.seen:]

    def stop(self):
        self.process.kill()
        self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


engine = Engine(mock=True)
one, two = Provider(engine.folder, "one"), Provider(engine.folder, "two")
PROVIDER = """
[[provider]]
name = "%s"
kind = "byo"
endpoint = "http://127.0.0.1:%d"
allow_http = true
%s
"""
CONFIG = """
[inference]
retry_base_ms = 20
retry_max_ms = 80
retry_after_max_s = 2
circuit_failures = 4
circuit_open_s = 2

[limits]
request_s = 7
""" + PROVIDER % ("one", one.port, "") \
    + PROVIDER % ("two", two.port, "") \
    + PROVIDER % ("gone", free_port(), "") \
    + PROVIDER % ("chained", one.port, 'fallback = ["two"]\nretries = 0') \
    + PROVIDER % ("circuit", one.port, "retries = 0") \
    + PROVIDER % ("patient", one.port, "retries = 16") \
    + PROVIDER % ("keyless", one.port, 'secret = "none"') \
    + PROVIDER % ("passed", one.port, 'secret = "none"\nfallback = ["two"]') \
    + """
[[alias]]
name = "fast"
targets = [{provider = "gone", model = "big"}, {provider = "two", model = "small"}]

[[alias]]
name = "probed"
targets = [{provider = "circuit", model = "m"}]

[[alias]]
name = "elsewhere"
targets = [{provider = "two", model = "other"}]

[[alias]]
name = "chain"
targets = [{provider = "circuit", model = "m"}, {provider = "two", model = "m"}]

[pool]
start = "cold"
"""
engine.write("kenaz.toml", CONFIG)
engine.start()
sessions = {}


def session(provider=""):
    if provider not in sessions:
        params = {"provider": provider} if provider else {}
        sessions[provider] = engine.session(**params)
    return sessions[provider][0]


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("127.0.0.1", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(where, model="m", stream=False, text="hello"):
    """The gate's answer: status, headers, body."""
    c = Unix(os.path.join(engine.runtime, "mock-" + where, "host-1024"))
    c.request("POST", "/v1/messages", json.dumps({
        "model": model, "max_tokens": 50, "stream": stream,
        "messages": [{"role": "user", "content": text}]}),
        {"content-type": "application/json", "anthropic-version": "2023-06-01"})
    r = c.getresponse()
    body = r.read()
    c.close()
    return r.status, dict(r.getheaders()), body


def attempts(where, last):
    """The last so many attempts of a session: (intent, outcome)."""
    def both():
        sent = engine.events(session=where, kind="prompt.sent")[-last:]
        done = {e["attrs"]["kenaz.grant"]: e["attrs"]
                for e in engine.events(session=where, kind="response.received")}
        pairs = [(e["attrs"], done.get(e["attrs"]["kenaz.grant"])) for e in sent]
        return pairs if all(b for _, b in pairs) else None
    return wait_for("outcomes", both)


def failures_are_tried_again():
    where = session("one")
    for failure, kind in (("status=500", "http_5xx"), ("status=529", "overloaded"),
                          ("status=429", "http_429")):
        for stream in (False, True):
            one.plan(failure, failure, "text=there")
            status, _, body = ask(where, stream=stream)
            check(status == 200 and (b"message_stop" if stream else b"there") in body,
                  "%s: %d %r" % (failure, status, body))
            check(len(one.got()) == 3, "%s: %d requests" % (failure, len(one.got())))
            pairs = attempts(where, 3)
            check([s["kenaz.attempt"] for s, _ in pairs] == [1, 2, 3], "%r" % pairs)
            check([d.get("kenaz.retry") for _, d in pairs] == [kind, kind, None],
                  "%s: %r" % (failure, [d for _, d in pairs]))
            check(len({s["kenaz.grant"] for s, _ in pairs}) == 3, "one grant for two")
            bodies = {r["body"] for r in one.got()}
            check(len(bodies) == 1, "attempts sent different bodies")


def a_broken_connection_is_tried_again():
    where = session("one")
    one.plan("reset", "reset", "text=there")
    status, _, body = ask(where)
    check(status == 200 and b"there" in body, "%d %r" % (status, body))
    kinds = {d.get("kenaz.retry") for _, d in attempts(where, 2)}
    check(kinds == {"broken", None}, "%r" % kinds)


def a_lost_broker_costs_one_attempt():
    where = session("one")
    for _ in range(3):
        one.plan("stall=before", "text=there")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(where)))
        thread.start()
        wait_for("the first attempt", lambda: len(one.got()) == 1)
        os.kill(engine.pids("kenaz-broker")[0], signal.SIGKILL)
        thread.join()
        status, _, body = answers[0]
        check(status == 200 and b"there" in body, "%d %r" % (status, body))
        pairs = attempts(where, 2)
        check(len({s["kenaz.grant"] for s, _ in pairs}) == 2, "%r" % pairs)
        check(pairs[0][1]["kenaz.error"] == "broker lost", "%r" % pairs)


def an_error_before_any_output_is_tried_again():
    """Under a 200, with the class that a proper status would have had."""
    where = session("one")
    for when in ("first", "begun"):
        for name, kind in (("overloaded_error", "overloaded"),
                           ("rate_limit_error", "http_429"),
                           ("api_error", "error_200")):
            what = "%s, %s" % (when, name)
            one.plan("error-event=%s;error-type=%s" % (when, name), "text=there")
            status, _, body = ask(where, stream=True)
            check(status == 200 and b"message_stop" in body and
                  b"event: error" not in body and
                  body.count(b"event: message_start") == 1,
                  "%s: %d %r" % (what, status, body))
            check([d.get("kenaz.retry") for _, d in attempts(where, 2)] == [kind, None],
                  "%s: %r" % (what, attempts(where, 2)))
    where = session()
    one.plan("error-event=begun;error-type=authentication_error")
    two.plan("text=there")
    status, _, body = ask(where, model="chain", stream=True)
    check(status == 200 and b"message_stop" in body and len(two.got()) == 1,
          "%d %r" % (status, body))
    where = session("one")
    one.plan("error-event=begun;error-type=invalid_request_error", "text=there")
    status, _, body = ask(where, stream=True)
    check(b"event: error" in body and b"message_stop" not in body and
          body.startswith(b"event: message_start"), "%r" % body)
    check(len(one.got()) == 1, "%d requests" % len(one.got()))


def a_start_does_not_wait_for_ever():
    """A stream that says nothing for long goes on, and is final then."""
    where = session("one")
    one.plan("gap-ms=1200;error-event=begun", "text=there")
    status, _, body = ask(where, stream=True)
    check(status == 200 and b"event: error" in body and
          body.startswith(b"event: message_start"), "%d %r" % (status, body))
    check(len(one.got()) == 1, "%d requests" % len(one.got()))


def after_output_nothing_is_tried_again():
    where = session("one")
    one.plan("error-event", "text=there")
    status, _, body = ask(where, stream=True)
    check(b"event: error" in body and b"message_stop" not in body, "%r" % body)
    check(len(one.got()) == 1, "%d requests" % len(one.got()))


def the_last_failure_reaches_the_client_as_it_came():
    where = session("one")
    one.plan("status=529")
    status, headers, body = ask(where)
    check(status == 529 and json.loads(body)["error"]["message"] == "asked to fail with 529",
          "%d %r" % (status, body))
    check(len(one.got()) == 3, "%d requests" % len(one.got()))
    one.plan("text=there")
    wait_for("the circuit of one to close", lambda: ask(where)[0] == 200)


def what_cannot_get_better_is_not_tried_again():
    where = session("one")
    for status in (400, 401, 403, 404):
        one.plan("status=%d" % status)
        got = ask(where)
        check(got[0] == status and len(one.got()) == 1,
              "%d: %r, %d requests" % (status, got, len(one.got())))


def a_long_retry_after_is_the_clients_own_business():
    where = session("one")
    one.plan("status=429;retry-after=77")
    status, headers, _ = ask(where)
    check(status == 429 and {k.lower(): v for k, v in headers.items()}
          .get("retry-after") == "77", "%d %r" % (status, headers))
    check(len(one.got()) == 1, "%d requests" % len(one.got()))


def a_short_retry_after_is_waited_for():
    where = session("one")
    one.plan("status=429;retry-after=1", "text=there")
    check(ask(where)[0] == 200, "no answer")
    plan = attempts(where, 2)[0][1]
    check(plan["kenaz.retry.after_ms"] == 1000, "%r" % plan)


def an_alias_leads_down_its_chain():
    where = session()
    two.plan("text=there")
    status, _, body = ask(where, model="fast")
    check(status == 200 and json.loads(two.got()[0]["body"])["model"] == "small",
          "%d %r %r" % (status, body, two.got()))
    sent, done = attempts(where, 1)[0]
    check(sent["kenaz.provider"] == "two" and sent["gen_ai.request.model"] == "small"
          and sent["kenaz.request.model_asked"] == "fast", "%r" % sent)
    first = [e["attrs"] for e in engine.events(session=where, kind="prompt.sent")
             if e["attrs"]["kenaz.provider"] == "gone"]
    check(len(first) == 3, "%d attempts at a closed port" % len(first))


def a_provider_has_its_fallback():
    where = session("chained")
    one.plan("status=500")
    two.plan("text=there")
    # This session was given its provider: policy does not let it leave.
    check(ask(where)[0] == 500 and not two.got(), "it left its provider")
    engine.write("policy.toml", '[[rule]]\nid = "may-fall-back"\neffect = "allow"\n'
                 'target = "feature"\nname = "fallback"\n')
    engine.call("policy.reload")
    status, _, body = ask(where)
    check(status == 200 and len(two.got()) == 1, "%d %r" % (status, body))
    check([s["kenaz.provider"] for s, _ in attempts(where, 2)] == ["chained", "two"],
          "%r" % attempts(where, 2))
    os.unlink(os.path.join(engine.config_dir, "policy.toml"))
    engine.call("policy.reload")


def an_alias_does_not_lead_out_of_a_session():
    status, _, body = ask(session("one"), model="elsewhere")
    check(status == 403 and b"config.alias" in body, "%d %r" % (status, body))


def a_key_that_is_refused_passes_to_the_next():
    where = session()
    one.plan("status=401")
    two.plan("text=there")
    check(ask(where, model="chain")[0] == 200, "no answer")
    check(len(one.got()) == 1 and len(two.got()) == 1, "%d %d"
          % (len(one.got()), len(two.got())))


def a_denied_candidate_is_passed_over():
    where = session()
    engine.write("policy.toml", '[[rule]]\nid = "not-this"\neffect = "deny"\n'
                 'target = "inference"\nprovider = "circuit"\n')
    engine.call("policy.reload")
    one.plan("text=there")
    two.plan("text=there")
    status, _, _ = ask(where, model="chain")
    check(status == 200 and not one.got() and len(two.got()) == 1, "%d" % status)
    status, _, body = ask(where, model="probed")
    check(status == 403 and b"not-this" in body, "%d %r" % (status, body))
    os.unlink(os.path.join(engine.config_dir, "policy.toml"))
    engine.call("policy.reload")


def a_provider_that_keeps_failing_is_left_alone():
    where = session()
    other, owner, _ = engine.session()
    one.plan("status=500")
    # One session brings about half of what closes a provider to all, no more.
    for who in (other, other, other, where):
        check(ask(who, model="probed")[0] == 500, "not its error")
    shown = {p["name"]: p for p in engine.call("provider.list")["providers"]}
    check(shown["circuit"]["circuit"] == "closed", "%r" % shown["circuit"])
    check(ask(where, model="probed")[0] == 500, "not its error")
    owner.close()
    asked = len(one.got())
    status, headers, body = ask(where, model="probed")
    check(status == 529 and b"overloaded_error" in body and b"asked again in" in body,
          "%d %r" % (status, body))
    check(int({k.lower(): v for k, v in headers.items()}["retry-after"]) <= 2, "%r" % headers)
    check(len(one.got()) == asked, "it was asked all the same")
    shown = {p["name"]: p for p in engine.call("provider.list")["providers"]}
    check(shown["circuit"]["circuit"] == "open", "%r" % shown["circuit"])
    opened = engine.wait_event("provider.circuit")["attrs"]
    check(opened["kenaz.circuit"] == "open" and opened["kenaz.provider"] == "circuit",
          "%r" % opened)
    two.plan("text=there")
    check(ask(where, model="chain")[0] == 200 and len(two.got()) == 1, "not passed over")
    one.plan("text=there")
    wait_for("the probe", lambda: ask(where, model="probed")[0] == 200)
    shown = {p["name"]: p for p in engine.call("provider.list")["providers"]}
    check(shown["circuit"]["circuit"] == "closed", "%r" % shown["circuit"])


def without_a_key_the_next_is_asked_at_once():
    one.plan("text=there")
    status, _, body = ask(session("keyless"))
    # A status that clients do not try again for.
    check(status == 403 and b"kenaz secret set none" in body, "%d %r" % (status, body))
    check(len(engine.events(session=session("keyless"), kind="prompt.sent")) == 1, "again")
    engine.write("policy.toml", '[[rule]]\nid = "fall"\neffect = "allow"\n'
                 'target = "feature"\nname = "fallback"\n')
    engine.call("policy.reload")
    two.plan("text=there")
    status, _, body = ask(session("passed"))
    check(status == 200 and len(two.got()) == 1 and not one.got(), "%d %r" % (status, body))


def all_attempts_together_have_an_end():
    where = session("patient")
    one.plan("status=429;retry-after=2")
    status, _, body = ask(where)
    check(status == 429 and b"asked to fail" in body, "%d %r" % (status, body))
    check(2 <= len(one.got()) <= 4, "%d requests in 7 s" % len(one.got()))


def a_client_that_leaves_ends_the_waiting():
    where = session("one")
    one.plan("status=429;retry-after=2")
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(engine.runtime, "mock-" + where, "host-1024"))
    body = json.dumps({"model": "left", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"}]}).encode()
    s.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
              b"Content-Type: application/json\r\n\r\n" % len(body) + body)
    engine.wait_event("response.received", session=where,
                      test=lambda e: e["attrs"].get("gen_ai.request.model") == "left"
                      and e["attrs"].get("kenaz.retry") == "http_429")
    s.close()
    one.plan("text=there")
    check(ask(where)[0] == 200, "no answer")
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        check(len(one.got()) == 1, "it was tried again for nobody")


def it_ends():
    for _, owner, _ in sessions.values():
        owner.close()
    one.stop()
    two.stop()
    engine.stop()
    check(engine.verify().returncode == 0, "verify")
    engine.clean()


main(failures_are_tried_again, a_broken_connection_is_tried_again,
     a_lost_broker_costs_one_attempt,
     an_error_before_any_output_is_tried_again, a_start_does_not_wait_for_ever,
     after_output_nothing_is_tried_again,
     the_last_failure_reaches_the_client_as_it_came,
     what_cannot_get_better_is_not_tried_again,
     a_long_retry_after_is_the_clients_own_business,
     a_short_retry_after_is_waited_for, an_alias_leads_down_its_chain,
     a_provider_has_its_fallback, an_alias_does_not_lead_out_of_a_session,
     a_key_that_is_refused_passes_to_the_next, a_denied_candidate_is_passed_over,
     a_provider_that_keeps_failing_is_left_alone,
     without_a_key_the_next_is_asked_at_once,
     all_attempts_together_have_an_end,
     a_client_that_leaves_ends_the_waiting, it_ends)
