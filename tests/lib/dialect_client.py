# SPDX-License-Identifier: Apache-2.0
"""Clients of every dialect, as strict as the SDKs, over a unix socket.

ask() sends one request and says what the client would believe: a whole answer
(text and calls) or an error. A stream without its terminal event is an error.
"""
import base64
import binascii
import json
import socket
import struct

DIALECTS = ("anthropic", "chat", "responses", "converse", "invoke")


class Broken(Exception):
    """What an SDK would raise."""


class Answer:
    def __init__(self):
        self.text, self.thinking = "", ""
        self.calls = []  # (name, arguments as an object)


def make(dialect, prompt, tools, stream, model):
    """(path, body) of a request."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    if dialect in ("anthropic", "invoke"):
        body = {"max_tokens": 512, "messages": [
            {"role": "user", "content": prompt}]}
        if tools:
            body["tools"] = [{"name": t, "description": "d",
                              "input_schema": schema} for t in tools]
        if dialect == "anthropic":
            return "/v1/messages", dict(body, model=model, stream=stream)
        body["anthropic_version"] = "bedrock-2023-05-31"
        return "/model/%s/invoke%s" % (
            model, "-with-response-stream" if stream else ""), body
    if dialect == "chat":
        body = {"model": model, "stream": stream, "messages": [
            {"role": "user", "content": prompt}]}
        if tools:
            body["tools"] = [{"type": "function", "function": {
                "name": t, "parameters": schema}} for t in tools]
        return "/v1/chat/completions", body
    if dialect == "responses":
        body = {"model": model, "stream": stream, "store": False, "input": [
            {"role": "user", "content": prompt}]}
        if tools:
            body["tools"] = [{"type": "function", "name": t,
                              "parameters": schema, "strict": False}
                             for t in tools]
        return "/v1/responses", body
    body = {"messages": [{"role": "user", "content": [{"text": prompt}]}]}
    if tools:
        body["toolConfig"] = {"tools": [{"toolSpec": {
            "name": t, "inputSchema": {"json": schema}}} for t in tools]}
    return "/model/%s/converse%s" % (model, "-stream" if stream else ""), body


class Http:
    """One response as it comes; raises Broken when it breaks off."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        head = self.until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Broken("the connection ended")
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def pieces(self):
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                yield self.exactly(size)
                self.exactly(2)
            self.until(b"\r\n")
        elif "content-length" in self.headers:
            yield self.exactly(int(self.headers["content-length"]))
        else:
            yield self.buffer
            while data := self.sock.recv(65536):
                yield data


def sse(pieces):
    buffer = b""
    for piece in pieces:
        buffer += piece
        while b"\n\n" in buffer:
            event, _, buffer = buffer.partition(b"\n\n")
            data = b"\n".join(line[5:].strip() for line in event.split(b"\n")
                              if line.startswith(b"data:"))
            if data:
                yield data


def frames(pieces):
    buffer = b""
    for piece in pieces:
        buffer += piece
        while len(buffer) >= 12:
            total, head, crc = struct.unpack(">III", buffer[:12])
            if binascii.crc32(buffer[:8]) != crc:
                raise Broken("a frame's prelude is damaged")
            if len(buffer) < total:
                break
            frame, buffer = buffer[:total], buffer[total:]
            if binascii.crc32(frame[:-4]) != struct.unpack(
                    ">I", frame[-4:])[0]:
                raise Broken("a frame is damaged")
            headers, at = {}, 12
            while at < 12 + head:
                n = frame[at]
                name = frame[at + 1:at + 1 + n].decode()
                size = struct.unpack(">H", frame[at + 2 + n:at + 4 + n])[0]
                headers[name] = frame[at + 4 + n:at + 4 + n + size].decode()
                at += 4 + n + size
            if headers.get(":message-type") != "event":
                raise Broken("exception: %r" % headers)
            # AWS's SDKs skip events of a kind that they do not know.
            if headers[":event-type"] != "ping":
                yield headers[":event-type"], json.loads(
                    frame[12 + head:-4])
    if buffer:
        raise Broken("half a frame")


