/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_translate_streams.c - every recorded stream, passed on and translated
 *
 * The recordings in tests/streams come from real providers; expected.tsv says
 * what they hold, found by a program of its own (tests/streams/expect). What a
 * client gets is read again with its dialect's reader and compared. Translated
 * is into every dialect, by way of the neutral form into its own as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/dialect.h"
#include "engine/gate/reply_translate.h"

#define STREAMS_DIR    "tests/streams/"
#define STREAMS_MAX    64u
#define FILE_MAX_BYTES (1u << 20)
#define DIALECT_LAST   DIALECT_CONVERSE
#define SMALL_BYTES    6000u /* cut at every byte; larger ones at CUTS */
#define CUTS           40u

/* What one recording says; a row of expected.tsv. */
struct expected {
	char name[256];
	enum dialect wire;
	uint32_t text_bytes, text_crc, calls, calls_crc;
	enum neutral_stop stop;
	bool usage_known;
	uint64_t input, output;
	char dropped[128];
	struct buf bytes;
};

static struct expected streams[STREAMS_MAX];
static size_t stream_count;

/* What a reader made of some bytes. */
struct transcript {
	struct buf text, calls, ids;
	struct buf arguments; /* of the call under way */
	enum neutral_part_kind part;
	uint32_t call_count;
	struct neutral_usage usage;
	enum neutral_stop stop;
	bool stopped, failed, open, started;
};

