/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script.c - what the scripted agent says and does next; no I/O
 *
 * Runs in: kenaz-scripted.
 * Trusts:  nothing in the request; it is read with the strict tokenizer.
 * Never:   calls a tool that the request does not declare, calls a model.
 *
 * Theory of operation
 *
 * A scenario is a table of steps. The conversation itself is the state: the
 * number of tool results since the user's last prompt is the step to play;
 * past the last step the agent sums up. A line "scenario: NAME" in the prompt
 * chooses the scenario. Tools are found by name in any case, so the programs
 * of others can be driven too; a step whose tool is not declared plays its
 * substitute on "bash", and without that only talks.
 */
#include "engine/scripted/script.h"

#include <string.h>
#include <strings.h>

#include "engine/base/digest.h"
#include "engine/base/json.h"
#include "engine/proto/limits.h"

#define STEPS_MAX 5u
#define NOTE_PATH "/home/agent/notes.txt"

struct step {
	const char *text;
	const char *tool;
	const char *input[2][2]; /* "path" is renamed as the tool declares */
	const char *command;     /* the same with bash; NULL: none */
};

struct scenario {
	const char *name;
	struct step steps[STEPS_MAX];
	const char *end;
	uint32_t repeat;
	uint32_t gap_ms;
};

#define STEP_LOOK                                                             \
	{                                                                     \
		"I will look at the machine I am on.", "bash",                \
			{{"command", "uname -a; id -un"}}, "uname -a; id -un" \
	}
#define STEP_WRITE                                                          \
	{                                                                   \
		"Now I write a note.", "write",                             \
			{{"path", NOTE_PATH},                               \
			 {"content", "Written by the scripted agent.\n"}},  \
			"echo 'Written by the scripted agent.' >" NOTE_PATH \
	}
#define STEP_READ                                                       \
	{                                                               \
		"I read the note back.", "read", {{"path", NOTE_PATH}}, \
			"cat " NOTE_PATH                                \
	}
#define STEP_EGRESS                                                         \
	{                                                                   \
		"I try to reach a host outside.", "bash",                   \
			{{"command", "wget -q -O- http://example.com/ || "  \
				     "echo 'no answer from example.com'"}}, \
			NULL                                                \
	}
#define STEP_DESTROY                                                     \
	{                                                                \
		"Finally I try something that policy should not allow.", \
			"delete_everything", {{"path", "/"}}, "rm -rf /" \
	}

static const struct scenario scenarios[] = {
	{"default",
	 {STEP_LOOK, STEP_WRITE, STEP_READ},
	 "Done: I looked at the machine, wrote " NOTE_PATH
	 " and read it back. This was the scripted provider: no model was "
	 "called.",
	 1,
	 0},
	{"demo",
	 {STEP_LOOK, STEP_WRITE, STEP_READ, STEP_EGRESS, STEP_DESTROY},
	 "Done: three tool calls, one attempt to reach a host outside and one "
	 "forbidden call. This was the scripted provider: no model was called.",
	 1,
	 0},
	{"egress",
	 {STEP_EGRESS},
	 "Done: I tried to reach example.com. No model was called.",
	 1,
	 0},
	{"denied-tool",
	 {STEP_DESTROY},
	 "Done: the call was let through. No model was called.",
	 1,
	 0},
	{"chat", {{0}}, "Hello. I am a script: no model is called.", 1, 0},
	{"slow", {{0}}, "A slow piece of text. ", 20, 100},
	/* 64 bytes, 3200 times: SCRIPT_LONG_TEXT_BYTES */
	{"long",
	 {{0}},
	 "This line is sixty-four bytes long and is said again and again.\n",
	 SCRIPT_LONG_TEXT_BYTES / 64,
	 0},
};

/** script_name_at() - Walk the names of the scenarios; NULL past the end */
const char *script_name_at(uint32_t index)
{
	return index < ARRAY_SIZE(scenarios) ? scenarios[index].name : NULL;
}

static const struct scenario *find_scenario(struct span text)
{
	static const char mark[] = "scenario: ";
	size_t len = sizeof(mark) - 1, i;

	while (text.len_bytes) {
		const uint8_t *lf = memchr(text.data, '\n', text.len_bytes);
		size_t line = lf ? (size_t)(lf - text.data) : text.len_bytes;
		struct span rest =
			span_of(text.data + len, line > len ? line - len : 0);

		if (line > len && memcmp(text.data, mark, len) == 0)
			for (i = 0; i < ARRAY_SIZE(scenarios); i++)
				if (span_is(rest, scenarios[i].name))
					return &scenarios[i];
		if (!lf)
			break;
		text = span_of(lf + 1, text.len_bytes - line - 1);
	}
	return NULL;
}

/* What the conversation says: the last prompt, and results since then. */
struct situation {
	const struct scenario *scenario;
	uint32_t results;
};

static enum err read_text(const struct json *j, json_ref text,
			  struct situation *s)
{
	const struct scenario *found;
	struct buf words;
	enum err e;

	buf_init(&words, BODY_MAX_BYTES);
	e = json_string(j, text, &words);
	if (e == ERR_OK) {
		found = find_scenario(buf_span(&words));
		if (found)
			s->scenario = found;
		else if (words.len_bytes &&
			 memmem(words.data, words.len_bytes, "deny-demo", 9))
			s->scenario = &scenarios[1];
	}
	buf_fini(&words);
	return e;
}

