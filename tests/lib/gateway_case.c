/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway_case.c - a provider's answer on every wire, for every client
 */
#include "tests/lib/gateway_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/base/text.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/reply_translate.h"
#include "engine/gate/request_translate.h"
#include "tests/lib/bedrock_frames.h"

#define LINE_MAX_BYTES 4096u

static const char *extension(const struct dialect_ops *wire)
{
	if (wire->id == DIALECT_CHAT)
		return "chat";
	if (wire->id == DIALECT_RESPONSES)
		return "responses";
	return wire->id == DIALECT_CONVERSE ? "converse" : "anthropic";
}

static void path_of(const struct dialect_ops *wire, const char *name,
		    char *ret_path, size_t cap_bytes)
{
	assert_int_equal(text_format(ret_path, cap_bytes,
				     "tests/data/gateway/%s.%s", name,
				     extension(wire)),
			 ERR_OK);
}

/** case_exists() - Whether a case has a stream for this wire */
bool case_exists(const struct dialect_ops *wire, const char *name)
{
	char path[128];

	path_of(wire, name, path, sizeof(path));
	return access(path, R_OK) == 0;
}

/* One event, put as the wire has it. */
static void put_line(const struct dialect_ops *wire, const char *line,
		     struct buf *out)
{
	char type[64];
	struct json j;

	if (wire->id == DIALECT_INVOKE) {
		bedrock_test_chunk(out, line);
		return;
	}
	if (wire->id == DIALECT_CONVERSE) {
		const char *json = strchr(line, ' ');
		bool thrown = line[0] == '!';
		struct span name;

		assert_non_null(json);
		name = span_of(line + thrown, (size_t)(json - line) - thrown);
		assert_int_equal(span_copy_text(name, type, sizeof(type)),
				 ERR_OK);
		if (thrown)
			bedrock_test_exception(out, type, json + 1);
		else
			bedrock_test_frame(out, type, json + 1);
		return;
	}
	json_init(&j);
	if (wire->id != DIALECT_CHAT &&
	    json_parse(&j, span_text(line), NULL) == ERR_OK &&
	    json_text(&j, json_get(&j, JSON_ROOT, "type"), type,
		      sizeof(type)) == ERR_OK)
		assert_int_equal(buf_printf(out, "event: %s\n", type), ERR_OK);
	json_fini(&j);
	assert_int_equal(buf_put_text(out, "data: "), ERR_OK);
	assert_int_equal(buf_put_text(out, line), ERR_OK);
	assert_int_equal(buf_put_text(out, "\n\n"), ERR_OK);
}

/** case_load() - Read a case's stream as this wire has it */
void case_load(const struct dialect_ops *wire, const char *name,
	       struct buf *ret_bytes)
{
	char path[128], line[LINE_MAX_BYTES];
	FILE *f;

	path_of(wire, name, path, sizeof(path));
	f = fopen(path, "r");
	if (!f)
		fail_msg("cannot open %s: run the tests from the top folder",
			 path);
	buf_init(ret_bytes, CASE_MAX_BYTES);
	while (fgets(line, sizeof(line), f)) {
		size_t len = strcspn(line, "\n");

		assert_true(line[len] == '\n');
		line[len] = '\0';
		if (len && line[0] != '#')
			put_line(wire, line, ret_bytes);
	}
	fclose(f);
}

/** case_reply() - The reply that stands between them; NULL: no such way */
struct reply *case_reply(const struct dialect_ops *wire,
			 const struct dialect_ops *client, enum case_way way)
{
	const struct neutral_answer answer = {
		.model = span_text("asked-for"),
		.stream = true,
		.want_usage = true,
	};

	if (way == CASE_PASSED)
		return wire == client ? wire->stream_new() : NULL;
	if (way == CASE_TRANSLATED)
		return reply_translate_new(wire, true, client, &answer);
	if (!invoke_bridge_joins(client->id, wire->id))
		return NULL;
	return invoke_bridge_reply(client->id, wire->id, true);
}

