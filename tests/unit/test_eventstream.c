/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_eventstream.c - AWS event streams: frames in and out
 *
 * The frames follow the examples that AWS publishes with its own readers;
 * their checksums were computed with zlib.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/crc32.h"
#include "engine/gate/eventstream.h"

#define FRAME(text)                    \
	{                              \
		text, sizeof(text) - 1 \
	}

struct bytes {
	const char *data;
	size_t len;
};

static struct span span(struct bytes b)
{
	return span_of(b.data, b.len);
}

static const struct bytes empty =
	FRAME("\0\0\0\x10\0\0\0\0\x05\xc2H\xeb}\x98\xc8\xff");
static const struct bytes plain =
	FRAME("\0\0\0\x1d\0\0\0\0\xfdR\x8cZ{'foo':'bar'}\xc3"
	      "e96");
static const struct bytes with_text =
	FRAME("\0\0\0=\0\0\0 \x07\xfd\x83\x96\x0c"
	      "content-type\x07\0\x10"
	      "application/json{'foo':'bar'}\x8d\x9c\x08\xb1");
static const struct bytes with_i32 =
	FRAME("\0\0\0+\0\0\0\x0e\x34\x8b\xec{\x08"
	      "event-id\x04\0\0\xa0\x0c{'foo':'bar'}\xd3\x89\x02\x85");
static const struct bytes all_types = FRAME("\0\0\0b\0\0\0R\x03\xb5\xcb\x9c\x01"
					    "0\0\x01"
					    "1\x01\x01"
					    "2\x02\x02\x01"
					    "3\x03\0\x03\x01"
					    "4\x04\0\0\0\x04\x01"
					    "5\x05\0\0\0\0\0\0\0\x05\x01"
					    "6\x06\0\x05"
					    "bytes\x01"
					    "7\x07\0\x04"
					    "utf8\x01"
					    "8\x08\0\0\0\0\0\0\0\x08\x01"
					    "9\x09"
					    "0123456789abcdefc56q");
static const struct bytes error_frame =
	FRAME("\0\0\0R\0\0\0B\xbf#c~\x0d:message-type\x07\0\x05"
	      "error\x0b:error-code\x07\0\x04"
	      "code\x0e:error-message\x07\0\x07messagekl\xea=");

static void test_crc32(void **state)
{
	uint32_t crc;

	(void)state;
	assert_int_equal(crc32_update(0, span_text("")), 0);
	assert_int_equal(crc32_update(0, span_text("123456789")), 0xcbf43926u);
	crc = crc32_update(0, span_text("1234"));
	assert_int_equal(crc32_update(crc, span_text("56789")), 0xcbf43926u);
}

/* Feeds in chunks; the status at the end, or of the first frame. */
static enum err feed(struct eventstream *s, struct span all, size_t chunk,
		     struct eventstream_frame *f)
{
	enum err e = ERR_AGAIN;
	size_t at;

	for (at = 0; at < all.len_bytes && e == ERR_AGAIN; at += chunk) {
		size_t left = all.len_bytes - at;
		struct span in =
			span_of(all.data + at, chunk < left ? chunk : left);

		e = eventstream_next(s, &in, f);
	}
	return e;
}

static void check_read(struct bytes frame, const char *payload)
{
	static const size_t chunks[] = {1, 2, 3, 7, 1000};
	struct eventstream_frame f = {0};
	struct eventstream s;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
		assert_int_equal(feed(&s, span(frame), chunks[i], &f), ERR_OK);
		assert_true(span_equal(f.raw, span(frame)));
		assert_true(span_is(f.payload, payload));
		assert_true(eventstream_is_between_frames(&s));
		eventstream_fini(&s);
	}
}

static void test_reads_what_aws_publishes(void **state)
{
	(void)state;
	check_read(empty, "");
	check_read(plain, "{'foo':'bar'}");
	check_read(with_text, "{'foo':'bar'}");
	check_read(with_i32, "{'foo':'bar'}");
	check_read(all_types, "");
	check_read(error_frame, "");
}

