// SPDX-License-Identifier: Apache-2.0
// clients.mjs BASE MODEL BEDROCK_MODEL [CASE...] - the SDKs, unmodified
//
// Runs every case against the gate at BASE and prints one JSON line each:
// {"case": name, "ok": bool, "text": ..., "error": ...}. What each SDK made
// of the answer is checked here, with the SDK's own objects.
import { connect } from "node:http2";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import {
  BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand,
  CountTokensCommand, InvokeModelCommand,
  InvokeModelWithResponseStreamCommand, ResourceNotFoundException,
} from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const [base, model, bedrockModel, ...only] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: base + "/v1", apiKey: "none",
                            maxRetries: 0, timeout: 120000 });
const anthropic = new Anthropic({ baseURL: base, apiKey: "none",
                                  maxRetries: 0, timeout: 120000 });
const aws = {
  endpoint: base, region: "eu-central-1", maxAttempts: 1,
  credentials: { accessKeyId: "none", secretAccessKey: "none" },
};
// By itself this client speaks HTTP/2 without TLS.
const bedrock = new BedrockRuntimeClient(aws);
const bedrock1 = new BedrockRuntimeClient({
  ...aws, requestHandler: new NodeHttpHandler() });

const QUESTION = "What is the weather in Kaliningrad?";
const schema = { type: "object", properties: { city: { type: "string" } },
                 required: ["city"] };
const expect = (ok, what, seen) => {
  if (!ok) throw new Error(what + ": " + JSON.stringify(seen));
};
const weather = (args) => "sunny in " + args.city;
const DONE = "The tool said: sunny in Kaliningrad";

function checkUsage(input, output, seen) {
  expect(input > 0 && output > 0, "usage", seen);
}

// --- OpenAI chat completions ---------------------------------------------

async function chatPlain() {
  const r = await openai.chat.completions.create({
    model, messages: [{ role: "user", content: "Hello" }] });
  expect(r.choices[0].finish_reason === "stop", "finish", r);
  checkUsage(r.usage.prompt_tokens, r.usage.completion_tokens, r);
  return r.choices[0].message.content;
}

async function chatStream() {
  const s = await openai.chat.completions.create({
    model, stream: true, stream_options: { include_usage: true },
    messages: [{ role: "user", content: "Hello" }] });
  let text = "", finish = null, usage = null;
  for await (const c of s) {
    text += c.choices[0]?.delta?.content ?? "";
    finish = c.choices[0]?.finish_reason ?? finish;
    usage = c.usage ?? usage;
  }
  expect(finish === "stop", "finish", finish);
  expect(usage, "usage", usage);
  checkUsage(usage.prompt_tokens, usage.completion_tokens, usage);
  return text;
}

const chatTool = { type: "function", function: {
  name: "weather", description: "Weather of a city", parameters: schema } };

async function chatTools(stream) {
  const messages = [{ role: "system", content: "You are brief." },
                    { role: "user", content: QUESTION }];
  for (let turn = 0; turn < 3; turn++) {
    const call = { model, messages, tools: [chatTool] };
    const r = stream
      ? await openai.chat.completions.stream(call).finalChatCompletion()
      : await openai.chat.completions.create(call);
    const { message, finish_reason: finish } = r.choices[0];
    if (finish !== "tool_calls") return message.content;
    messages.push(message);
    for (const c of message.tool_calls)
      messages.push({ role: "tool", tool_call_id: c.id,
                      content: weather(JSON.parse(c.function.arguments)) });
  }
  throw new Error("no end of the loop");
}

// --- OpenAI Responses ------------------------------------------------------

async function responsesPlain() {
  const r = await openai.responses.create({ model, input: "Hello" });
  expect(r.status === "completed", "status", r);
  checkUsage(r.usage.input_tokens, r.usage.output_tokens, r);
  return r.output_text;
}

async function responsesStream() {
  const s = await openai.responses.create({ model, input: "Hello",
                                            stream: true });
  let text = "", last = null, number = -1;
  for await (const e of s) {
    expect(e.sequence_number > number, "sequence_number", e);
    number = e.sequence_number;
    if (e.type === "response.output_text.delta") text += e.delta;
    last = e;
  }
  expect(last.type === "response.completed", "last event", last);
  const whole = last.response.output.filter((o) => o.type === "message")
    .flatMap((o) => o.content).map((c) => c.text).join("");
  expect(whole === text, "text in response.completed", [whole, text]);
  checkUsage(last.response.usage.input_tokens,
             last.response.usage.output_tokens, last);
  return text;
}