static uint32_t crc32_of(struct span s)
{
	uint32_t crc = UINT32_MAX;
	size_t i;
	int bit;

	for (i = 0; i < s.len_bytes; i++) {
		crc ^= s.data[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void transcript_init(struct transcript *t)
{
	memset(t, 0, sizeof(*t));
	buf_init(&t->text, FILE_MAX_BYTES);
	buf_init(&t->calls, FILE_MAX_BYTES);
	buf_init(&t->ids, FILE_MAX_BYTES);
	buf_init(&t->arguments, FILE_MAX_BYTES);
}

static void transcript_fini(struct transcript *t)
{
	buf_fini(&t->text);
	buf_fini(&t->calls);
	buf_fini(&t->ids);
	buf_fini(&t->arguments);
}

static void end_call(struct transcript *t)
{
	if (t->part != NEUTRAL_TOOL_CALL)
		return;
	if (t->arguments.len_bytes == 0)
		assert_int_equal(buf_put_text(&t->arguments, "{}"), ERR_OK);
	assert_int_equal(buf_put_span(&t->calls, buf_span(&t->arguments)),
			 ERR_OK);
	assert_int_equal(buf_put_u8(&t->calls, 0), ERR_OK);
	t->call_count++;
}

/* Also checks what every reader promises. */
static enum err collect(void *context, const struct neutral_event *ev)
{
	struct transcript *t = context;
	bool piece = ev->kind == NEUTRAL_BLOCK_TEXT;

	assert_false(t->stopped || t->failed);
	if (ev->kind == NEUTRAL_ERROR) {
		t->failed = true;
		return ERR_OK;
	}
	assert_int_equal(t->started, ev->kind != NEUTRAL_START);
	t->started = true;
	if (ev->kind == NEUTRAL_BLOCK_START) {
		assert_false(t->open);
		t->open = true;
		t->part = ev->part;
		buf_reset(&t->arguments);
		if (ev->part == NEUTRAL_TOOL_CALL) {
			assert_int_equal(buf_put_span(&t->calls, ev->name),
					 ERR_OK);
			assert_int_equal(buf_put_u8(&t->calls, 0), ERR_OK);
			assert_int_equal(buf_put_span(&t->ids, ev->id), ERR_OK);
			assert_int_equal(buf_put_u8(&t->ids, 0), ERR_OK);
		}
	} else if (piece || ev->kind == NEUTRAL_BLOCK_SIGNATURE) {
		assert_true(t->open);
	}
	if (piece && t->part == NEUTRAL_TOOL_CALL)
		assert_int_equal(buf_put_span(&t->arguments, ev->text), ERR_OK);
	if (piece && (t->part == NEUTRAL_TEXT || t->part == NEUTRAL_REFUSAL))
		assert_int_equal(buf_put_span(&t->text, ev->text), ERR_OK);
	if (ev->kind == NEUTRAL_BLOCK_STOP) {
		assert_true(t->open);
		t->open = false;
		end_call(t);
	} else if (ev->kind == NEUTRAL_USAGE) {
		t->usage = ev->usage;
	} else if (ev->kind == NEUTRAL_STOP) {
		assert_false(t->open);
		t->stopped = true;
		t->stop = ev->stop;
	}
	return ERR_OK;
}

/* Reads bytes of a dialect; says whether they end as its responses do. */
static bool read_again(const struct dialect_ops *d, bool streamed,
		       struct span in, struct transcript *t)
{
	struct neutral_reader *r = d->reader_new(streamed, collect, t);
	enum err e;

	assert_non_null(r);
	e = r->ops->feed(r, in);
	if (e == ERR_OK && !t->failed)
		e = r->ops->end(r);
	r->ops->free(r);
	return e == ERR_OK && t->stopped;
}

static enum neutral_stop stop_named(const char *name)
{
	if (strcmp(name, "end") == 0)
		return NEUTRAL_STOP_END;
	if (strcmp(name, "tool") == 0)
		return NEUTRAL_STOP_TOOL;
	assert_string_equal(name, "length");
	return NEUTRAL_STOP_LENGTH;
}

static void check_transcript(const struct expected *x,
			     const struct transcript *t)
{
	assert_true(t->stopped);
	assert_int_equal(t->text.len_bytes, x->text_bytes);
	assert_int_equal(crc32_of(buf_span(&t->text)), x->text_crc);
	assert_int_equal(t->call_count, x->calls);
	assert_int_equal(crc32_of(buf_span(&t->calls)), x->calls_crc);
	assert_int_equal(t->stop, x->stop);
	if (!x->usage_known)
		return;
	assert_true(t->usage.input_known && t->usage.output_known);
	assert_int_equal(t->usage.input, x->input);
	assert_int_equal(t->usage.output, x->output);
}

/* How the bytes come: sizes of pieces; 0 is at random. */
static const size_t chunk_sizes[] = {1, 2, 3, 7, 0, SIZE_MAX};

static size_t next_chunk(size_t size, size_t left, uint32_t *seed)
{
	if (size == 0) {
		*seed = *seed * 1103515245u + 12345u;
		size = 1 + (*seed >> 16) % 4000;
	}
	return size < left ? size : left;
}

/* Allows all calls. The reply's state and the bytes are what remains. */
static enum err run(struct reply *r, struct span in, size_t chunk,
		    struct buf *out)
{
	const struct reply_verdict allow = {.allow = true};
	uint32_t seed = 7;
	enum err e = ERR_OK;

	while (e == ERR_OK && in.len_bytes && r->state == REPLY_OPEN) {
		size_t len = next_chunk(chunk, in.len_bytes, &seed);
		struct span piece = span_of(in.data, len);

		e = reply_feed(r, &piece, out);
		in = span_of(in.data + len - piece.len_bytes,
			     in.len_bytes - len + piece.len_bytes);
		while (e == ERR_OK && r->state == REPLY_JUDGE)
			e = reply_verdict(r, &allow, out);
	}
	if (e == ERR_OK && r->state == REPLY_OPEN)
		e = reply_end(r, out);
	while (e == ERR_OK && r->state == REPLY_JUDGE)
		e = reply_verdict(r, &allow, out);
	return e;
}

static struct reply *reply_for(const struct dialect_ops *wire,
			       const struct dialect_ops *client, bool stream,
			       bool translated)
{
	const struct neutral_answer answer = {
		.model = span_text("asked-for"),
		.stream = stream,
		.want_usage = true,
	};
	struct reply *r;

	if (!translated)
		r = wire->stream_new();
	else
		r = reply_translate_new(wire, true, client, &answer);
	assert_non_null(r);
	return r;
}

static void check_summary(const struct expected *x, const struct reply *r,
			  bool translated)
{
	char names[sizeof(x->dropped)], *name, *rest = names;

	assert_int_equal(r->summary.calls, x->calls);
	assert_int_equal(r->summary.calls_denied, 0);
	if (x->usage_known) {
		assert_true(r->summary.usage_known);
		assert_int_equal(r->summary.input_tokens, x->input);
		assert_int_equal(r->summary.output_tokens, x->output);
	}
	if (!translated || strcmp(x->dropped, "-") == 0)
		return;
	memcpy(names, x->dropped, sizeof(names));
	while ((name = strsep(&rest, ",")))
		assert_non_null(strstr(r->summary.dropped, name));
}

/* One recording, one client, one size of pieces. */
static void check_whole(const struct expected *x,
			const struct dialect_ops *client, bool stream,
			bool translated, size_t chunk)
{
	const struct dialect_ops *wire = dialect_find(x->wire);
	struct reply *r = reply_for(wire, client, stream, translated);
	struct transcript t;
	struct buf out;
	enum err e;

	buf_init(&out, 4 * FILE_MAX_BYTES);
	transcript_init(&t);
	e = run(r, buf_span(&x->bytes), chunk, &out);
	if (e != ERR_OK || r->state != REPLY_DONE)
		fail_msg("%s to dialect %d: error %d, state %d, %s", x->name,
			 (int)client->id, (int)e, (int)r->state,
			 r->error_text ? r->error_text : "");
	check_summary(x, r, translated);
	/* Nothing of what came yet may look whole. */
	assert_false(read_again(client, stream, buf_span(&out), &t));
	transcript_fini(&t);
	transcript_init(&t);
	assert_int_equal(reply_release(r, &out), ERR_OK);
	if (!read_again(client, stream, buf_span(&out), &t))
		fail_msg("%s to dialect %d: what was written is not whole",
			 x->name, (int)client->id);
	check_transcript(x, &t);
	transcript_fini(&t);
	buf_fini(&out);
	reply_free(r);
}

static bool can_answer(const struct dialect_ops *d)
{
	return d && d->writer_new && d->reader_new;
}

static bool can_read(const struct dialect_ops *d)
{
	return d && d->reader_new && d->stream_new;
}

static void passes_every_stream_on(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < stream_count; i++) {
		const struct dialect_ops *wire = dialect_find(streams[i].wire);

		for (k = 0; can_read(wire) && k < ARRAY_SIZE(chunk_sizes); k++)
			check_whole(&streams[i], wire, true, false,
				    chunk_sizes[k]);
	}
}

static void translates_every_stream(void **state)
{
	size_t i, k;
	int d;

	(void)state;
	for (i = 0; i < stream_count; i++) {
		const struct dialect_ops *wire = dialect_find(streams[i].wire);

		for (d = DIALECT_ANTHROPIC; d <= DIALECT_LAST; d++) {
			const struct dialect_ops *client =
				dialect_find((enum dialect)d);

			if (!can_read(wire) || !can_answer(client))
				continue;
			for (k = 0; k < ARRAY_SIZE(chunk_sizes); k++)
				check_whole(&streams[i], client, true, true,
					    chunk_sizes[k]);
			check_whole(&streams[i], client, false, true, SIZE_MAX);
			check_whole(&streams[i], client, false, true, 7);
		}
	}
}

/* Where @text first occurs; the recording has it. */
static size_t first_of(struct span s, const char *text)
{
	const uint8_t *at = memmem(s.data, s.len_bytes, text, strlen(text));

	assert_non_null(at);
	return (size_t)(at - s.data);
}

static size_t past_blank_line(struct span s, size_t at)
{
	while (at < s.len_bytes && s.data[at] != '\n')
		at++;
	while (at < s.len_bytes && (s.data[at] == '\n' || s.data[at] == '\r'))
		at++;
	return at;
}

static size_t past_frame(struct span s, size_t at)
{
	size_t from = 0, len = 0;

	while (from + len <= at) {
		from += len;
		len = (size_t)s.data[from] << 24 |
		      (size_t)s.data[from + 1] << 16 |
		      (size_t)s.data[from + 2] << 8 | s.data[from + 3];
	}
	return from + len;
}

/* The end of the first event that may complete the response. */
static size_t terminal_end(const struct expected *x)
{
	struct span s = buf_span(&x->bytes);

	switch (x->wire) {
	case DIALECT_ANTHROPIC:
		return past_blank_line(s, first_of(s, "\"message_stop\""));
	case DIALECT_CHAT:
		return past_blank_line(s, first_of(s, "\"finish_reason\":\""));
	case DIALECT_RESPONSES:
		return past_blank_line(s,
				       first_of(s, "\"response.completed\""));
	case DIALECT_CONVERSE:
		return past_frame(s, first_of(s, "messageStop"));
	case DIALECT_INVOKE:
	case DIALECT_NONE:
		break;
	}
	fail();
	return 0;
}

/* The first @len bytes are all that came. */
static void check_cut(const struct expected *x,
		      const struct dialect_ops *client, bool stream,
		      bool translated, size_t len, size_t whole)
{
	static const char text[] = "Kenaz: the provider's stream ended early";
	const struct dialect_ops *wire = dialect_find(x->wire);
	struct reply *r = reply_for(wire, client, stream, translated);
	struct transcript t;
	struct buf out;
	enum err e;

	buf_init(&out, 4 * FILE_MAX_BYTES);
	transcript_init(&t);
	e = run(r, span_of(x->bytes.data, len), SIZE_MAX, &out);
	if (e == ERR_OK && r->state == REPLY_DONE) {
		if (len < whole)
			fail_msg("%s to dialect %d: a success after %zu bytes "
				 "of %zu",
				 x->name, (int)client->id, len, whole);
		assert_int_equal(reply_release(r, &out), ERR_OK);
		assert_true(read_again(client, stream, buf_span(&out), &t));
		assert_int_equal(crc32_of(buf_span(&t.text)), x->text_crc);
		assert_int_equal(crc32_of(buf_span(&t.calls)), x->calls_crc);
	} else {
		if (r->state != REPLY_FAILED) {
			assert_int_not_equal(e, ERR_OK);
			assert_non_null(r->error_text);
		}
		assert_int_equal(reply_fail(r, client->error_type(502),
					    span_text(text)),
				 ERR_OK);
		assert_int_equal(r->state, REPLY_FAILED);
		assert_int_equal(reply_release(r, &out), ERR_OK);
		assert_true(out.len_bytes > 0);
		if (r->http_status == 0)
			assert_false(
				read_again(client, stream, buf_span(&out), &t));
		else
			assert_true(r->http_status >= 400);
		/* The client is told, unless its reader saw garbage before. */
		if (r->http_status == 0 && stream && !t.failed)
			fail_msg("%s to dialect %d, cut at %zu: no error",
				 x->name, (int)client->id, len);
	}
	transcript_fini(&t);
	buf_fini(&out);
	reply_free(r);
}

static void check_cuts(const struct expected *x,
		       const struct dialect_ops *client, bool translated,
		       size_t step)
{
	size_t whole = terminal_end(x), at, n = 0;

	for (at = 0; at < x->bytes.len_bytes; at += step)
		check_cut(x, client, n++ % 8 != 7 || !translated, translated,
			  at, whole);
	/* Around the terminal event, where it matters most. */
	for (at = whole - 12; at <= whole && at < x->bytes.len_bytes; at++)
		check_cut(x, client, true, translated, at, whole);
}

static void a_cut_stream_ends_in_an_error(void **state)
{
	size_t i;
	int d;

	(void)state;
	for (i = 0; i < stream_count; i++) {
		const struct expected *x = &streams[i];
		const struct dialect_ops *wire = dialect_find(x->wire);
		bool small = x->bytes.len_bytes < SMALL_BYTES;
		size_t stride = x->bytes.len_bytes / CUTS;

		if (!can_read(wire))
			continue;
		check_cuts(x, wire, false, small ? 1 : stride);
		for (d = DIALECT_ANTHROPIC; d <= DIALECT_LAST; d++) {
			const struct dialect_ops *client =
				dialect_find((enum dialect)d);

			if (can_answer(client))
				check_cuts(x, client, true, small ? 3 : stride);
		}
	}
}

static void read_file(const char *name, struct buf *out)
{
	char path[512];
	uint8_t *at;
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), STREAMS_DIR "%s", name);
	f = fopen(path, "rb");
	if (!f)
		fail_msg("%s: cannot be opened", path);
	buf_init(out, FILE_MAX_BYTES);
	assert_int_equal(buf_reserve(out, FILE_MAX_BYTES, &at), ERR_OK);
	n = fread(at, 1, FILE_MAX_BYTES, f);
	(void)fclose(f);
	buf_truncate(out, n);
	assert_true(n > 0);
}