struct told {
	char *said;
	bool open;
	struct neutral_usage usage;
};

static void tell(struct told *t, const char *before, struct span text,
		 const char *behind)
{
	text_append(t->said, CASE_SAID_MAX, "%s%.*s%s", before,
		    (int)text.len_bytes, (const char *)text.data, behind);
}

static void begin(struct told *t, const struct neutral_event *ev)
{
	static const char *const parts[] = {
		[NEUTRAL_TEXT] = "text{",
		[NEUTRAL_IMAGE] = "image{",
		[NEUTRAL_DOCUMENT] = "document{",
		[NEUTRAL_TOOL_CALL] = "call{",
		[NEUTRAL_TOOL_RESULT] = "result{",
		[NEUTRAL_THINKING] = "thinking{",
		[NEUTRAL_REDACTED] = "redacted{",
		[NEUTRAL_REFUSAL] = "refusal{",
	};

	assert_false(t->open);
	t->open = true;
	tell(t, parts[ev->part], span_of(NULL, 0), "");
	if (ev->part == NEUTRAL_TOOL_CALL) {
		tell(t, "", ev->id, " ");
		tell(t, "", ev->name, " ");
	}
}

static void tell_usage(struct told *t)
{
	const struct neutral_usage *u = &t->usage;

	if (!u->input_known && !u->output_known) {
		tell(t, " usage=unknown", span_of(NULL, 0), "");
		return;
	}
	text_append(t->said, CASE_SAID_MAX, " usage=%llu/%llu",
		    (unsigned long long)u->input,
		    (unsigned long long)u->output);
	if (u->cache_read || u->cache_write)
		text_append(t->said, CASE_SAID_MAX, " cache=%llu/%llu",
			    (unsigned long long)u->cache_read,
			    (unsigned long long)u->cache_write);
}

static enum err on_event(void *context, const struct neutral_event *ev)
{
	struct told *t = context;

	if (ev->kind == NEUTRAL_BLOCK_START) {
		begin(t, ev);
	} else if (ev->kind == NEUTRAL_BLOCK_TEXT) {
		assert_true(t->open);
		assert_true(text_is_utf8(ev->text));
		tell(t, "", ev->text, "");
	} else if (ev->kind == NEUTRAL_BLOCK_SIGNATURE) {
		assert_true(t->open);
		tell(t, "|", ev->text, "");
	} else if (ev->kind == NEUTRAL_BLOCK_STOP) {
		assert_true(t->open);
		t->open = false;
		tell(t, "} ", span_of(NULL, 0), "");
	} else if (ev->kind == NEUTRAL_USAGE) {
		t->usage = ev->usage;
	} else if (ev->kind == NEUTRAL_STOP) {
		assert_false(t->open);
		tell(t, "stop=", span_text(neutral_stop_name(ev->stop)), "");
		tell_usage(t);
	} else if (ev->kind == NEUTRAL_ERROR) {
		tell(t, "error=", ev->text, "");
	}
	return ERR_OK;
}

/** case_say() - What a program of this dialect reads in a stream, in words */
void case_say(const struct dialect_ops *d, struct span bytes,
	      char ret_said[CASE_SAID_MAX])
{
	struct told t = {.said = ret_said};
	struct neutral_reader *r = d->reader_new(true, on_event, &t);
	enum err e;

	ret_said[0] = '\0';
	assert_non_null(r);
	e = r->ops->feed(r, bytes);
	if (e == ERR_OK)
		e = r->ops->end(r);
	if (e != ERR_OK || !r->stopped)
		tell(&t, " broken", span_of(NULL, 0), "");
	r->ops->free(r);
}

static void run_one(struct case_run *c, case_check *check, const void *context)
{
	static const size_t chunks[] = {1, 0, CASE_MAX_BYTES};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		struct reply *r = case_reply(c->wire, c->client, c->way);

		if (!r)
			return;
		c->chunk = chunks[i];
		reply_run(r, c->bytes, c->chunk, 0, &c->run);
		case_say(c->client, buf_span(&c->run.all), c->said);
		check(c, context);
		reply_run_fini(&c->run);
	}
}