def load(text):
    try:
        return json.loads(text or "{}")
    except ValueError:
        raise Broken("arguments are no JSON: %r" % text[:200]) from None


def read_anthropic(answer, events):
    blocks, stopped = {}, False
    for e in events:
        kind = e["type"]
        if kind == "error":
            raise Broken("error event: %r" % e)
        if kind == "content_block_start":
            if e["index"] != len(blocks):
                raise Broken("block %d after %d" % (e["index"], len(blocks)))
            blocks[e["index"]] = dict(e["content_block"], json="")
        elif kind == "content_block_delta":
            b, d = blocks[e["index"]], e["delta"]
            if d["type"] == "text_delta":
                b["text"] += d["text"]
            elif d["type"] == "input_json_delta":
                b["json"] += d["partial_json"]
            elif d["type"] == "thinking_delta":
                b["thinking"] += d["thinking"]
        elif kind == "message_stop":
            stopped = True
    if not stopped:
        raise Broken("no message_stop")
    for b in blocks.values():
        if b["type"] == "tool_use":
            answer.calls.append((b["name"], load(b["json"])))
        answer.text += b.get("text", "") if b["type"] == "text" else ""
        answer.thinking += b.get("thinking", "")


def plain_anthropic(answer, m):
    if m.get("type") != "message" or not m.get("stop_reason"):
        raise Broken("no message: %r" % m)
    for b in m["content"]:
        if b["type"] == "text":
            answer.text += b["text"]
        elif b["type"] == "tool_use":
            answer.calls.append((b["name"], b["input"]))
        elif b["type"] == "thinking":
            answer.thinking += b["thinking"]


def read_chat(answer, datas):
    calls, finish, done = {}, None, False
    for data in datas:
        if data == b"[DONE]":
            done = True
            continue
        c = json.loads(data)
        if "error" in c:
            raise Broken("error: %r" % c)
        for choice in c["choices"]:
            d = choice["delta"]
            answer.text += d.get("content") or ""
            answer.thinking += d.get("reasoning_content") or \
                d.get("reasoning") or ""
            for t in d.get("tool_calls") or []:
                call = calls.setdefault(t["index"], {"name": "", "json": ""})
                call["name"] += t["function"].get("name") or ""
                call["json"] += t["function"].get("arguments") or ""
            finish = choice.get("finish_reason") or finish
    if not finish or not done:
        raise Broken("no finish_reason and [DONE]")
    answer.calls = [(c["name"], load(c["json"])) for c in calls.values()]


def plain_chat(answer, r):
    if "error" in r or not r["choices"][0]["finish_reason"]:
        raise Broken("no answer: %r" % r)
    m = r["choices"][0]["message"]
    answer.text = m.get("content") or ""
    answer.calls = [(c["function"]["name"], load(c["function"]["arguments"]))
                    for c in m.get("tool_calls") or []]


def plain_responses(answer, r):
    if r.get("status") != "completed":
        raise Broken("no whole response: %r" % r)
    for item in r["output"]:
        if item["type"] == "message":
            answer.text += "".join(c.get("text", "") for c in item["content"])
        elif item["type"] == "function_call":
            answer.calls.append((item["name"], load(item["arguments"])))


def read_responses(answer, datas):
    last, number = None, -1
    text = ""
    for data in datas:
        if data == b"[DONE]":
            continue
        last = json.loads(data)
        if last["type"] == "error":
            raise Broken("error: %r" % last)
        if last.get("sequence_number", -1) <= number:
            raise AssertionError("sequence_number: %r after %d" % (
                last, number))
        number = last["sequence_number"]
        if last["type"] == "response.output_text.delta":
            text += last["delta"]
    if not last or last["type"] != "response.completed":
        raise Broken("no response.completed: %r" % last)
    plain_responses(answer, last["response"])
    if text != answer.text:
        raise Broken("the deltas are not the text")