async function responsesTools(stream) {
  const input = [{ role: "user", content: QUESTION }];
  const tools = [{ type: "function", name: "weather", strict: false,
                   description: "Weather of a city", parameters: schema }];
  for (let turn = 0; turn < 3; turn++) {
    const call = { model, input, tools, instructions: "Be brief.",
                   store: false };
    const r = stream ? await openai.responses.stream(call).finalResponse()
                     : await openai.responses.create(call);
    const calls = r.output.filter((o) => o.type === "function_call");
    if (!calls.length) return r.output_text;
    input.push(...r.output);
    for (const c of calls)
      input.push({ type: "function_call_output", call_id: c.call_id,
                   output: weather(JSON.parse(c.arguments)) });
  }
  throw new Error("no end of the loop");
}

async function modelsList() {
  const found = [];
  for await (const m of openai.models.list()) found.push(m.id);
  expect(found.length > 0, "models", found);
  return "listed";
}

async function modelsAnthropic() {
  const found = [];
  for await (const m of anthropic.models.list()) {
    expect(m.type === "model" && m.display_name && m.created_at, "model", m);
    found.push(m.id);
  }
  expect(found.length > 0, "models", found);
  return "listed";
}

// --- Anthropic Messages -----------------------------------------------------

async function messagesPlain() {
  const r = await anthropic.messages.create({
    model, max_tokens: 256, messages: [{ role: "user", content: "Hello" }] });
  expect(r.stop_reason === "end_turn", "stop_reason", r);
  checkUsage(r.usage.input_tokens, r.usage.output_tokens, r);
  return r.content.filter((b) => b.type === "text").map((b) => b.text)
    .join("");
}

async function messagesStream() {
  const s = anthropic.messages.stream({
    model, max_tokens: 256, messages: [{ role: "user", content: "Hello" }] });
  let text = "";
  s.on("text", (t) => { text += t; });
  const r = await s.finalMessage();
  expect(r.stop_reason === "end_turn", "stop_reason", r);
  checkUsage(r.usage.input_tokens, r.usage.output_tokens, r);
  return text;
}

async function messagesTools(stream) {
  const messages = [{ role: "user", content: QUESTION }];
  const tools = [{ name: "weather", description: "Weather of a city",
                   input_schema: schema }];
  for (let turn = 0; turn < 3; turn++) {
    const call = { model, max_tokens: 256, messages, tools,
                   system: [{ type: "text", text: "Be brief.",
                              cache_control: { type: "ephemeral" } }] };
    const r = stream ? await anthropic.messages.stream(call).finalMessage()
                     : await anthropic.messages.create(call);
    messages.push({ role: "assistant", content: r.content });
    if (r.stop_reason !== "tool_use")
      return r.content.filter((b) => b.type === "text").map((b) => b.text)
        .join("");
    messages.push({ role: "user", content: r.content
      .filter((b) => b.type === "tool_use")
      .map((b) => ({ type: "tool_result", tool_use_id: b.id,
                     content: weather(b.input) })) });
  }
  throw new Error("no end of the loop");
}

// --- Bedrock -----------------------------------------------------------------

const said = (content) => content.filter((c) => c.text !== undefined)
  .map((c) => c.text).join("");

async function conversePlain(client = bedrock) {
  const r = await client.send(new ConverseCommand({
    modelId: bedrockModel, inferenceConfig: { maxTokens: 256 },
    messages: [{ role: "user", content: [{ text: "Hello" }] }] }));
  expect(r.stopReason === "end_turn", "stopReason", r);
  checkUsage(r.usage.inputTokens, r.usage.outputTokens, r);
  return said(r.output.message.content);
}