static enum dialect dialect_of(const char *name)
{
	if (strstr(name, "v1_messages_"))
		return DIALECT_ANTHROPIC;
	if (strstr(name, "chat_completions_"))
		return DIALECT_CHAT;
	if (strstr(name, "converse-stream_"))
		return DIALECT_CONVERSE;
	assert_non_null(strstr(name, "responses_"));
	return DIALECT_RESPONSES;
}

static void read_row(char *line)
{
	struct expected *x = &streams[stream_count];
	char *column[9], *rest = line;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(column); i++) {
		column[i] = strsep(&rest, "\t\n");
		assert_non_null(column[i]);
	}
	assert_true(stream_count < STREAMS_MAX);
	(void)snprintf(x->name, sizeof(x->name), "%s", column[0]);
	x->wire = dialect_of(column[0]);
	x->text_bytes = (uint32_t)strtoul(column[1], NULL, 10);
	x->text_crc = (uint32_t)strtoul(column[2], NULL, 10);
	x->calls = (uint32_t)strtoul(column[3], NULL, 10);
	x->calls_crc = (uint32_t)strtoul(column[4], NULL, 10);
	x->stop = stop_named(column[5]);
	x->usage_known = strcmp(column[6], "-") != 0;
	x->input = strtoul(column[6], NULL, 10);
	x->output = strtoul(column[7], NULL, 10);
	(void)snprintf(x->dropped, sizeof(x->dropped), "%s", column[8]);
	read_file(x->name, &x->bytes);
	stream_count++;
}

static int read_rows(void **state)
{
	char line[1024];
	FILE *f = fopen(STREAMS_DIR "expected.tsv", "r");

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		read_row(line);
	(void)fclose(f);
	assert_int_equal(stream_count, 28);
	return 0;
}

static int free_rows(void **state)
{
	(void)state;
	while (stream_count)
		buf_fini(&streams[--stream_count].bytes);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_every_stream_on),
		cmocka_unit_test(translates_every_stream),
		cmocka_unit_test(a_cut_stream_ends_in_an_error),
	};

	return cmocka_run_group_tests(tests, read_rows, free_rows);
}
