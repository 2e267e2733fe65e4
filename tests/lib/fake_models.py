#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A provider that speaks every dialect: fake_provider.py and more routes.

Anthropic Messages as before; further OpenAI chat completions and Responses
and Bedrock's invoke and converse, plain and streamed. Written from the
providers' documents with the standard library only, so that it shares no
mistake with Kenaz. The switches of fake_provider.py that say what is answered
(text, tool, tool-input, agent, deltas, status, stall, truncate, error-event)
hold for every dialect. More switches:

  thinking=T    reasoning before the answer
  calls=N       N parallel calls of the tool
  no-usage      refuse chat completions with stream_options
  no-done       leave `data: [DONE]` out
  sigv4=ID:KEY  refuse Bedrock requests that are not signed with this key

--record also gets {"event": "signature", "ok": bool} for signed requests.
"""
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import time
from urllib.parse import quote, unquote, urlsplit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fake_provider  # noqa: E402

CHAT_STOP = {"end_turn": "stop", "tool_use": "tool_calls",
             "max_tokens": "length"}
INPUT, OUTPUT = 11, 7


def crc(data):
    return struct.pack(">I", binascii.crc32(data))


def frame(headers, payload):
    """One message of application/vnd.amazon.eventstream."""
    raw = b""
    for name, value in headers.items():
        name, value = name.encode(), value.encode()
        raw += struct.pack(">B", len(name)) + name + b"\x07" + \
            struct.pack(">H", len(value)) + value
    head = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    head += crc(head)
    return head + raw + payload + crc(head + raw + payload)


def event_frame(name, value):
    value = dict(value, p="abcdefghijklmnopqrstuvwxyz"[:len(name)])
    return frame({":event-type": name, ":content-type": "application/json",
                  ":message-type": "event"}, json.dumps(value).encode())


def exception_frame(name, text):
    return frame({":exception-type": name, ":content-type": "application/json",
                  ":message-type": "exception"},
                 json.dumps({"message": text}).encode())


def pieces(text, count):
    size = max(-(-len(text) // max(count, 1)), 1)
    return [text[at:at + size] for at in range(0, len(text), size)]


def canonical(method, path, query, headers, names, payload_hash):
    """AWS Signature Version 4, "Create a canonical request"; not S3."""
    parts = [part.partition("=") for part in query.split("&") if part]
    pairs = sorted((quote(unquote(k), "-_.~"), quote(unquote(v), "-_.~"))
                   for k, _, v in parts)
    lines = []
    for name in names:
        values = [re.sub(" +", " ", v.strip()) for k, v in headers
                  if k == name]
        lines.append("%s:%s\n" % (name, ",".join(values)))
    return "\n".join([method, quote(path, "/-_.~"),
                      "&".join("%s=%s" % p for p in pairs),
                      "".join(lines), ";".join(names), payload_hash])


def sign(secret, date, region, service, text):
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def signature_is_right(request, body, key_id, secret):
    """Whether a request carries the signature that AWS would compute."""
    headers = [(k.lower(), v) for k, v in request.headers.items()]
    given = dict(headers)
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/"
                     r"([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?"
                     r"Signature=([0-9a-f]{64})",
                     given.get("authorization", ""))
    if not m or m.group(1) != key_id:
        return False
    _, date, region, service, names, signature = m.groups()
    names = names.split(";")
    if names != sorted(names) or "host" not in names or \
            "x-amz-date" not in names:
        return False
    split = urlsplit(request.path)
    text = canonical(request.command, split.path, split.query, headers, names,
                     hashlib.sha256(body).hexdigest())
    scope = "%s/%s/%s/aws4_request" % (date, region, service)
    to_sign = "\n".join(["AWS4-HMAC-SHA256", given["x-amz-date"], scope,
                         hashlib.sha256(text.encode()).hexdigest()])
    return hmac.compare_digest(sign(secret, date, region, service, to_sign),
                               signature)


class Models(fake_provider.Handler):
    # --- what a request says, in the words of Anthropic's dialect ---------

    def normal(self, path, body):
        """The request as fake_provider's agent() wants it."""
        if path.endswith("/chat/completions"):
            return self.normal_chat(body)
        if path.endswith("/responses"):
            return self.normal_responses(body)
        if "/converse" in path:
            return self.normal_converse(body)
        return body

    def normal_chat(self, body):
        messages = []
        for m in body.get("messages") or []:
            content = m.get("content")
            if m.get("role") == "tool":
                text = content if isinstance(content, str) else "".join(
                    c.get("text", "") for c in content or [])
                messages.append({"role": "user", "content": [
                    {"type": "tool_result", "content": text}]})
            else:
                messages.append({"role": m.get("role"), "content": content})
        return {"messages": messages, "tools": [
            {"name": (t.get("function") or t.get("custom") or {}).get("name")}
            for t in body.get("tools") or []]}

    def normal_responses(self, body):
        messages = []
        items = body.get("input") or []
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        for item in items:
            if item.get("type") in ("function_call_output",
                                    "custom_tool_call_output"):
                text = item.get("output")
                if not isinstance(text, str):
                    text = "".join(c.get("text", "") for c in text or [])
                messages.append({"role": "user", "content": [
                    {"type": "tool_result", "content": text}]})
            elif item.get("role"):
                content = item.get("content")
                if not isinstance(content, str):
                    content = [{"type": "text", "text": c.get("text", "")}
                               for c in content or []]
                messages.append({"role": item["role"], "content": content})
        return {"messages": messages, "tools": [
            {"name": t.get("name")} for t in body.get("tools") or []]}

    def normal_converse(self, body):
        messages = []
        for m in body.get("messages") or []:
            content = []
            for c in m.get("content") or []:
                if "toolResult" in c:
                    parts = c["toolResult"].get("content") or []
                    content.append({"type": "tool_result", "content": "".join(
                        p.get("text", "") or json.dumps(p.get("json", ""))
                        for p in parts)})
                elif "text" in c:
                    content.append({"type": "text", "text": c["text"]})
            messages.append({"role": m.get("role"), "content": content})
        tools = (body.get("toolConfig") or {}).get("tools") or []
        return {"messages": messages, "tools": [
            {"name": (t.get("toolSpec") or {}).get("name")} for t in tools]}

    def plan(self, path, body):
        """(thinking, texts and calls, stop reason) of the answer."""
        blocks = self.blocks(self.normal(path, body))
        out = []
        for block in blocks:
            out.append(block)
            if block["type"] == "tool_use":
                for n in range(1, int(self.sw.get("calls") or 1)):
                    out.append(dict(block, id="%s_%d" % (block["id"], n)))
        stop = "tool_use" if any(b["type"] == "tool_use" for b in out) \
            else "end_turn"
        return self.sw.get("thinking", ""), out, stop

    def deltas(self):
        return max(int(self.sw.get("deltas") or 4), 1)

    # --- errors -------------------------------------------------------------

    def error(self, status, extra=()):
        path = urlsplit(self.path).path
        text = "asked to fail with %d" % status
        if path.startswith("/model/"):
            names = {400: "ValidationException", 403: "AccessDeniedException",
                     404: "ResourceNotFoundException",
                     429: "ThrottlingException",
                     500: "InternalServerException",
                     503: "ServiceUnavailableException"}
            self.plain(status, {"message": text}, list(extra) + [
                ("x-amzn-errortype", names.get(status,
                                               "ModelErrorException"))])
        elif "chat/completions" in path or "/responses" in path:
            kinds = {400: "invalid_request_error", 401: "invalid_request_error",
                     429: "rate_limit_exceeded"}
            self.plain(status, {"error": {
                "message": text, "type": kinds.get(status, "server_error"),
                "param": None, "code": None}}, extra)
        else:
            super().error(status, extra)

    # --- streams ------------------------------------------------------------

    def begin_stream(self, kind):
        self.start(200, kind, [("transfer-encoding", "chunked"),
                               ("cache-control", "no-cache")])
        self.end_headers()
        self.wfile.flush()
        if self.sw.get("stall") == "headers":
            self.stall()

    def send_stream(self, parts, error):
        """parts: bytes of each event; error: bytes of one in mid-stream."""
        gap = int(self.sw.get("gap-ms") or 0) / 1000
        for number, part in enumerate(parts):
            if number == len(parts) // 2:
                if self.sw.get("stall") == "middle":
                    self.stall()
                if "error-event" in self.sw:
                    self.send_raw(error, True)
                    break
            self.send_raw(part, True)
            if gap:
                time.sleep(gap)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    # --- OpenAI chat completions ----------------------------------------------

    def chat(self, path, body):
        if "no-usage" in self.sw and "stream_options" in body:
            self.error(400)
            return
        thinking, blocks, stop = self.plan(path, body)
        base = {"id": "chatcmpl-fake-%d" % self.number, "created": 1767225600,
                "model": body.get("model", "fake")}
        usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT,
                 "total_tokens": INPUT + OUTPUT,
                 "prompt_tokens_details": {"cached_tokens": 0}}
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        calls = [{"id": b["id"], "type": "function", "function": {
            "name": b["name"], "arguments": json.dumps(b["input"])}}
            for b in blocks if b["type"] == "tool_use"]
        if not body.get("stream"):
            message = {"role": "assistant", "content": text or None,
                       "refusal": None}
            if thinking:
                message["reasoning_content"] = thinking
            if calls:
                message["tool_calls"] = calls
            self.plain(200, dict(base, object="chat.completion", choices=[{
                "index": 0, "message": message, "logprobs": None,
                "finish_reason": CHAT_STOP[stop]}], usage=usage))
            return
        base["object"] = "chat.completion.chunk"
        wants = (body.get("stream_options") or {}).get("include_usage")
        chunks = []

        def chunk(delta, finish=None):
            value = dict(base, choices=[{"index": 0, "delta": delta,
                                         "logprobs": None,
                                         "finish_reason": finish}])
            if wants:
                value["usage"] = None
            chunks.append(value)
        chunk({"role": "assistant", "content": ""})
        for piece in pieces(thinking, self.deltas()):
            chunk({"reasoning_content": piece})
        for piece in pieces(text, self.deltas()):
            chunk({"content": piece})
        for index, call in enumerate(calls):
            chunk({"tool_calls": [{
                "index": index, "id": call["id"], "type": "function",
                "function": {"name": call["function"]["name"],
                             "arguments": ""}}]})
            for piece in pieces(call["function"]["arguments"], self.deltas()):
                chunk({"tool_calls": [{"index": index, "function": {
                    "arguments": piece}}]})
        chunk({}, CHAT_STOP[stop])
        if wants:
            chunks.append(dict(base, choices=[], usage=usage))
        self.begin_stream("text/event-stream")
        parts = [b"data: %s\n\n" % json.dumps(c).encode() for c in chunks]
        if "no-done" not in self.sw:
            parts.append(b"data: [DONE]\n\n")
        self.send_stream(parts, b'data: {"error":{"message":"asked to fail",'
                         b'"type":"server_error","code":"overloaded"}}\n\n')

    # --- OpenAI Responses -----------------------------------------------------

    def response_items(self, blocks, thinking):
        items = []
        if thinking:
            items.append({"id": "rs_%d" % self.number, "type": "reasoning",
                          "summary": [{"type": "summary_text",
                                       "text": thinking}],
                          "encrypted_content": "ZmFrZQ=="})
        for n, block in enumerate(blocks):
            if block["type"] == "text":
                items.append({
                    "id": "msg_%d_%d" % (self.number, n), "type": "message",
                    "role": "assistant", "status": "completed", "content": [{
                        "type": "output_text", "text": block["text"],
                        "annotations": [], "logprobs": []}]})
            else:
                items.append({
                    "id": "fc_%d_%d" % (self.number, n),
                    "type": "function_call", "status": "completed",
                    "call_id": block["id"], "name": block["name"],
                    "arguments": json.dumps(block["input"])})
        return items

    def item_events(self, index, item):
        def about(kind, **more):
            return dict({"type": kind, "item_id": item["id"],
                         "output_index": index}, **more)
        empty = dict(item, status="in_progress")
        if item["type"] == "message":
            empty["content"] = []
        elif item["type"] == "function_call":
            empty["arguments"] = ""
        else:
            empty = dict(item, summary=[])
        yield {"type": "response.output_item.added", "output_index": index,
               "item": empty}
        if item["type"] == "message":
            part = item["content"][0]
            yield about("response.content_part.added", content_index=0,
                        part=dict(part, text=""))
            for piece in pieces(part["text"], self.deltas()):
                yield about("response.output_text.delta", content_index=0,
                            delta=piece, logprobs=[])
            yield about("response.output_text.done", content_index=0,
                        text=part["text"], logprobs=[])
            yield about("response.content_part.done", content_index=0,
                        part=part)
        elif item["type"] == "function_call":
            for piece in pieces(item["arguments"], self.deltas()):
                yield about("response.function_call_arguments.delta",
                            delta=piece)
            yield about("response.function_call_arguments.done",
                        arguments=item["arguments"])
        else:
            part = item["summary"][0]
            yield about("response.reasoning_summary_part.added",
                        summary_index=0, part=dict(part, text=""))
            for piece in pieces(part["text"], self.deltas()):
                yield about("response.reasoning_summary_text.delta",
                            summary_index=0, delta=piece)
            yield about("response.reasoning_summary_text.done",
                        summary_index=0, text=part["text"])
            yield about("response.reasoning_summary_part.done",
                        summary_index=0, part=part)
        yield {"type": "response.output_item.done", "output_index": index,
               "item": item}

    def respond(self, path, body):
        thinking, blocks, _ = self.plan(path, body)
        items = self.response_items(blocks, thinking)
        usage = {"input_tokens": INPUT, "output_tokens": OUTPUT,
                 "total_tokens": INPUT + OUTPUT,
                 "input_tokens_details": {"cached_tokens": 0},
                 "output_tokens_details": {"reasoning_tokens": 0}}
        whole = {"id": "resp_fake_%d" % self.number, "object": "response",
                 "created_at": 1767225600, "status": "completed",
                 "error": None, "incomplete_details": None,
                 "instructions": body.get("instructions"),
                 "model": body.get("model", "fake"), "output": items,
                 "parallel_tool_calls": True, "previous_response_id": None,
                 "store": bool(body.get("store", True)), "temperature": 1.0,
                 "tool_choice": body.get("tool_choice", "auto"),
                 "tools": body.get("tools") or [], "top_p": 1.0,
                 "usage": usage, "metadata": {}}
        if not body.get("stream"):
            self.plain(200, whole)
            return
        early = dict(whole, status="in_progress", output=[], usage=None)
        events = [{"type": "response.created", "response": early},
                  {"type": "response.in_progress", "response": early}]
        for index, item in enumerate(items):
            events.extend(self.item_events(index, item))
        events.append({"type": "response.completed", "response": whole})
        self.begin_stream("text/event-stream; charset=utf-8")
        parts = [("event: %s\ndata: %s\n\n" % (
            e["type"], json.dumps(dict(e, sequence_number=n)))).encode()
            for n, e in enumerate(events)]
        self.send_stream(parts, (
            "event: error\ndata: %s\n\n" % json.dumps({
                "type": "error", "code": "server_error",
                "message": "asked to fail", "param": None,
                "sequence_number": 99})).encode())

    # --- Bedrock ----------------------------------------------------------------

    def invoke(self, body, streamed):
        if body.get("anthropic_version") != "bedrock-2023-05-31" or \
                "model" in body or "stream" in body:
            self.error(400)
            return
        if not streamed:
            self.plain(200, self.message(body, self.blocks(body)))
            return
        self.begin_stream("application/vnd.amazon.eventstream")
        parts = []
        for name, data in self.events(body):
            inner = json.dumps(dict({"type": name}, **data)).encode()
            parts.append(event_frame("chunk", {
                "bytes": base64.b64encode(inner).decode()}))
        self.send_stream(parts, exception_frame("modelStreamErrorException",
                                                "asked to fail"))

    def count(self, model, given):
        """CountTokens; names of inference profiles are refused."""
        if "invokeModel" in given:
            inner = json.loads(base64.b64decode(given["invokeModel"]["body"]))
            right = inner["anthropic_version"] and inner["max_tokens"] and \
                inner["messages"] and "model" not in inner
        else:
            inner = given["converse"]
            right = inner["messages"] and set(inner) <= {
                "messages", "system", "toolConfig",
                "additionalModelRequestFields"}
        if right and not model.startswith("us."):
            self.plain(200, {"inputTokens": INPUT})
        else:
            self.error(400)

    def converse(self, path, body, streamed):
        thinking, blocks, stop = self.plan(path, body)
        usage = {"inputTokens": INPUT, "outputTokens": OUTPUT,
                 "totalTokens": INPUT + OUTPUT}
        content = []
        if thinking:
            content.append({"reasoningContent": {"reasoningText": {
                "text": thinking, "signature": "c2lnbmF0dXJl"}}})
        for b in blocks:
            content.append({"text": b["text"]} if b["type"] == "text" else
                           {"toolUse": {"toolUseId": b["id"],
                                        "name": b["name"],
                                        "input": b["input"]}})
        if not streamed:
            self.plain(200, {
                "output": {"message": {"role": "assistant",
                                       "content": content}},
                "stopReason": stop, "usage": usage,
                "metrics": {"latencyMs": 5}})
            return
        parts = [event_frame("messageStart", {"role": "assistant"})]
        for index, c in enumerate(content):
            parts.extend(self.converse_block(index, c))
        parts.append(event_frame("messageStop", {"stopReason": stop}))
        parts.append(event_frame("metadata", {"usage": usage,
                                              "metrics": {"latencyMs": 5}}))
        self.begin_stream("application/vnd.amazon.eventstream")
        self.send_stream(parts, exception_frame("throttlingException",
                                                "asked to fail"))

    def converse_block(self, index, content):
        def delta(value):
            return event_frame("contentBlockDelta", {
                "contentBlockIndex": index, "delta": value})
        if "toolUse" in content:
            use = content["toolUse"]
            yield event_frame("contentBlockStart", {
                "contentBlockIndex": index, "start": {"toolUse": {
                    "toolUseId": use["toolUseId"], "name": use["name"]}}})
            for piece in pieces(json.dumps(use["input"]), self.deltas()):
                yield delta({"toolUse": {"input": piece}})
        elif "text" in content:
            # The real service sends no contentBlockStart for text.
            for piece in pieces(content["text"], self.deltas()):
                yield delta({"text": piece})
        else:
            part = content["reasoningContent"]["reasoningText"]
            for piece in pieces(part["text"], self.deltas()):
                yield delta({"reasoningContent": {"text": piece}})
            yield delta({"reasoningContent": {"signature":
                                              part["signature"]}})
        yield event_frame("contentBlockStop", {"contentBlockIndex": index})

    # --- routes -----------------------------------------------------------------

    def signed(self, raw):
        """Whether the signature is right, where one is demanded."""
        if "sigv4" not in self.sw:
            return True
        key_id, _, secret = self.sw["sigv4"].partition(":")
        ok = signature_is_right(self, raw, key_id, secret)
        self.server.recorder.write({"event": "signature", "ok": ok,
                                    "number": self.number})
        return ok

    def read_request(self):
        length = int(self.headers.get("content-length") or 0)
        if length > fake_provider.BODY_MAX_BYTES:
            raise ValueError("body too large")
        self.raw_body = self.rfile.read(length)

        class Again:
            def read(_, size):
                return self.raw_body[:size]
        real, self.rfile = self.rfile, Again()
        try:
            return super().read_request()
        finally:
            self.rfile = real

    def route(self, path, body):
        found = re.search(r"/model/([^/]+(?:/[^/]+)?)/(invoke|invoke-with-"
                          r"response-stream|converse|converse-stream|"
                          r"count-tokens)$", path)
        if path.endswith("/chat/completions"):
            self.chat(path, body)
        elif path.endswith("/responses"):
            self.respond(path, body)
        elif path.endswith("/responses/input_tokens"):
            if {"max_output_tokens", "stream", "store"} & set(body):
                self.error(400)
            else:
                self.plain(200, {"object": "response.input_tokens",
                                 "input_tokens": INPUT})
        elif found and not self.signed(self.raw_body):
            self.error(403)
        elif found and found.group(2).startswith("invoke"):
            body.setdefault("x_model", unquote(found.group(1)))
            self.invoke(body, found.group(2) != "invoke")
        elif found and found.group(2).startswith("converse"):
            self.converse(path, body, found.group(2) != "converse")
        elif found:
            self.count(unquote(found.group(1)), body.get("input") or {})
        elif path.endswith("/models"):
            self.plain(200, {"object": "list", "data": [
                {"id": "fake", "object": "model", "type": "model",
                 "display_name": "Fake", "created": 1767225600,
                 "created_at": "2026-01-01T00:00:00Z", "owned_by": "fake"}],
                "has_more": False, "first_id": "fake", "last_id": "fake"})
        else:
            return False
        return True

    def answer(self):
        self.sent = 0
        path = urlsplit(self.path).path
        if path.endswith(("/messages", "/count_tokens")):
            super().answer()
            return
        body = self.read_request()
        self.sw = self.switches(self.normal(path, body))
        if self.early():
            return
        if not self.route(path, body):
            self.error(404)


if __name__ == "__main__":
    fake_provider.Handler = Models
    try:
        fake_provider.main()
    except KeyboardInterrupt:
        pass
