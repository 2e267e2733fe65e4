#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lists of models: the configuration's where the provider has none to ask for."""

import http.client
import json
import os
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, check, main  # noqa: E402

# Nobody listens there: what is answered needs no provider.
PROVIDER = """
[[provider]]
name = "%s"
kind = "byo"
endpoint = "http://127.0.0.1:9"
allow_http = true
dialects = ["responses"]
%s
"""
CONFIG = PROVIDER % ("listed", 'models = ["big", "small"]') \
    + PROVIDER % ("open", "") \
    + PROVIDER % ("many", "") + """
[[alias]]
name = "fast"
targets = [{provider = "listed", model = "small"}]

[[alias]]
name = "either"
targets = [{provider = "listed", model = "big"}, {provider = "open", model = "row"}]

[[model]]
provider = "open"
name = "row"

[pool]
start = "cold"
""" + "".join('[[model]]\nprovider = "many"\nname = "%s-%d"\n' % ("m" * 240, i)
              for i in range(250))

engine = Engine(mock=True)
engine.write("kenaz.toml", CONFIG)
engine.start()
owners = []


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("127.0.0.1", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def listed(where, **headers):
    """The gate's answer: status, headers, document."""
    c = Unix(os.path.join(engine.runtime, "mock-" + where, "host-1024"))
    c.request("GET", "/v1/models", headers={
        k.replace("_", "-"): v for k, v in headers.items()})
    r = c.getresponse()
    document = json.loads(r.read())
    c.close()
    return r.status, {k.lower(): v for k, v in r.getheaders()}, document


def session(provider=""):
    where, owner, _ = engine.session(**({"provider": provider} if provider else {}))
    owners.append(owner)
    return where


def ids(document):
    return [m["id"] for m in document["data"]]


def each_client_gets_it_in_its_own_form():
    where = session()
    status, headers, got = listed(where)
    check(status == 200 and got["object"] == "list"
          and ids(got) == ["fast", "either", "big", "small"], "%d %r" % (status, got))
    check("x-kenaz-models-omitted" not in headers, "%r" % headers)
    status, _, got = listed(where, anthropic_version="2023-06-01")
    check(status == 200 and got["has_more"] is False and got["first_id"] == "fast"
          and got["last_id"] == "small" and got["data"][0]["type"] == "model",
          "%d %r" % (status, got))


def a_session_sees_what_it_may_ask_for():
    where = session("open")
    check(ids(listed(where)[2]) == ["either", "row"], "%r" % (listed(where),))


def what_has_no_room_is_said():
    where = session("many")
    status, headers, got = listed(where)
    omitted = int(headers["x-kenaz-models-omitted"])
    check(status == 200 and len(got["data"]) + omitted == 250 and omitted > 0,
          "%d %d %d" % (status, len(got["data"]), omitted))
    event = engine.wait_event("policy.allow", session=where)["attrs"]
    check(event["kenaz.models_omitted"] == omitted, "%r" % event)


def the_decision_is_in_the_log():
    where = session("listed")
    check(listed(where)[0] == 200, "no list")
    event = engine.events(session=where, kind="policy.allow")[-1]["attrs"]
    check(event["kenaz.policy.target"] == "inference"
          and event["kenaz.policy.subject"] == "listed"
          and event["gen_ai.operation.name"] == "models"
          and event["kenaz.models"] == 4, "%r" % event)
    check(not engine.events(session=where, kind="prompt.sent"), "something was sent")
    engine.write("policy.toml", '[[rule]]\nid = "no-lists"\neffect = "deny"\n'
                 'target = "inference"\nroute = "models"\n')
    engine.call("policy.reload")
    status, _, got = listed(where)
    check(status == 403 and "no-lists" in got["error"]["message"], "%d %r" % (status, got))
    check(engine.wait_event("policy.deny", session=where)["attrs"]
          ["kenaz.policy.rule"] == "no-lists", "no event")
    for owner in owners:
        owner.close()
    engine.stop()
    check(engine.verify().returncode == 0, "the log does not verify")
    engine.clean()


main(each_client_gets_it_in_its_own_form, a_session_sees_what_it_may_ask_for,
     what_has_no_room_is_said, the_decision_is_in_the_log)
