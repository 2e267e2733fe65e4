#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""node's HTTP/2 in a virtual machine: many streams of one connection."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from agent_run import Agent, Run  # noqa: E402
from kenaz import check, main  # noqa: E402

MANY = 16
SCRIPT = """
const session = require("http2").connect("http://127.0.0.1:4141");
const ask = (n) => new Promise((resolve, reject) => {
  const s = session.request({ ":method": "POST",
    ":path": "/v1/chat/completions", "content-type": "application/json" });
  let status = 0, text = "";
  s.on("response", (h) => { status = h[":status"]; });
  s.on("data", (d) => { text += d; });
  s.on("end", () => resolve(status + text.trim().slice(-6)));
  s.on("error", reject);
  s.end(JSON.stringify({ model: "fake", stream: true,
    messages: [{ role: "user", content: "x".repeat(n * 20000) }] }));
});
Promise.all([...Array(%d).keys()].map(ask)).then((all) => {
  console.log(all.join(" "));
  session.close();
}, (e) => { console.error(e); process.exit(1); });
""" % MANY


class Node(Agent):
    name = "node"
    tool = "bash"


r = Run(Node())


def every_stream_is_answered():
    r.begin()
    code, out, err = r.engine.run(r.session, ["node", "-e", SCRIPT])
    check(code == 0, "%d %r %r" % (code, out, err))
    check(out.decode().split() == ["200[DONE]"] * MANY, "%r" % out)
    check(len(r.events("prompt.sent")) == MANY, "not each is in the log")


main(every_stream_is_answered, r.end)
