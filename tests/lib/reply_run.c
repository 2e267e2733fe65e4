/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_run.c - a response through a reply, in pieces, with verdicts
 */
#include "tests/lib/reply_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"

#define OUT_MAX_BYTES (16u << 20)

static size_t piece_len(size_t chunk, size_t left, unsigned *seed)
{
	size_t len = chunk;

	if (chunk == 0) {
		*seed = *seed * 1103515245u + 12345u;
		len = *seed >> 16 & 63;
		len = len ? len : 1;
	}
	return len < left ? len : left;
}

static void judge(struct reply *r, unsigned deny, struct reply_run *o)
{
	static const char rule[] = "no-shell", text[] = "not allowed";

	while (r->state == REPLY_JUDGE) {
		const struct reply_verdict v = {
			.allow = !(deny >> o->judged++ & 1),
			.rule = span_text(rule),
			.text = span_text(text),
		};

		text_append(o->calls, sizeof(o->calls), "%.*s(%.*s) ",
			    (int)r->call.name.len_bytes,
			    (const char *)r->call.name.data,
			    (int)r->call.arguments.len_bytes,
			    (const char *)r->call.arguments.data);
		assert_int_equal(reply_verdict(r, &v, &o->early), ERR_OK);
	}
}

void reply_run(struct reply *r, struct span all, size_t chunk, unsigned deny,
	       struct reply_run *o)
{
	unsigned seed = 7;
	size_t at, len;

	*o = (struct reply_run){.err = ERR_OK};
	buf_init(&o->early, OUT_MAX_BYTES);
	buf_init(&o->all, OUT_MAX_BYTES);
	assert_non_null(r);
	for (at = 0; at < all.len_bytes && o->err == ERR_OK; at += len) {
		struct span in;

		len = piece_len(chunk, all.len_bytes - at, &seed);
		in = span_of(all.data + at, len);
		while (o->err == ERR_OK && in.len_bytes &&
		       r->state == REPLY_OPEN) {
			o->err = reply_feed(r, &in, &o->early);
			judge(r, deny, o);
		}
		if (r->state == REPLY_FAILED)
			break;
	}
	if (o->err == ERR_OK && r->state == REPLY_OPEN) {
		o->err = reply_end(r, &o->early);
		judge(r, deny, o);
	}
	if (o->err != ERR_OK) {
		assert_non_null(r->error_text);
		assert_int_equal(reply_fail(r, "server_error",
					    span_text(r->error_text)),
				 ERR_OK);
	}
	o->state = r->state;
	o->summary = r->summary;
	(void)snprintf(o->error_text, sizeof(o->error_text), "%s",
		       r->error_text ? r->error_text : "");
	memcpy(o->upstream_error, r->upstream_error, sizeof(o->upstream_error));
	assert_int_equal(buf_put_span(&o->all, buf_span(&o->early)), ERR_OK);
	assert_int_equal(reply_release(r, &o->all), ERR_OK);
	reply_free(r);
}

void reply_run_fini(struct reply_run *o)
{
	buf_fini(&o->early);
	buf_fini(&o->all);
}

bool buf_contains(const struct buf *b, const char *text)
{
	return buf_count(b, text) > 0;
}

unsigned buf_count(const struct buf *b, const char *text)
{
	size_t len = strlen(text), at = 0;
	unsigned n = 0;

	while (b->len_bytes - at >= len && b->len_bytes) {
		const uint8_t *hit =
			memmem(b->data + at, b->len_bytes - at, text, len);

		if (!hit)
			break;
		n++;
		at = (size_t)(hit - b->data) + len;
	}
	return n;
}

void read_whole_file(const char *path, struct buf *ret_bytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t chunk[4096];
	size_t n;

	if (!f)
		fail_msg("cannot open %s: run the tests from the top folder",
			 path);
	buf_init(ret_bytes, OUT_MAX_BYTES);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		assert_int_equal(buf_put(ret_bytes, chunk, n), ERR_OK);
	fclose(f);
}
