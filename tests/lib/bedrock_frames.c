/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bedrock_frames.c - streams of AWS frames for tests, and what became of them
 */
#include "tests/lib/bedrock_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/eventstream.h"

static void must(enum err e)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "bedrock_frames: %s\n", err_name(e));
	abort();
}

void bedrock_test_frame(struct buf *out, const char *type, const char *payload)
{
	must(eventstream_put_event(out, type, span_text(payload)));
}

void bedrock_test_exception(struct buf *out, const char *type,
			    const char *payload)
{
	must(eventstream_put_exception(out, type, span_text(payload)));
}

void bedrock_test_chunk(struct buf *out, const char *event)
{
	struct buf payload;

	buf_init(&payload, BEDROCK_TEST_MAX_BYTES);
	must(buf_put_text(&payload, "{\"bytes\":\""));
	must(text_base64(span_text(event), &payload));
	must(buf_put_text(&payload, "\",\"p\":\"abcd\"}"));
	must(eventstream_put_event(out, "chunk", buf_span(&payload)));
	buf_fini(&payload);
}

void bedrock_test_read_file(const char *path, struct buf *ret_bytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t chunk[4096];
	size_t n;

	if (!f) {
		fprintf(stderr, "cannot open %s: run from the top folder\n",
			path);
		abort();
	}
	buf_init(ret_bytes, BEDROCK_TEST_MAX_BYTES);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		must(buf_put(ret_bytes, chunk, n));
	fclose(f);
}

static size_t chunk_len(size_t chunk, size_t left, unsigned *seed)
{
	size_t len = chunk;

	if (chunk == 0) {
		*seed = *seed * 1103515245u + 12345u;
		len = *seed >> 16 & 63;
		len = len ? len : 1;
	}
	return len < left ? len : left;
}

static void judge(struct reply *r, unsigned deny,
		  struct bedrock_test_outcome *ret)
{
	static const char rule[] = "no-shell", text[] = "shell is not allowed";
	struct reply_verdict v = {.rule = span_text(rule),
				  .text = span_text(text)};

	v.allow = !(deny >> ret->judged++ & 1);
	must(span_copy_text(r->call.arguments, ret->arguments,
			    sizeof(ret->arguments)));
	must(span_copy_text(r->call.name, ret->name, sizeof(ret->name)));
	must(reply_verdict(r, &v, &ret->early));
}

void bedrock_test_run(struct reply *r, struct span all, size_t chunk,
		      unsigned deny, struct bedrock_test_outcome *ret)
{
	unsigned seed = 7;
	size_t at, len;

	*ret = (struct bedrock_test_outcome){.err = ERR_OK};
	buf_init(&ret->early, BEDROCK_TEST_MAX_BYTES);
	buf_init(&ret->all, BEDROCK_TEST_MAX_BYTES);
	if (!r)
		abort();
	for (at = 0; at < all.len_bytes && ret->err == ERR_OK; at += len) {
		struct span in;

		len = chunk_len(chunk, all.len_bytes - at, &seed);
		in = span_of(all.data + at, len);
		while (ret->err == ERR_OK && in.len_bytes &&
		       r->state == REPLY_OPEN) {
			ret->err = reply_feed(r, &in, &ret->early);
			if (r->state == REPLY_JUDGE)
				judge(r, deny, ret);
		}
		if (r->state == REPLY_FAILED)
			break;
	}
	if (ret->err == ERR_OK && r->state == REPLY_OPEN)
		ret->err = reply_end(r, &ret->early);
	while (ret->err == ERR_OK && r->state == REPLY_JUDGE)
		judge(r, deny, ret);
	if (r->error_text)
		must(span_copy_text(span_text(r->error_text), ret->error_text,
				    sizeof(ret->error_text)));
	if (ret->err != ERR_OK) {
		if (!r->error_text)
			abort();
		must(reply_fail(r, "InternalServerException",
				span_text(r->error_text)));
	}
	ret->state = r->state;
	ret->summary = r->summary;
	memcpy(ret->upstream_error, r->upstream_error,
	       sizeof(ret->upstream_error));
	must(buf_put_span(&ret->all, buf_span(&ret->early)));
	must(reply_release(r, &ret->all));
	reply_free(r);
}