static void test_header_types(void **state)
{
	static const int64_t numbers[] = {1, 0, 2, 3, 4, 5, 0, 0, 8, 0};
	struct eventstream_header h;
	struct eventstream_frame f = {0};
	struct eventstream s;
	struct reader r;
	int i = 0;

	(void)state;
	eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
	assert_int_equal(feed(&s, span(all_types), 1000, &f), ERR_OK);
	reader_init(&r, f.headers);
	while (eventstream_next_header(&r, &h)) {
		assert_int_equal(h.name.len_bytes, 1);
		assert_int_equal(h.name.data[0], '0' + i);
		assert_int_equal(h.type, i);
		assert_int_equal(eventstream_number(&h), numbers[i]);
		if (h.type == EVENTSTREAM_BYTES)
			assert_true(span_is(h.value, "bytes"));
		if (h.type == EVENTSTREAM_TEXT)
			assert_true(span_is(h.value, "utf8"));
		if (h.type == EVENTSTREAM_UUID)
			assert_true(span_is(h.value, "0123456789abcdef"));
		i++;
	}
	assert_int_equal(i, 10);
	assert_int_equal(r.status, ERR_OK);
	eventstream_fini(&s);

	eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
	assert_int_equal(feed(&s, span(error_frame), 5, &f), ERR_OK);
	assert_true(span_is(f.message_type, "error"));
	assert_true(span_is(f.error_code, "code"));
	assert_true(span_is(f.error_message, "message"));
	assert_int_equal(f.event_type.len_bytes, 0);
	eventstream_fini(&s);
}

static void test_negative_numbers(void **state)
{
	const struct eventstream_header h = {.type = EVENTSTREAM_I16,
					     .value = span_of("\xff\xfe", 2)};

	(void)state;
	assert_int_equal(eventstream_number(&h), -2);
}

static void test_many_frames_in_one_piece(void **state)
{
	struct eventstream_frame f;
	struct eventstream s;
	struct buf all;
	struct span in;
	int i;

	(void)state;
	buf_init(&all, 4096);
	for (i = 0; i < 5; i++)
		assert_int_equal(buf_put_span(&all,
					      span(i % 2 ? plain : with_text)),
				 ERR_OK);
	eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
	in = buf_span(&all);
	for (i = 0; i < 5; i++) {
		assert_int_equal(eventstream_next(&s, &in, &f), ERR_OK);
		assert_true(span_equal(f.raw, span(i % 2 ? plain : with_text)));
	}
	assert_int_equal(eventstream_next(&s, &in, &f), ERR_AGAIN);
	assert_true(eventstream_is_between_frames(&s));
	eventstream_fini(&s);
	buf_fini(&all);
}

static void test_every_cut_is_seen(void **state)
{
	struct eventstream_frame f;
	struct eventstream s;
	size_t len;

	(void)state;
	for (len = 1; len < with_text.len; len++) {
		eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
		assert_int_equal(feed(&s, span_of(with_text.data, len), 3, &f),
				 ERR_AGAIN);
		assert_false(eventstream_is_between_frames(&s));
		eventstream_fini(&s);
	}
}

