#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules about tools and egress hold for any client, and say which they are."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, have_image, main, wait_for  # noqa: E402

if not have_image():
    print("skipped: build/image/mini is not built (make image)")
    sys.exit(77)

server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(8)
PORT = server.getsockname()[1]
reached = []


def serve():
    while True:
        try:
            c, _ = server.accept()
        except OSError:
            return
        reached.append(c.recv(4096))
        c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
        c.close()


threading.Thread(target=serve, daemon=True).start()

POLICY = """
[[rule]]
id = "test.no-delete"
effect = "deny"
target = "tool"
name = "bash"
args = [{ name = "command", glob = "*rm -rf*" }]
reason = "nothing is deleted here"

[[rule]]
id = "test.allowed-host"
effect = "allow"
target = "egress"
host = "127.0.0.1"
port = %d
allow_private = true

[[rule]]
id = "test.asked-host"
effect = "ask"
target = "egress"
host = "asked.example"
""" % PORT

CONFIG = """
[limits]
ask_timeout_s = 3
"""

provider = None
engine = Engine(policy=POLICY, config=CONFIG).start()
session, owner, _ = engine.session()


def workbench(prompt):
    return engine.run(session, ["kenaz-workbench", "-p", prompt])


def three_calls_run_and_are_written_down():
    code, out, err = workbench("scenario: default")
    check(code == 0, "%d %r %r" % (code, out, err))
    for name in (b"bash", b"write", b"read"):
        check(name in out, "no %s in the transcript: %r" % (name, out))
    invoked = [e["attrs"]["gen_ai.tool.name"]
               for e in engine.events(session=session, kind="tool.invoked")]
    check(invoked == ["bash", "write", "read"], "invoked: %r" % invoked)
    done = engine.events(session=session, kind="tool.completed")
    check(len(done) == 3, "completed: %r" % done)
    ids = [e["attrs"]["gen_ai.tool.call.id"]
           for e in engine.events(session=session, kind="tool.invoked")]
    check([e["attrs"]["gen_ai.tool.call.id"] for e in done] == ids, "ids differ")


def a_denied_call_becomes_a_text_that_names_the_rule():
    before = len(engine.events(session=session, kind="tool.invoked"))
    code, out, err = workbench("scenario: denied-tool")
    check(code == 0, "%d %r %r" % (code, out, err))
    check(b"test.no-delete" in out, "the rule is not named: %r" % out)
    event = engine.wait_event("policy.deny", session=session)
    check(event["attrs"]["kenaz.policy.rule"] == "test.no-delete", "%r" % event)
    after = len(engine.events(session=session, kind="tool.invoked"))
    check(before == after, "a denied call was invoked")


def the_same_rule_holds_for_another_client_not_streamed():
    body = json.dumps({
        "model": "kenaz-scripted", "max_tokens": 50, "stream": False,
        "tools": [{"name": "bash", "input_schema": {"type": "object", "properties": {
            "command": {"type": "string"}}}}],
        "messages": [{"role": "user", "content": "scenario: denied-tool"}]})
    code, out, err = engine.run(session, ["sh", "-c", (
        "cat > /tmp/b; wget -Y off -q -O- --header 'content-type: application/json' "
        "--post-file /tmp/b http://127.0.0.1:4141/v1/messages")], stdin=body.encode())
    check(code == 0, "%d %r %r" % (code, out, err))
    answer = json.loads(out)
    kinds = [b["type"] for b in answer["content"]]
    check("tool_use" not in kinds, "the call came through: %r" % answer)
    check("test.no-delete" in out.decode(), "the rule is not named: %r" % out)
    check(answer["stop_reason"] == "end_turn", "stop: %r" % answer["stop_reason"])


def provider_side_features_are_refused_by_name():
    for tool, feature in (
            ({"type": "web_search_20250305", "name": "web_search"}, "web_search"),
            ({"type": "brand_new_20990101", "name": "x"}, "brand_new")):
        body = json.dumps({"model": "m", "max_tokens": 5, "tools": [tool],
                           "messages": [{"role": "user", "content": "x"}]})
        code, out, err = engine.run(session, ["sh", "-c", (
            "cat > /tmp/b; wget -Y off -S -O- --header 'content-type: application/json' "
            "--post-file /tmp/b http://127.0.0.1:4141/v1/messages")],
            stdin=body.encode())
        check(code != 0, "%s was accepted: %r" % (feature, out))
    denied = [e["attrs"].get("kenaz.policy.subject", "")
              for e in engine.events(session=session, kind="policy.deny")]
    check(any("web_search" in d for d in denied), "denied: %r" % denied)
    check(any("brand_new" in d or "unknown" in d for d in denied), "denied: %r" % denied)


def an_allowed_host_is_reached_and_written_down_before():
    code, out, err = engine.run(session, [
        "wget", "-q", "-O-", "http://127.0.0.1:%d/" % PORT],
        env={"no_proxy": "", "NO_PROXY": ""})
    check((code, out) == (0, b"hello\n"), "%d %r %r" % (code, out, err))
    check(len(reached) == 1, "reached %d times" % len(reached))
    closed = engine.wait_event("egress.close", session=session)
    seqs = {k: engine.events(session=session, kind=k)[-1]["seq"]
            for k in ("policy.allow", "egress.open")}
    check(seqs["policy.allow"] < seqs["egress.open"] < closed["seq"], "%r" % seqs)
    opened = engine.events(session=session, kind="egress.open")[-1]["attrs"]
    check(opened["network.peer.address"] == "127.0.0.1", "%r" % opened)