static enum err read_user(const struct json *j, json_ref content,
			  struct situation *s)
{
	uint32_t results = 0;
	enum err e = ERR_OK;

	if (json_is(j, content, JSON_STRING)) {
		*s = (struct situation){&scenarios[0], 0};
		return read_text(j, content, s);
	}
	if (!json_is(j, content, JSON_ARRAY))
		return ERR_FORMAT;
	JSON_EACH (j, block, content)
		if (json_string_is(j, json_get(j, block, "type"),
				   "tool_result"))
			results++;
	if (results) {
		s->results += results;
		return ERR_OK;
	}
	*s = (struct situation){&scenarios[0], 0};
	JSON_EACH (j, block, content) {
		json_ref text = json_get(j, block, "text");

		if (e == ERR_OK && json_is(j, text, JSON_STRING))
			e = read_text(j, text, s);
	}
	return e;
}

/* Every prompt starts anew: it may choose a scenario, and counts from 0. */
static enum err read_messages(const struct json *j, struct situation *s)
{
	json_ref messages = json_get(j, JSON_ROOT, "messages");
	enum err e = ERR_OK;

	if (!json_is(j, messages, JSON_ARRAY) || json_count(j, messages) == 0)
		return ERR_FORMAT;
	JSON_EACH (j, message, messages) {
		json_ref role = json_get(j, message, "role");

		if (e == ERR_OK && json_string_is(j, role, "user"))
			e = read_user(j, json_get(j, message, "content"), s);
	}
	return e;
}

/* The tool of this name in any case, or JSON_NONE. */
static json_ref find_tool(const struct json *j, const char *name, char *ret,
			  size_t cap_bytes)
{
	json_ref tools = json_get(j, JSON_ROOT, "tools");

	if (!json_is(j, tools, JSON_ARRAY))
		return JSON_NONE;
	JSON_EACH (j, tool, tools) {
		char text[SCRIPT_TOOL_MAX_BYTES + 1];
		json_ref at = json_get(j, tool, "name");

		if (!json_is(j, at, JSON_STRING) ||
		    json_text(j, at, text, sizeof(text)) != ERR_OK ||
		    strcasecmp(text, name) != 0)
			continue;
		memcpy(ret, text, cap_bytes);
		return tool;
	}
	return JSON_NONE;
}

static void choose_tool(const struct json *j, const struct step *step,
			struct script_turn *t)
{
	json_ref tool = find_tool(j, step->tool, t->tool, sizeof(t->tool));

	memcpy(t->input, step->input, sizeof(t->input));
	t->path_key = "path";
	if (tool == JSON_NONE) {
		t->tool[0] = '\0';
		if (!step->command)
			return;
		tool = find_tool(j, "bash", t->tool, sizeof(t->tool));
		if (tool == JSON_NONE)
			t->tool[0] = '\0';
		memset(t->input, 0, sizeof(t->input));
		t->input[0][0] = "command";
		t->input[0][1] = step->command;
	} else if (json_find(j, tool, "input_schema.properties.file_path") !=
		   JSON_NONE) {
		t->path_key = "file_path";
	}
}

static enum err play(const struct json *j, struct script_turn *t)
{
	struct situation s = {&scenarios[0], 0};
	enum err e = read_messages(j, &s);
	uint32_t count = 0;

	if (e != ERR_OK)
		return e;
	while (count < STEPS_MAX && s.scenario->steps[count].tool)
		count++;
	t->step = s.results;
	t->repeat = 1;
	if (s.results < count) {
		t->text = s.scenario->steps[s.results].text;
		choose_tool(j, &s.scenario->steps[s.results], t);
		if (!t->tool[0])
			t->text = "I have no tools here, so I only talk. No "
				  "model is called.";
		return ERR_OK;
	}
	t->text = s.scenario->end;
	t->repeat = s.scenario->repeat;
	t->gap_ms = s.scenario->gap_ms;
	return ERR_OK;
}

/**
 * script_next() - Play the next turn of a conversation
 * @body:	JSON of a Messages request, untrusted
 * @ret_turn:	Written on success
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_FORMAT for what is no such request; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err script_next(struct span body, struct script_turn *ret_turn,
		     const char **ret_why)
{
	static const struct json_limits limits = {.max_bytes = BODY_MAX_BYTES};
	struct script_turn t = {0};
	struct json j;
	json_ref at;
	enum err e;

	json_init(&j);
	*ret_why = "the request is not JSON";
	e = json_parse(&j, body, &limits);
	if (e != ERR_OK)
		goto out;
	*ret_why = "model: a text is needed";
	at = json_get(&j, JSON_ROOT, "model");
	e = json_is(&j, at, JSON_STRING)
		    ? json_text(&j, at, t.model, sizeof(t.model))
		    : ERR_FORMAT;
	if (e != ERR_OK)
		goto out;
	*ret_why = "stream: true or false is needed";
	at = json_get(&j, JSON_ROOT, "stream");
	if (at != JSON_NONE)
		e = json_bool(&j, at, &t.stream);
	if (e != ERR_OK)
		goto out;
	*ret_why = "messages: a list with at least one message is needed";
	e = play(&j, &t);
	t.input_tokens = body.len_bytes / SCRIPT_TOKEN_BYTES + 1;
	digest_sha256(body, t.digest);
out:
	json_fini(&j);
	if (e == ERR_OK)
		*ret_turn = t;
	return e;
}