static void test_every_flipped_bit_is_seen(void **state)
{
	struct eventstream_frame f;
	struct eventstream s;
	uint8_t copy[128];
	size_t bit;

	(void)state;
	for (bit = 0; bit < 8 * with_text.len; bit++) {
		memcpy(copy, with_text.data, with_text.len);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
		assert_int_equal(feed(&s, span_of(copy, with_text.len), 1000,
				      &f),
				 ERR_FORMAT);
		assert_non_null(s.error_text);
		/* Nothing is read behind it. */
		assert_int_equal(feed(&s, span(plain), 1000, &f), ERR_FORMAT);
		eventstream_fini(&s);
	}
}

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* A frame with right checksums around whatever the headers are. */
static void check_refused(uint32_t total, uint32_t headers_len,
			  struct bytes headers, size_t max, enum err want,
			  const char *why)
{
	struct eventstream_frame f;
	struct eventstream s;
	uint8_t *frame = calloc(1, 1u << 20);

	assert_non_null(frame);
	put_u32(frame, total);
	put_u32(frame + 4, headers_len);
	put_u32(frame + 8, crc32_update(0, span_of(frame, 8)));
	if (headers.len)
		memcpy(frame + 12, headers.data, headers.len);
	if (total >= 16 && total <= 1u << 20)
		put_u32(frame + total - 4,
			crc32_update(0, span_of(frame, total - 4)));
	eventstream_init(&s, max);
	assert_int_equal(feed(&s,
			      span_of(frame,
				      total < 1u << 20 ? total + 16 : 1u << 20),
			      1000, &f),
			 want);
	assert_string_equal(s.error_text, why);
	eventstream_fini(&s);
	free(frame);
}

static void test_lengths_are_checked(void **state)
{
	static const struct bytes none = FRAME("");
	const size_t max = EVENTSTREAM_FRAME_MAX_BYTES;

	(void)state;
	check_refused(15, 0, none, max, ERR_FORMAT,
		      "a frame whose lengths contradict each other");
	check_refused(0, 0, none, max, ERR_FORMAT,
		      "a frame whose lengths contradict each other");
	check_refused(32, 17, none, max, ERR_FORMAT,
		      "a frame whose lengths contradict each other");
	check_refused(UINT32_MAX, 0, none, max, ERR_LIMIT,
		      "a frame over the size limit");
	check_refused((24u << 20) + 1, 0, none, max, ERR_LIMIT,
		      "a frame over the size limit");
	check_refused(1025, 0, none, 1024, ERR_LIMIT,
		      "a frame over the size limit");
	check_refused((128u << 10) + 1 + 16, (128u << 10) + 1, none, max,
		      ERR_LIMIT, "a frame with too long headers");
}

static void check_headers(struct bytes headers, enum err want, const char *why)
{
	check_refused(16 + (uint32_t)headers.len, (uint32_t)headers.len,
		      headers, EVENTSTREAM_FRAME_MAX_BYTES, want, why);
}

static void test_headers_are_checked(void **state)
{
	static const char malformed[] = "a frame with malformed headers";
	char many[EVENTSTREAM_HEADERS_MAX + 1][3];
	size_t i;

	(void)state;
	check_headers((struct bytes)FRAME("\0\0"), ERR_FORMAT, malformed);
	check_headers((struct bytes)FRAME("\x01"), ERR_FORMAT, malformed);
	check_headers((struct bytes)FRAME("\x01x"), ERR_FORMAT, malformed);
	check_headers((struct bytes)FRAME("\x01x\x0a"), ERR_FORMAT, malformed);
	check_headers((struct bytes)FRAME("\x01x\x04\0\0\0"), ERR_FORMAT,
		      malformed);
	check_headers((struct bytes)FRAME("\x01x\x07\0"), ERR_FORMAT,
		      malformed);
	check_headers((struct bytes)FRAME("\x01x\x07\0\x02y"), ERR_FORMAT,
		      malformed);
	check_headers((struct bytes)FRAME("\x01x\x06\xff\xffy"), ERR_FORMAT,
		      malformed);
	check_headers((struct bytes)FRAME("\x01x\x09"
					  "0123456789abcde"),
		      ERR_FORMAT, malformed);
	check_headers((struct bytes)FRAME("\x01x\0\x01y\0\x01x\x01"),
		      ERR_FORMAT, "a frame with a header given twice");
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		many[i][0] = 1;
		many[i][1] = (char)(i + 1);
		many[i][2] = EVENTSTREAM_TRUE;
	}
	check_headers((struct bytes){many[0], sizeof(many)}, ERR_LIMIT,
		      "a frame with too many headers");
}