def a_host_without_a_rule_is_denied_with_the_rule():
    code, out, err = engine.run(session, ["wget", "-S", "-O-", "http://example.com/"])
    check(code != 0 and b"403" in err, "%d %r %r" % (code, out, err))
    event = engine.wait_event(
        "policy.deny", lambda e: e["attrs"].get("server.address") == "example.com",
        session=session)
    check(event["attrs"]["kenaz.policy.rule"] == "default.egress", "%r" % event)
    code, out, err = workbench("scenario: egress")
    check(code == 0 and b"no answer from example.com" in out, "%d %r" % (code, out))


def another_port_of_the_allowed_host_is_denied():
    code, out, err = engine.run(session, ["wget", "-S", "-O-", "http://127.0.0.1:1/"],
                                env={"no_proxy": "", "NO_PROXY": ""})
    check(code != 0 and b"403" in err, "%d %r %r" % (code, out, err))


def an_ask_can_be_denied_and_expires():
    t = engine.terminal(session, ["wget", "-S", "-O-", "http://asked.example/"])
    waiting = wait_for("an approval",
                       lambda: engine.call("approvals.list")["approvals"])
    check("asked.example" in waiting[0]["summary"], "%r" % waiting)
    engine.call("approvals.deny", id=waiting[0]["id"])
    check(t.finish()[0] != 0, "a denied host was reached")
    engine.wait_event("approval.denied", session=session)
    check(engine.run(session, ["wget", "-S", "-O-", "http://asked.example/"])[0] != 0,
          "an unanswered host was reached")
    engine.wait_event("approval.expired", session=session)


def an_ask_holds_a_plain_call_and_a_session_until_somebody_answers():
    engine.write("policy.toml", POLICY.replace('effect = "deny"', 'effect = "ask"', 1) + """
[[rule]]
id = "test.ask-session"
effect = "ask"
target = "session"
""")
    engine.call("policy.reload")
    code, out, err = workbench("scenario: denied-tool")
    check(b"approval" in out, "a streamed call was not denied for want of one: %r" % out)
    body = json.dumps({
        "model": "kenaz-scripted", "max_tokens": 50,
        "tools": [{"name": "bash", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "scenario: denied-tool"}]})
    def send():
        t = engine.terminal(session, ["sh", "-c", (
            "cat > /tmp/b; exec wget -Y off -q -O- --header 'content-type: "
            "application/json' --post-file /tmp/b "
            "http://127.0.0.1:4141/v1/messages")])
        t.send(1, 0, body.encode())
        t.send(2)
        return t
    t = send()
    waiting = wait_for("the question", lambda: [
        a for a in engine.call("approvals.list")["approvals"] if a["target"] == "tool"])
    t.send(4, 0, b"\x09")
    event = engine.wait_event("approval.expired", lambda e: e["attrs"][
        "kenaz.approval.id"] == waiting[0]["id"], session=session)
    check(event["attrs"]["kenaz.reason"] == "its client hung up", "%r" % event)
    t.finish()
    t = send()
    waiting = wait_for("the question", lambda: [
        a for a in engine.call("approvals.list")["approvals"] if a["target"] == "tool"])
    check("rm -rf" in waiting[0]["summary"], "%r" % waiting)
    engine.call("approvals.grant", id=waiting[0]["id"], digest=waiting[0]["digest"])
    code, out, err = t.finish()
    check("tool_use" in [b["type"] for b in json.loads(out)["content"]], "%r" % out)
    engine.wait_event("approval.granted", session=session)
    other = engine.connect()
    answer = []
    asking = threading.Thread(target=lambda: answer.append(
        other.call("session.start", detach=False)))
    asking.start()
    waiting = wait_for("the question", lambda: [
        a for a in engine.call("approvals.list")["approvals"] if a["target"] == "session"])
    engine.call("approvals.grant", id=waiting[0]["id"])
    asking.join(60)
    check(answer and answer[0]["session"], "a granted session did not start")
    other.close()


def the_log_verifies():
    owner.close()
    engine.wait_event("session.end", session=session)
    engine.stop()
    r = engine.verify()
    check(r.returncode == 0, r.stdout + r.stderr)
    engine.clean()


main(three_calls_run_and_are_written_down,
     a_denied_call_becomes_a_text_that_names_the_rule,
     the_same_rule_holds_for_another_client_not_streamed,
     provider_side_features_are_refused_by_name,
     an_allowed_host_is_reached_and_written_down_before,
     a_host_without_a_rule_is_denied_with_the_rule,
     another_port_of_the_allowed_host_is_denied,
     an_ask_can_be_denied_and_expires,
     an_ask_holds_a_plain_call_and_a_session_until_somebody_answers,
     the_log_verifies)
