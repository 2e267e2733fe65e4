/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools.c - what the model may do inside the VM
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing in a call; the VM is the boundary, not these checks.
 * Never:   lets a bad call end the agent: it becomes an error result.
 */
#include "guest/workbench/tools.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/text.h"

#define MAX_TOKENS 1024u

const char tools_definitions[] =
	"[{\"name\":\"bash\",\"description\":\"Run a shell command in this "
	"virtual machine with /bin/sh -c. Standard input is empty. Output "
	"beyond 30000 bytes loses its middle.\",\"input_schema\":{\"type\":"
	"\"object\",\"properties\":{\"command\":{\"type\":\"string\"},"
	"\"timeout\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":600,"
	"\"description\":\"seconds, default 120\"}},\"required\":"
	"[\"command\"]}},"
	"{\"name\":\"read\",\"description\":\"Read a text file: at most 2000 "
	"lines or 50000 bytes from line `offset` on.\",\"input_schema\":"
	"{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},"
	"\"offset\":{\"type\":\"integer\",\"minimum\":1},\"limit\":{\"type\":"
	"\"integer\",\"minimum\":1}},\"required\":[\"path\"]}},"
	"{\"name\":\"write\",\"description\":\"Write a file, with its folders; "
	"what was there is replaced.\",\"input_schema\":{\"type\":\"object\","
	"\"properties\":{\"path\":{\"type\":\"string\"},\"content\":{\"type\":"
	"\"string\"}},\"required\":[\"path\",\"content\"]}}]";

static const struct {
	const char *name;
	void (*run)(const struct json *j, const struct tool_call *call,
		    struct tool_result *result);
} table[] = {
	{"bash", tool_bash},
	{"read", tool_read},
	{"write", tool_write},
};

/** tool_result_init() - An empty result */
void tool_result_init(struct tool_result *result)
{
	*result = (struct tool_result){0};
	buf_init(&result->output, TOOL_RESULT_MAX_BYTES);
}

/** tool_result_fini() - Release a result */
void tool_result_fini(struct tool_result *result)
{
	buf_fini(&result->output);
}

/**
 * tool_fail() - Make a result an error
 * @result:	Result; its output so far is replaced
 * @text:	For the model, escaped already where it quotes
 */
void tool_fail(struct tool_result *result, const char *text)
{
	buf_reset(&result->output);
	result->is_error = true;
	result->status[0] = '\0';
	if (buf_put_text(&result->output, text) != ERR_OK)
		buf_reset(&result->output);
}

/**
 * tool_put_output() - Append output of any bytes as visible text
 * @result:		Result
 * @head:		First part, borrowed
 * @tail:		Last part, borrowed
 * @omitted_bytes:	How many are missing between them
 */
void tool_put_output(struct tool_result *result, struct span head,
		     struct span tail, uint64_t omitted_bytes)
{
	enum err e = text_escape(head, true, &result->output);

	if (e == ERR_OK && omitted_bytes)
		e = buf_printf(&result->output,
			       "\n[... %llu bytes omitted ...]\n",
			       (unsigned long long)omitted_bytes);
	if (e == ERR_OK)
		e = text_escape(tail, true, &result->output);
	if (e != ERR_OK)
		result->is_error = true;
}

/**
 * tool_capture_add() - Keep the first and the last bytes of an output
 * @c:		Zeroed at first
 * @data:	Borrowed
 */
void tool_capture_add(struct tool_capture *c, struct span data)
{
	size_t room = sizeof(c->head) - c->head_bytes;
	size_t len = data.len_bytes < room ? data.len_bytes : room;
	size_t i;

	if (len)
		memcpy(c->head + c->head_bytes, data.data, len);
	c->head_bytes += len;
	for (i = len; i < data.len_bytes; i++)
		c->tail[c->tail_total_bytes++ % sizeof(c->tail)] = data.data[i];
}

/**
 * tool_capture_put() - Append what was kept to a result
 * @c:		Capture
 * @result:	Result
 */
void tool_capture_put(const struct tool_capture *c, struct tool_result *result)
{
	uint8_t tail[sizeof(c->tail)];
	uint64_t total = c->tail_total_bytes;
	size_t len = total < sizeof(tail) ? (size_t)total : sizeof(tail);
	size_t i;

	for (i = 0; i < len; i++)
		tail[i] = c->tail[(total - len + i) % sizeof(c->tail)];
	tool_put_output(result, span_of(c->head, c->head_bytes),
			span_of(tail, len), total - len);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/**
 * tools_run() - Run one call
 * @name:	Tool the model asked for
 * @call:	Its input
 * @result:	Initialised; filled in in every case
 */
void tools_run(struct span name, const struct tool_call *call,
	       struct tool_result *result)
{
	const struct json_limits limits = {.max_tokens = MAX_TOKENS};
	struct span input =
		call->input.len_bytes ? call->input : span_text("{}");
	uint64_t start = now_ms();
	struct json j;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (span_is(name, table[i].name))
			break;
	json_init(&j);
	if (i == ARRAY_SIZE(table))
		tool_fail(result, "There is no such tool. The tools are bash, "
				  "read and write.");
	else if (json_parse(&j, input, &limits) != ERR_OK ||
		 !json_is(&j, JSON_ROOT, JSON_OBJECT))
		tool_fail(result,
			  "The input of the call is not a JSON object.");
	else
		table[i].run(&j, call, result);
	json_fini(&j);
	result->duration_ms = now_ms() - start;
}