async function collect(r) {
  const blocks = [];
  let stop = null, usage = null;
  for await (const e of r.stream) {
    if (e.contentBlockStart?.start?.toolUse)
      blocks[e.contentBlockStart.contentBlockIndex] = {
        toolUse: { ...e.contentBlockStart.start.toolUse, input: "" } };
    const d = e.contentBlockDelta;
    if (d?.delta?.text !== undefined) {
      blocks[d.contentBlockIndex] ??= { text: "" };
      blocks[d.contentBlockIndex].text += d.delta.text;
    }
    if (d?.delta?.toolUse)
      blocks[d.contentBlockIndex].toolUse.input += d.delta.toolUse.input;
    stop = e.messageStop?.stopReason ?? stop;
    usage = e.metadata?.usage ?? usage;
  }
  for (const b of blocks)
    if (b?.toolUse) b.toolUse.input = JSON.parse(b.toolUse.input || "{}");
  return { content: blocks.filter((b) => b), stop, usage };
}

async function converseStream(client = bedrock) {
  const r = await collect(await client.send(new ConverseStreamCommand({
    modelId: bedrockModel, inferenceConfig: { maxTokens: 256 },
    messages: [{ role: "user", content: [{ text: "Hello" }] }] })));
  expect(r.stop === "end_turn", "stopReason", r);
  checkUsage(r.usage?.inputTokens, r.usage?.outputTokens, r);
  return said(r.content);
}

async function converseTools(stream, client = bedrock) {
  const messages = [{ role: "user", content: [{ text: QUESTION }] }];
  const toolConfig = { tools: [{ toolSpec: {
    name: "weather", description: "Weather of a city",
    inputSchema: { json: schema } } }] };
  for (let turn = 0; turn < 3; turn++) {
    const call = { modelId: bedrockModel, messages, toolConfig,
                   system: [{ text: "Be brief." }] };
    let content, stop;
    if (stream) {
      ({ content, stop } = await collect(await client.send(
        new ConverseStreamCommand(call))));
    } else {
      const r = await client.send(new ConverseCommand(call));
      content = r.output.message.content;
      stop = r.stopReason;
    }
    if (stop !== "tool_use") return said(content);
    messages.push({ role: "assistant", content });
    messages.push({ role: "user", content: content.filter((c) => c.toolUse)
      .map((c) => ({ toolResult: {
        toolUseId: c.toolUse.toolUseId,
        content: [{ text: weather(c.toolUse.input) }] } })) });
  }
  throw new Error("no end of the loop");
}

const claude = (extra) => JSON.stringify({
  anthropic_version: "bedrock-2023-05-31", max_tokens: 256,
  messages: [{ role: "user", content: "Hello" }], ...extra });

async function invokePlain(client = bedrock) {
  const r = await client.send(new InvokeModelCommand({
    modelId: bedrockModel, contentType: "application/json", body: claude() }));
  const m = JSON.parse(new TextDecoder().decode(r.body));
  expect(m.stop_reason === "end_turn", "stop_reason", m);
  return m.content.map((c) => c.text).join("");
}

async function invokeStream(client = bedrock) {
  const r = await client.send(new InvokeModelWithResponseStreamCommand({
    modelId: bedrockModel, contentType: "application/json", body: claude() }));
  let text = "", last = null;
  for await (const e of r.body) {
    const event = JSON.parse(new TextDecoder().decode(e.chunk.bytes));
    if (event.delta?.text) text += event.delta.text;
    last = event;
  }
  expect(last?.type === "message_stop", "last event", last);
  return text;
}

// --- HTTP/2 by node's own module, and many at once -----------------------

const MANY = 16;

async function parallelClients() {
  expect(bedrock.config.requestHandler.metadata?.handlerProtocol === "h2",
         "the client's own handler", bedrock.config.requestHandler.metadata);
  const all = [];
  for (let i = 0; i < MANY; i++)
    all.push(i % 2 ? converseStream() : conversePlain());
  const texts = await Promise.all(all);
  expect(texts.every((t) => t === texts[0]), "texts", texts);
  return texts[0];
}

function ask2(session) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({
      model, stream: true, messages: [{ role: "user", content: "Hello" }] });
    const s = session.request({ ":method": "POST",
      ":path": "/v1/chat/completions", "content-type": "application/json" });
    let status = 0, text = "";
    s.setEncoding("utf8");
    s.on("response", (h) => { status = h[":status"]; });
    s.on("data", (d) => { text += d; });
    s.on("error", reject);
    s.on("end", () => resolve([status, text.trim().endsWith("[DONE]")]));
    s.end(body);
  });
}