/** case_each() - Run a case wherever it applies */
void case_each(const char *name, case_check *check, const void *context)
{
	unsigned wires = 0;
	int w, d, way;

	for (w = DIALECT_ANTHROPIC; w <= DIALECT_CONVERSE; w++) {
		struct case_run c = {.name = name,
				     .wire = dialect_find((enum dialect)w)};
		struct buf bytes;

		if (!c.wire || !case_exists(c.wire, name))
			continue;
		wires++;
		case_load(c.wire, name, &bytes);
		c.bytes = buf_span(&bytes);
		for (d = DIALECT_ANTHROPIC; d <= DIALECT_CONVERSE; d++) {
			c.client = dialect_find((enum dialect)d);
			for (way = 0; c.client && way < CASE_WAYS; way++) {
				c.way = (enum case_way)way;
				run_one(&c, check, context);
			}
		}
		buf_fini(&bytes);
	}
	assert_true(wires > 0);
}

static void wrong(const struct case_run *c, const char *want)
{
	fail_msg("%s, dialect %d to %d, way %d, pieces of %zu: state %d %s\n"
		 "said:   %s\nwanted: %s",
		 c->name, (int)c->wire->id, (int)c->client->id, (int)c->way,
		 c->chunk, (int)c->run.state, c->run.error_text, c->said, want);
}

/** case_says() - The client reads this, whatever the way */
void case_says(const struct case_run *c, const void *context)
{
	if (c->run.state != REPLY_DONE || strcmp(c->said, context) != 0)
		wrong(c, context);
}

/** case_says_unchanged() - Besides, what is passed on is what came */
void case_says_unchanged(const struct case_run *c, const void *context)
{
	case_says(c, context);
	if (c->way == CASE_PASSED)
		assert_true(span_equal(buf_span(&c->run.all), c->bytes));
}

/** case_fails() - The client reads no stop, but this text */
void case_fails(const struct case_run *c, const void *context)
{
	const char *text = context;

	/* Frames may hold the text in base64: then it is what was read. */
	if (c->run.state != REPLY_FAILED || strstr(c->said, "stop=") ||
	    !(strstr(c->said, text) || buf_contains(&c->run.all, text)))
		wrong(c, text);
}

/** case_fails_in_translation() - Else it is passed on as it came */
void case_fails_in_translation(const struct case_run *c, const void *context)
{
	if (c->way == CASE_TRANSLATED)
		case_fails(c, context);
	else if (c->way == CASE_PASSED)
		assert_true(span_equal(buf_span(&c->run.all), c->bytes));
}

/** case_every_pair() - Each wire, each client, each way between them */
void case_every_pair(case_pair_check *check)
{
	int w, d;

	for (w = DIALECT_ANTHROPIC; w <= DIALECT_CONVERSE; w++)
		for (d = DIALECT_ANTHROPIC; d <= DIALECT_CONVERSE; d++) {
			const struct dialect_ops *wire =
				dialect_find((enum dialect)w);
			const struct dialect_ops *client =
				dialect_find((enum dialect)d);

			assert_true(wire && client);
			check(wire, client, CASE_TRANSLATED);
			if (wire == client)
				check(wire, client, CASE_PASSED);
			else if (invoke_bridge_joins(client->id, wire->id))
				check(wire, client, CASE_BRIDGED);
		}
}

/** case_has_frames() - Whether a dialect's streams are AWS frames */
bool case_has_frames(const struct dialect_ops *d)
{
	return d->id == DIALECT_INVOKE || d->id == DIALECT_CONVERSE;
}

/** case_feed() - Feed and allow; the reply stays open for more */
enum err case_feed(struct reply *r, struct span in, struct buf *out)
{
	const struct reply_verdict allow = {.allow = true};
	enum err e = ERR_OK;