void bedrock_test_drop(struct bedrock_test_outcome *o)
{
	buf_fini(&o->early);
	buf_fini(&o->all);
}

void bedrock_test_show_frames(struct span frames, struct buf *out)
{
	struct eventstream_frame f;
	struct eventstream s;

	eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
	while (eventstream_next(&s, &frames, &f) == ERR_OK) {
		must(buf_put_span(out, f.event_type.len_bytes
					       ? f.event_type
					       : f.exception_type));
		must(buf_put_u8(out, ' '));
		must(buf_put_span(out, f.payload));
		must(buf_put_u8(out, '\n'));
	}
	if (!eventstream_is_between_frames(&s) || s.error_text)
		must(buf_put_text(out, "BROKEN\n"));
	eventstream_fini(&s);
}

static void put_piece(struct buf *out, const char *kind, struct span text)
{
	must(buf_printf(out, "%s(", kind));
	must(buf_put_span(out, text));
	must(buf_put_text(out, ") "));
}

static enum err on_event(void *context, const struct neutral_event *ev)
{
	static const char *const parts[] = {
		[NEUTRAL_TEXT] = "text",
		[NEUTRAL_IMAGE] = "image",
		[NEUTRAL_DOCUMENT] = "document",
		[NEUTRAL_TOOL_CALL] = "call",
		[NEUTRAL_TOOL_RESULT] = "result",
		[NEUTRAL_THINKING] = "thinking",
		[NEUTRAL_REDACTED] = "redacted",
		[NEUTRAL_REFUSAL] = "refusal",
	};
	struct buf *out = context;

	if (ev->kind == NEUTRAL_START) {
		must(buf_put_text(out, "start "));
	} else if (ev->kind == NEUTRAL_BLOCK_START) {
		must(buf_printf(out, "+%s ", parts[ev->part]));
		if (ev->part == NEUTRAL_TOOL_CALL) {
			put_piece(out, "id", ev->id);
			put_piece(out, "name", ev->name);
		}
	} else if (ev->kind == NEUTRAL_BLOCK_TEXT) {
		put_piece(out, "", ev->text);
	} else if (ev->kind == NEUTRAL_BLOCK_SIGNATURE) {
		put_piece(out, "sig", ev->text);
	} else if (ev->kind == NEUTRAL_BLOCK_STOP) {
		must(buf_put_text(out, "- "));
	} else if (ev->kind == NEUTRAL_USAGE) {
		must(buf_printf(out, "usage(%llu/%llu r%llu w%llu) ",
				(unsigned long long)ev->usage.input,
				(unsigned long long)ev->usage.output,
				(unsigned long long)ev->usage.cache_read,
				(unsigned long long)ev->usage.cache_write));
	} else if (ev->kind == NEUTRAL_STOP) {
		must(buf_printf(out, "stop %d ", (int)ev->stop));
		put_piece(out, "reason", ev->reason);
	} else {
		must(buf_printf(out, "error %d ", (int)ev->error));
		put_piece(out, "", ev->text);
	}
	return ERR_OK;
}

enum err bedrock_test_trace(const struct dialect_ops *d, bool streamed,
			    struct span bytes, size_t chunk, struct buf *out)
{
	struct neutral_reader *r = d->reader_new(streamed, on_event, out);
	unsigned seed = 7;
	enum err e = ERR_OK;
	size_t at, len;

	if (!r)
		abort();
	for (at = 0; e == ERR_OK && at < bytes.len_bytes; at += len) {
		len = chunk_len(chunk, bytes.len_bytes - at, &seed);
		e = r->ops->feed(r, span_of(bytes.data + at, len));
	}
	if (e == ERR_OK)
		e = r->ops->end(r);
	if (e != ERR_OK && !r->error_text)
		abort();
	if (e != ERR_OK)
		must(buf_printf(out, "BROKEN: %s", r->error_text));
	if (e == ERR_OK && !r->stopped)
		abort();
	if (r->dropped[0])
		must(buf_printf(out, "[%s]", r->dropped));
	r->ops->free(r);
	return e;
}

bool bedrock_test_has(const struct buf *b, const char *text)
{
	return b->len_bytes &&
	       memmem(b->data, b->len_bytes, text, strlen(text)) != NULL;
}