def read_converse(answer, events):
    blocks, stopped = {}, False
    for name, e in events:
        if name == "contentBlockStart" and "toolUse" in e.get("start", {}):
            blocks[e["contentBlockIndex"]] = {
                "name": e["start"]["toolUse"]["name"], "json": ""}
        elif name == "contentBlockDelta":
            d = e["delta"]
            if "text" in d:
                answer.text += d["text"]
            elif "toolUse" in d:
                blocks[e["contentBlockIndex"]]["json"] += d["toolUse"]["input"]
        elif name == "messageStop":
            stopped = True
    if not stopped:
        raise Broken("no messageStop")
    answer.calls = [(b["name"], load(b["json"])) for b in blocks.values()]


def plain_converse(answer, r):
    if "stopReason" not in r:
        raise Broken("no answer: %r" % r)
    for c in r["output"]["message"]["content"]:
        answer.text += c.get("text", "")
        if "toolUse" in c:
            answer.calls.append((c["toolUse"]["name"], c["toolUse"]["input"]))


def understand(dialect, stream, http):
    answer = Answer()
    if not stream:
        value = json.loads(b"".join(http.pieces()))
        {"anthropic": plain_anthropic, "invoke": plain_anthropic,
         "chat": plain_chat, "responses": plain_responses,
         "converse": plain_converse}[dialect](answer, value)
    elif dialect == "anthropic":
        read_anthropic(answer, map(json.loads, sse(http.pieces())))
    elif dialect == "invoke":
        read_anthropic(answer, (json.loads(base64.b64decode(e["bytes"]))
                                for _, e in frames(http.pieces())))
    elif dialect == "chat":
        read_chat(answer, sse(http.pieces()))
    elif dialect == "responses":
        read_responses(answer, sse(http.pieces()))
    else:
        read_converse(answer, frames(http.pieces()))
    return answer


def count(path, dialect, prompt, model="m", timeout_s=120):
    """Tokens of a request, by its dialect's own counting route; or Broken."""
    url, body = make("invoke" if dialect == "invoke" else dialect, prompt,
                     ["weather"], False, model)
    if dialect in ("invoke", "converse"):
        url = "/model/%s/count-tokens" % model
        body = {"input": {"converse": body} if dialect == "converse" else {
            "invokeModel": {"body": base64.b64encode(
                json.dumps(body).encode()).decode()}}}
    else:
        url += "/count_tokens?beta=true" if dialect == "anthropic" else \
            "/input_tokens"
        for name in ("max_tokens", "stream", "store"):
            body.pop(name, None)
    data = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(path)
        sock.sendall(("POST %s HTTP/1.1\r\nhost: gate\r\ncontent-type: "
                      "application/json\r\ncontent-length: %d\r\n\r\n" % (
                          url, len(data))).encode() + data)
        http = Http(sock)
        value = json.loads(b"".join(http.pieces()))
    if http.status != 200:
        raise Broken(http.status, value, http.headers)
    if dialect == "responses" and value["object"] != "response.input_tokens":
        raise Broken("no count: %r" % value)
    return value["inputTokens" if dialect in ("invoke", "converse")
                 else "input_tokens"]


def ask(path, dialect, prompt, tools=(), stream=True, model="m",
        timeout_s=120, leave_after=None):
    """An Answer; Broken for an error; TimeoutError for a hang.

    leave_after: hang up after so many bytes; None is returned then.
    """
    url, body = make(dialect, prompt, tools, stream, model)
    data = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(path)
        extra = "anthropic-version: 2023-06-01\r\n" \
            if dialect == "anthropic" else ""
        sock.sendall(("POST %s HTTP/1.1\r\nhost: gate\r\ncontent-type: "
                      "application/json\r\n%scontent-length: %d\r\n\r\n" % (
                          url, extra, len(data))).encode() + data)
        if leave_after is not None:
            seen = 0
            while seen < leave_after:
                more = sock.recv(leave_after - seen)
                if not more:
                    break
                seen += len(more)
            return None
        try:
            http = Http(sock)
            if http.status != 200:
                text = b"".join(http.pieces())
                json.loads(text)  # an error is always JSON
                raise Broken("HTTP %d: %s" % (http.status,
                                              text[:300].decode()))
            return understand(dialect, stream, http)
        except ConnectionError as error:
            raise Broken(str(error)) from None
