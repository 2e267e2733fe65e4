/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_chat_reader.c - events come in order whatever the borders, and what is
 * written from them is a response of this dialect
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct log {
	struct buf text; /* every event, for comparison */
	struct buf stream, plain;
	struct neutral_writer *stream_writer, *plain_writer;
	bool started, open, stopped, failed;
};

static enum err take(void *context, const struct neutral_event *ev)
{
	struct log *l = context;

	assert(!l->stopped);
	assert(ev->kind == NEUTRAL_START ? !l->started : l->started);
	l->started = true;
	if (ev->kind == NEUTRAL_BLOCK_START)
		assert(!l->open);
	if (ev->kind == NEUTRAL_BLOCK_TEXT ||
	    ev->kind == NEUTRAL_BLOCK_SIGNATURE ||
	    ev->kind == NEUTRAL_BLOCK_STOP)
		assert(l->open);
	if (ev->kind == NEUTRAL_BLOCK_START || ev->kind == NEUTRAL_BLOCK_STOP)
		l->open = ev->kind == NEUTRAL_BLOCK_START;
	if (ev->kind == NEUTRAL_STOP)
		assert(!l->open);
	l->stopped = ev->kind == NEUTRAL_STOP || ev->kind == NEUTRAL_ERROR;
	l->failed = ev->kind == NEUTRAL_ERROR;
	assert(text_is_utf8(ev->text));
	assert(buf_printf(&l->text, "%d %d %d %d ", ev->kind, ev->part,
			  ev->stop, ev->error) == ERR_OK);
	assert(buf_put_span(&l->text, ev->text) == ERR_OK);
	assert(l->stream_writer->ops->put(l->stream_writer, ev, &l->stream) ==
	       ERR_OK);
	assert(l->plain_writer->ops->put(l->plain_writer, ev, &l->plain) ==
	       ERR_OK);
	return ERR_OK;
}

static void run(struct span all, bool streamed, size_t chunk, struct log *l)
{
	const struct neutral_answer stream = {.stream = true,
					      .want_usage = true,
					      .model = span_text("m")};
	const struct neutral_answer plain = {.model = span_text("m")};
	struct neutral_reader *r;
	enum err e = ERR_OK;
	size_t at, len;

	*l = (struct log){.started = false};
	buf_init(&l->text, 64 * all.len_bytes + 65536);
	buf_init(&l->stream, 1024 * all.len_bytes + 65536);
	buf_init(&l->plain, 64 * all.len_bytes + 65536);
	l->stream_writer = chat_writer_new(&stream);
	l->plain_writer = chat_writer_new(&plain);
	r = chat_reader_new(streamed, take, l);
	assert(r && l->stream_writer && l->plain_writer);
	for (at = 0; e == ERR_OK && at < all.len_bytes; at += len) {
		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		e = r->ops->feed(r, span_of(all.data + at, len));
	}
	if (e == ERR_OK)
		e = r->ops->end(r);
	assert(e == ERR_OK ? r->stopped && l->stopped : r->error_text != NULL);
	if (e != ERR_OK)
		assert(buf_put_text(&l->text, r->error_text) == ERR_OK);
	r->ops->free(r);
	l->stream_writer->ops->free(l->stream_writer);
	l->plain_writer->ops->free(l->plain_writer);
}

static void fini(struct log *l)
{
	buf_fini(&l->text);
	buf_fini(&l->stream);
	buf_fini(&l->plain);
}

static void check(struct span all, bool streamed)
{
	struct log whole, bytes, again;

	run(all, streamed, all.len_bytes + 1, &whole);
	run(all, streamed, 1, &bytes);
	assert(span_equal(buf_span(&whole.text), buf_span(&bytes.text)));
	if (whole.stopped && !whole.failed) {
		run(buf_span(&whole.stream), true, 9, &again);
		assert(again.stopped && !again.failed);
		fini(&again);
		run(buf_span(&whole.plain), false, 9, &again);
		assert(again.stopped && !again.failed);
		fini(&again);
	}
	fini(&whole);
	fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(span_of(data, size), true);
	check(span_of(data, size), false);
	return 0;
}

/* sources: engine/gate/chat_read.c engine/gate/chat_write.c
 * engine/gate/chat_calls.c engine/gate/chat_common.c
 * engine/gate/cost.c
 * engine/gate/neutral.c engine/gate/neutral_tools.c
 * engine/gate/neutral_names.c engine/gate/reply.c engine/gate/sse.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/buf.c engine/base/text.c
 * engine/gate/sse_clean.c */
