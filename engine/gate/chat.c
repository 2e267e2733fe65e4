/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat.c - OpenAI's chat completions: its row, and its requests rewritten
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a body but that inspection let it pass.
 * Never:   changes more of a body than the model's name and whether usage is
 *	    sent at a stream's end.
 */
#include "engine/gate/chat.h"

#include "engine/base/jsonw.h"

#define REQUEST_TOKENS_MAX (1u << 20)
#define EDITS_MAX          2u

/* Bytes [at, at + len) are replaced by a text. */
struct edit {
	size_t at_bytes, len_bytes;
	struct span text;
};

struct rewriting {
	struct json doc;
	struct edit edits[EDITS_MAX];
	size_t count;
};

static void add_edit(struct rewriting *x, size_t at, size_t len,
		     struct span text)
{
	struct edit edit = {at, len, text};

	/* Kept in the order of their places. */
	if (x->count && x->edits[0].at_bytes > at) {
		x->edits[1] = x->edits[0];
		x->edits[0] = edit;
	} else {
		x->edits[x->count] = edit;
	}
	x->count++;
}

static void replace(struct rewriting *x, json_ref at, struct span text)
{
	add_edit(x, json_offset(&x->doc, at), json_raw(&x->doc, at).len_bytes,
		 text);
}

static void ask_for_usage(struct rewriting *x)
{
	const struct json *j = &x->doc;
	json_ref options = json_get(j, JSON_ROOT, "stream_options");
	json_ref asked = json_get(j, options, "include_usage");

	if (!json_is(j, json_get(j, JSON_ROOT, "stream"), JSON_TRUE) ||
	    json_is(j, asked, JSON_TRUE))
		return;
	if (asked != JSON_NONE)
		replace(x, asked, span_text("true"));
	else if (json_is(j, options, JSON_OBJECT))
		add_edit(x, json_offset(j, options) + 1, 0,
			 span_text(json_count(j, options)
					   ? "\"include_usage\":true,"
					   : "\"include_usage\":true"));
	else if (options != JSON_NONE)
		replace(x, options, span_text("{\"include_usage\":true}"));
	else
		add_edit(x, json_offset(j, JSON_ROOT) + 1, 0,
			 span_text("\"stream_options\":"
				   "{\"include_usage\":true},"));
}

static enum err put_edited(const struct rewriting *x, struct span body,
			   struct buf *out)
{
	enum err e = ERR_OK;
	size_t at = 0, i;

	for (i = 0; e == ERR_OK && i < x->count; i++) {
		const struct edit *edit = &x->edits[i];

		e = buf_put(out, body.data + at, edit->at_bytes - at);
		if (e == ERR_OK)
			e = buf_put_span(out, edit->text);
		at = edit->at_bytes + edit->len_bytes;
	}
	if (e == ERR_OK)
		e = buf_put(out, body.data + at, body.len_bytes - at);
	return e;
}

/**
 * chat_rewrite() - The body with another model's name, and usage asked for
 * @body:	A body that passed inspection
 * @t:		model: empty leaves the name; want_usage: see reply.strip_usage
 * @out:	Body is appended
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_rewrite(struct span body, const struct dialect_target *t,
		      struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = BODY_MAX_BYTES,
		.max_tokens = REQUEST_TOKENS_MAX,
		.allow_nul = true,
	};
	struct rewriting x = {.count = 0};
	json_ref model;
	struct jsonw w;
	struct buf name;
	enum err e;

	json_init(&x.doc);
	buf_init(&name, 8 * MODEL_MAX_BYTES);
	e = json_parse(&x.doc, body, &limits);
	model = json_get(&x.doc, JSON_ROOT, "model");
	if (e == ERR_OK && model == JSON_NONE)
		e = ERR_FORMAT;
	if (e == ERR_OK && t->model.len_bytes) {
		jsonw_init(&w, &name);
		jsonw_text(&w, t->model);
		e = jsonw_finish(&w);
		replace(&x, model, buf_span(&name));
	}
	if (e == ERR_OK && t->want_usage)
		ask_for_usage(&x);
	if (e == ERR_OK)
		e = put_edited(&x, body, out);
	buf_fini(&name);
	json_fini(&x.doc);
	return e == ERR_SHORT ? ERR_FORMAT : e;
}

/* Organisation and project headers would choose who pays: not forwarded. */
static const char *const forwarded_headers[] = {
	NULL,
};

const struct dialect_ops dialect_chat = {
	.id = DIALECT_CHAT,
	.forwarded_headers = forwarded_headers,
	.inspect = chat_inspect,
	.stream_new = chat_stream_new,
	.body_new = chat_body_new,
	.error_type = chat_error_type,
	.put_error = chat_put_error,
	.rewrite = chat_rewrite,
	.read_request = chat_read_request,
	.write_request = chat_write_request,
	.reader_new = chat_reader_new,
	.writer_new = chat_writer_new,
	.stream_type = "text/event-stream",
	.read_error = chat_read_error,
	.error_name = chat_error_name,
};