// Its answer comes before the body's end, which nobody wants any more.
function tooLarge(session) {
  return new Promise((resolve, reject) => {
    const s = session.request({ ":method": "POST",
      ":path": "/v1/chat/completions", "content-length": 33554433 });
    s.on("response", (h) => resolve(h[":status"]));
    s.on("error", reject);
    s.write(Buffer.alloc(1 << 20));
  });
}

async function moduleHttp2() {
  const session = connect(base);
  const failed = new Promise((_, reject) => session.on("error", reject));
  const all = [];
  for (let i = 0; i < MANY; i++) all.push(ask2(session));
  const seen = await Promise.race([Promise.all(all), failed]);
  expect(seen.every(([status, done]) => status === 200 && done), "streams",
         seen);
  const refused = await Promise.race([tooLarge(session), failed]);
  expect(refused === 413, "a body over 32 MiB", refused);
  session.close();
  return seen.length + " streams";
}

// --- counts of tokens ---------------------------------------------------------

// A provider that cannot count: the SDK's own class for a route not there.
async function counted(ask, missing) {
  let tokens;
  try {
    tokens = await ask();
  } catch (e) {
    expect(e instanceof missing, "class of error", [e?.name, String(e)]);
    return "not counted";
  }
  expect(tokens > 0, "tokens", tokens);
  return "counted";
}

const messagesCount = () => counted(async () => (
  await anthropic.messages.countTokens({
    model, messages: [{ role: "user", content: "Hello" }],
    system: "Be brief.",
    tools: [{ name: "weather", input_schema: schema }] })).input_tokens,
  Anthropic.NotFoundError);

const responsesCount = () => counted(async () => (
  await openai.responses.inputTokens.count({
    model, input: "Hello", instructions: "Be brief." })).input_tokens,
  OpenAI.NotFoundError);

const bedrockCount = (input) => counted(async () => (
  await bedrock.send(new CountTokensCommand({
    modelId: bedrockModel, input }))).inputTokens, ResourceNotFoundException);

const cases = {
  "chat.plain": chatPlain, "chat.stream": chatStream,
  "chat.tools": () => chatTools(false),
  "chat.tools.stream": () => chatTools(true),
  "responses.plain": responsesPlain, "responses.stream": responsesStream,
  "responses.tools": () => responsesTools(false),
  "responses.tools.stream": () => responsesTools(true),
  "messages.plain": messagesPlain, "messages.stream": messagesStream,
  "messages.tools": () => messagesTools(false),
  "messages.tools.stream": () => messagesTools(true),
  "converse.plain": conversePlain, "converse.stream": converseStream,
  "converse.tools": () => converseTools(false),
  "converse.tools.stream": () => converseTools(true),
  "invoke.plain": invokePlain, "invoke.stream": invokeStream,
  "http1.converse.stream": () => converseStream(bedrock1),
  "http1.converse.tools": () => converseTools(false, bedrock1),
  "http1.converse.tools.stream": () => converseTools(true, bedrock1),
  "http1.invoke.plain": () => invokePlain(bedrock1),
  "http2.parallel": parallelClients, "http2.module": moduleHttp2,
  "count.messages": messagesCount, "count.responses": responsesCount,
  "count.converse": () => bedrockCount({ converse: { messages: [
    { role: "user", content: [{ text: "Hello" }] }] } }),
  "count.invoke": () => bedrockCount({ invokeModel: {
    body: new TextEncoder().encode(claude()) } }),
  "models.list": modelsList, "models.anthropic": modelsAnthropic,
};

for (const [name, run] of Object.entries(cases)) {
  if (only.length && !only.some((o) => name.startsWith(o))) continue;
  try {
    const text = await run();
    const ok = !name.includes("tools") || text === DONE || text.includes(
      "scripted");
    console.log(JSON.stringify({ case: name, ok, text }));
  } catch (e) {
    console.log(JSON.stringify({ case: name, ok: false, error: String(
      e?.message ?? e).slice(0, 600), status: e?.status ??
      e?.$metadata?.httpStatusCode ?? null }));
  }
}