static void test_writes_what_it_reads(void **state)
{
	const struct bytes frames[] = {empty,    plain,     with_text,
				       with_i32, all_types, error_frame};
	struct eventstream_header h[16];
	struct eventstream_frame f = {0};
	struct eventstream s;
	struct reader r;
	struct buf out;
	size_t i, count;

	(void)state;
	buf_init(&out, 4096);
	for (i = 0; i < ARRAY_SIZE(frames); i++) {
		eventstream_init(&s, EVENTSTREAM_FRAME_MAX_BYTES);
		assert_int_equal(feed(&s, span(frames[i]), 1000, &f), ERR_OK);
		reader_init(&r, f.headers);
		for (count = 0; eventstream_next_header(&r, &h[count]); count++)
			;
		buf_reset(&out);
		assert_int_equal(eventstream_put(&out, h, count, f.payload),
				 ERR_OK);
		assert_true(span_equal(buf_span(&out), span(frames[i])));
		eventstream_fini(&s);
	}
	buf_fini(&out);
}

static void test_writing_has_limits(void **state)
{
	static uint8_t large[EVENTSTREAM_FRAME_MAX_BYTES];
	struct eventstream_header h = {span_text("n"), EVENTSTREAM_TEXT,
				       span_of(large, 65536)};
	struct buf out;

	(void)state;
	buf_init(&out, 2 * sizeof(large));
	assert_int_equal(buf_put_text(&out, "kept"), ERR_OK);
	assert_int_equal(eventstream_put(&out, &h, 1, span_text("")),
			 ERR_FORMAT);
	h = (struct eventstream_header){span_text(""), EVENTSTREAM_TRUE,
					span_text("")};
	assert_int_equal(eventstream_put(&out, &h, 1, span_text("")),
			 ERR_FORMAT);
	h = (struct eventstream_header){span_text("n"), EVENTSTREAM_I32,
					span_text("123")};
	assert_int_equal(eventstream_put(&out, &h, 1, span_text("")),
			 ERR_FORMAT);
	assert_int_equal(eventstream_put(&out, NULL, 0,
					 span_of(large, sizeof(large))),
			 ERR_LIMIT);
	assert_true(span_is(buf_span(&out), "kept"));
	buf_fini(&out);
}

static void test_events_and_exceptions(void **state)
{
	struct eventstream_frame f;
	struct eventstream s;
	struct span in;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(eventstream_put_event(&out, "messageStart",
					       span_text("{\"a\":1}")),
			 ERR_OK);
	assert_int_equal(eventstream_put_exception(&out, "throttlingException",
						   span_text("{}")),
			 ERR_OK);
	eventstream_init(&s, 4096);
	in = buf_span(&out);
	assert_int_equal(eventstream_next(&s, &in, &f), ERR_OK);
	assert_true(span_is(f.message_type, "event"));
	assert_true(span_is(f.event_type, "messageStart"));
	assert_true(span_is(f.payload, "{\"a\":1}"));
	assert_int_equal(eventstream_next(&s, &in, &f), ERR_OK);
	assert_true(span_is(f.message_type, "exception"));
	assert_true(span_is(f.exception_type, "throttlingException"));
	assert_int_equal(f.event_type.len_bytes, 0);
	eventstream_fini(&s);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32),
		cmocka_unit_test(test_reads_what_aws_publishes),
		cmocka_unit_test(test_header_types),
		cmocka_unit_test(test_negative_numbers),
		cmocka_unit_test(test_many_frames_in_one_piece),
		cmocka_unit_test(test_every_cut_is_seen),
		cmocka_unit_test(test_every_flipped_bit_is_seen),
		cmocka_unit_test(test_lengths_are_checked),
		cmocka_unit_test(test_headers_are_checked),
		cmocka_unit_test(test_writes_what_it_reads),
		cmocka_unit_test(test_writing_has_limits),
		cmocka_unit_test(test_events_and_exceptions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
