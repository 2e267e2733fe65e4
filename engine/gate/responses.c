/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses.c - the Responses dialect: its row, and bodies sent as they came
 *
 * Runs in: kenaz-gate.
 * Trusts:  core to name the model.
 * Never:   changes a byte of a body but the model's name and an unset store.
 */
#include "engine/gate/responses.h"

#include <string.h>

#define REQUEST_TOKENS_MAX (1u << 20)

static enum err put_text(struct buf *out, struct span text)
{
	struct jsonw w;

	jsonw_init(&w, out);
	jsonw_text(&w, text);
	return jsonw_finish(&w);
}

/**
 * responses_rewrite() - The body with the target's model, and not stored
 * @body:	A body that responses_inspect() accepted
 * @t:		Its model; an empty one leaves the name as it is
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_FORMAT for another body; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_rewrite(struct span body, const struct dialect_target *t,
			   struct buf *out)
{
	const struct json_limits limits = {.max_bytes = BODY_MAX_BYTES,
					   .max_tokens = REQUEST_TOKENS_MAX,
					   .allow_nul = true};
	struct {
		json_ref at;
		bool is_model;
	} spots[2], swap;
	size_t count = 0, done = 0, i;
	json_ref store;
	struct json j;
	enum err e;

	json_init(&j);
	e = json_parse(&j, body, &limits);
	if (e == ERR_OK && !json_is(&j, JSON_ROOT, JSON_OBJECT))
		e = ERR_FORMAT;
	if (e != ERR_OK)
		goto out;
	/* What is only counted cannot be stored: it has no such member. */
	store = json_get(&j, JSON_ROOT, "store");
	if (t->route == ROUTE_RESPONSES_COUNT) {
		;
	} else if (store == JSON_NONE) {
		/* Behind the opening brace, before whatever comes first. */
		done = json_offset(&j, JSON_ROOT) + 1;
		e = buf_put(out, body.data, done);
		if (e == ERR_OK)
			e = buf_put_text(out, json_count(&j, JSON_ROOT)
						      ? "\"store\":false,"
						      : "\"store\":false");
	} else if (json_is(&j, store, JSON_NULL)) {
		spots[count].is_model = false;
		spots[count++].at = store;
	}
	spots[count].at = json_get(&j, JSON_ROOT, "model");
	spots[count].is_model = true;
	if (t->model.len_bytes && json_is(&j, spots[count].at, JSON_STRING))
		count++;
	if (count == 2 &&
	    json_offset(&j, spots[0].at) > json_offset(&j, spots[1].at)) {
		swap = spots[0];
		spots[0] = spots[1];
		spots[1] = swap;
	}
	for (i = 0; e == ERR_OK && i < count; i++) {
		size_t at = json_offset(&j, spots[i].at);

		e = buf_put(out, body.data + done, at - done);
		if (e == ERR_OK)
			e = spots[i].is_model ? put_text(out, t->model)
					      : buf_put_text(out, "false");
		done = at + json_raw(&j, spots[i].at).len_bytes;
	}
	if (e == ERR_OK)
		e = buf_put(out, body.data + done, body.len_bytes - done);
out:
	json_fini(&j);
	return e == ERR_SHORT ? ERR_FORMAT : e;
}

static const char *const forwarded_headers[] = {NULL};

const struct dialect_ops dialect_responses = {
	.id = DIALECT_RESPONSES,
	.forwarded_headers = forwarded_headers,
	.inspect = responses_inspect,
	.stream_new = responses_stream_new,
	.body_new = responses_body_new,
	.error_type = responses_error_type,
	.put_error = responses_put_error,
	.rewrite = responses_rewrite,
	.read_request = responses_read_request,
	.write_request = responses_write_request,
	.reader_new = responses_reader_new,
	.writer_new = responses_writer_new,
	.stream_type = "text/event-stream",
	.read_error = responses_read_error,
	.error_name = responses_error_name,
};