	while (e == ERR_OK && in.len_bytes && r->state == REPLY_OPEN) {
		e = reply_feed(r, &in, out);
		while (e == ERR_OK && r->state == REPLY_JUDGE)
			e = reply_verdict(r, &allow, out);
	}
	return e;
}

/* What a request's messages are, in words. */
static void tell_request(const struct neutral_request *q, char *ret_said)
{
	static const char *const roles[] = {"system:", "user:", "assistant:"};
	static const char *const parts[] = {
		[NEUTRAL_TEXT] = "text",       [NEUTRAL_IMAGE] = "image",
		[NEUTRAL_DOCUMENT] = "doc",    [NEUTRAL_TOOL_CALL] = "call",
		[NEUTRAL_TOOL_RESULT] = "=",   [NEUTRAL_THINKING] = "thinking",
		[NEUTRAL_REDACTED] = "sealed", [NEUTRAL_REFUSAL] = "refusal",
	};
	uint32_t m, i;

	ret_said[0] = '\0';
	for (m = 0; m < q->message_count; m++) {
		const struct neutral_message *msg = &q->messages[m];

		text_append(ret_said, CASE_SAID_MAX, "%s", roles[msg->role]);
		for (i = 0; i < msg->part_count; i++) {
			const struct neutral_part *p =
				&q->parts[msg->first_part + i];
			const struct span texts[] = {
				p->id, p->text, p->json, p->signature, p->data,
			};
			size_t k;

			text_append(ret_said, CASE_SAID_MAX, " %s",
				    parts[p->kind]);
			for (k = 0; k < ARRAY_SIZE(texts); k++)
				if (texts[k].len_bytes)
					text_append(
						ret_said, CASE_SAID_MAX,
						"|%.*s",
						(int)texts[k].len_bytes,
						(const char *)texts[k].data);
		}
		text_append(ret_said, CASE_SAID_MAX, "; ");
	}
}

static enum route route_of(const struct dialect_ops *d)
{
	static const enum route routes[] = {
		[DIALECT_ANTHROPIC] = ROUTE_MESSAGES,
		[DIALECT_CHAT] = ROUTE_CHAT,
		[DIALECT_RESPONSES] = ROUTE_RESPONSES,
		[DIALECT_INVOKE] = ROUTE_INVOKE,
		[DIALECT_CONVERSE] = ROUTE_CONVERSE,
	};

	return routes[d->id];
}

/** case_send_request() - A client's request, as read behind a wire */
void case_send_request(const char *name, const struct dialect_ops *client,
		       const struct dialect_ops *wire,
		       char ret_said[CASE_SAID_MAX])
{
	const struct dialect_target target = {
		.route = route_of(wire),
		.model = span_text("wire-model"),
		.max_tokens = 8192,
	};
	struct request_translation t;
	struct neutral_request q;
	struct buf body, out;
	char path[128];

	(void)snprintf(path, sizeof(path), "tests/data/gateway/%s.%s", name,
		       client->id == DIALECT_CHAT        ? "chat"
		       : client->id == DIALECT_RESPONSES ? "responses"
		       : client->id == DIALECT_CONVERSE  ? "converse"
							 : "anthropic");
	read_whole_file(path, &body);
	buf_init(&out, CASE_MAX_BYTES);
	request_translation_init(&t);
	if (request_translate(client, route_of(client), buf_span(&body), wire,
			      &target, &out, &t) != ERR_OK)
		fail_msg("%s, dialect %d to %d: %s", name, (int)client->id,
			 (int)wire->id, t.error_text);
	neutral_request_init(&q);
	assert_int_equal(wire->read_request(target.route, buf_span(&out), &q),
			 ERR_OK);
	tell_request(&q, ret_said);
	neutral_request_fini(&q);
	request_translation_fini(&t);
	buf_fini(&body);
	buf_fini(&out);
}
