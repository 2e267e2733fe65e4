/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_responses_read.c - any response, streamed or plain, becomes events in
 * their proper order, and what the writer makes of them says the same again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/text.h"
#include "engine/gate/responses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kinds and texts of all events, pieces of a block put together. */
struct record {
	struct buf text;
	struct neutral_writer *w; /* or NULL */
	struct buf *out;
	bool started, open, stopped;
	enum neutral_part_kind part;
};

static enum err take(void *context, const struct neutral_event *e)
{
	struct record *r = context;

	assert(!r->stopped);
	assert(e->kind == NEUTRAL_START
		       ? !r->started
		       : r->started || e->kind == NEUTRAL_ERROR);
	switch (e->kind) {
	case NEUTRAL_START:
		r->started = true;
		break;
	case NEUTRAL_BLOCK_START:
		assert(!r->open);
		r->open = true;
		r->part = e->part;
		assert(e->part != NEUTRAL_TOOL_CALL || e->name.len_bytes);
		assert(buf_printf(&r->text, "\n%d:", e->part) == ERR_OK);
		break;
	case NEUTRAL_BLOCK_TEXT:
	case NEUTRAL_BLOCK_SIGNATURE:
		assert(r->open && e->part == r->part);
		assert(text_is_utf8(e->text));
		assert(buf_put_span(&r->text, e->text) == ERR_OK);
		break;
	case NEUTRAL_BLOCK_STOP:
		assert(r->open);
		r->open = false;
		break;
	case NEUTRAL_USAGE:
		break;
	case NEUTRAL_STOP:
		assert(!r->open);
		r->stopped = true;
		/* A word that nobody knows is written as a limit. */
		assert(buf_printf(&r->text, "\nstop %d",
				  e->stop == NEUTRAL_STOP_OTHER
					  ? NEUTRAL_STOP_LENGTH
					  : e->stop) == ERR_OK);
		break;
	case NEUTRAL_ERROR:
		r->stopped = true;
		assert(buf_printf(&r->text, "\nerror %d", e->error) == ERR_OK);
		break;
	}
	return r->w ? r->w->ops->put(r->w, e, r->out) : ERR_OK;
}

static enum err run(struct span all, bool streamed, size_t chunk,
		    struct record *record)
{
	struct neutral_reader *r = responses_reader_new(streamed, take, record);
	enum err e = ERR_OK;
	size_t at, len;

	assert(r);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += len) {
		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		e = r->ops->feed(r, span_of(all.data + at, len));
	}
	if (e == ERR_OK)
		e = r->ops->end(r);
	assert(e == ERR_OK ? record->stopped : r->error_text != NULL);
	r->ops->free(r);
	return e;
}

static void check(struct span all, bool streamed)
{
	const struct neutral_answer a = {.model = span_text("m"),
					 .stream = streamed};
	struct record whole = {.open = false}, bytes = {.open = false};
	struct record again = {.open = false};
	struct buf out;
	enum err e;

	buf_init(&out, 1024 * all.len_bytes + 65536);
	buf_init(&whole.text, 64 * all.len_bytes + 65536);
	buf_init(&bytes.text, 64 * all.len_bytes + 65536);
	buf_init(&again.text, 64 * all.len_bytes + 65536);
	whole.w = responses_writer_new(&a);
	whole.out = &out;
	assert(whole.w);
	e = run(all, streamed, all.len_bytes + 1, &whole);
	assert(run(all, streamed, 1, &bytes) == e);
	if (e == ERR_OK) {
		assert(span_equal(buf_span(&whole.text),
				  buf_span(&bytes.text)));
		assert(run(buf_span(&out), streamed, 7, &again) == ERR_OK);
		assert(span_equal(buf_span(&whole.text),
				  buf_span(&again.text)));
	}
	whole.w->ops->free(whole.w);
	buf_fini(&whole.text);
	buf_fini(&bytes.text);
	buf_fini(&again.text);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(span_of(data, size), true);
	check(span_of(data, size), false);
	return 0;
}

/* sources: engine/gate/responses_read.c engine/gate/responses_write.c
 * engine/gate/responses_call.c engine/gate/responses_walk.c
 * engine/gate/cost.c
 * engine/gate/responses_error.c engine/gate/responses_object.c
 * engine/gate/neutral.c engine/gate/neutral_tools.c engine/gate/neutral_names.c
 * engine/gate/reply.c engine/gate/sse.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/buf.c engine/base/text.c
 * engine/gate/sse_clean.c */
