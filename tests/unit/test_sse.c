/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sse.c - server-sent events: any cut, any line end, no byte lost
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/sse.h"

/* Feeds @text in chunks and writes "name|data;" for every event. */
static void run(const char *text, size_t chunk, struct buf *ret_events,
		struct buf *ret_raw, bool *ret_between)
{
	struct sse s;
	struct span all = span_text(text);
	struct sse_event ev;
	size_t at, len;

	sse_init(&s, 4096);
	for (at = 0; at < all.len_bytes; at += len) {
		struct span in;

		len = all.len_bytes - at < chunk ? all.len_bytes - at : chunk;
		in = span_of(all.data + at, len);
		while (sse_next(&s, &in, &ev) == ERR_OK) {
			assert_int_equal(buf_put_span(ret_raw, ev.raw), ERR_OK);
			if (!ev.has_name && !ev.has_data)
				continue;
			if (ev.has_data && ev.data_in_raw)
				assert_ptr_equal(ev.data.data,
						 ev.raw.data +
							 ev.data_at_bytes);
			assert_int_equal(buf_put_span(ret_events, ev.name),
					 ERR_OK);
			assert_int_equal(buf_put_text(ret_events, "|"), ERR_OK);
			assert_int_equal(buf_put_span(ret_events, ev.data),
					 ERR_OK);
			assert_int_equal(buf_put_text(ret_events, ";"), ERR_OK);
		}
		assert_int_equal(in.len_bytes, 0);
	}
	*ret_between = sse_is_between_events(&s);
	assert_int_equal(buf_put_span(ret_raw, sse_rest(&s)), ERR_OK);
	sse_fini(&s);
}

static void expect(const char *text, const char *events, bool between)
{
	static const size_t chunks[] = {1, 2, 3, 5, 7, 1000};
	struct buf got, raw;
	bool ended;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		buf_init(&got, 65536);
		buf_init(&raw, 65536);
		run(text, chunks[i], &got, &raw, &ended);
		if (!span_is(buf_span(&got), events))
			fail_msg("chunks of %zu: %.*s", chunks[i],
				 (int)got.len_bytes, (const char *)got.data);
		assert_true(span_is(buf_span(&raw), text));
		assert_int_equal(ended, between);
		buf_fini(&got);
		buf_fini(&raw);
	}
}

static void reads_every_line_end(void **state)
{
	(void)state;
	expect("event: a\ndata: 1\n\ndata: 2\n\n", "a|1;|2;", true);
	expect("event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", "a|1;|2;", true);
	expect("event: a\rdata: 1\r\rdata: 2\r\r", "a|1;|2;", true);
	expect("event: a\r\ndata: 1\r\n\ndata: 2\n\r\n", "a|1;|2;", true);
}

static void follows_the_field_rules(void **state)
{
	(void)state;
	expect("data:x\n\n", "|x;", true);
	expect("data:  x \n\n", "| x ;", true);
	expect("data\n\n", "|;", true);
	expect("data: a\ndata: b\ndata:\n\n", "|a\nb\n;", true);
	expect(": comment\n\n:another\n\ndata: 1\n\n", "|1;", true);
	expect("id: 3\nretry: 5\nother: x\n\n", "", true);
	expect("event: a\nevent: b\ndata: 1\n\n", "b|1;", true);
	expect("\n\n\n\ndata: 1\n\n\n", "|1;", true);
	expect("dat: 1\nxdata: 2\n\n", "", true);
	expect("event: only\n\n", "only|;", true);
}

static void skips_one_byte_order_mark(void **state)
{
	(void)state;
	expect("\xef\xbb\xbf"
	       "data: 1\n\n",
	       "|1;", true);
	expect("\xef\xbb\xbf\xef\xbb\xbf"
	       "data: 1\n\n",
	       "", true);
}

static void notices_an_unfinished_event(void **state)
{
	(void)state;
	expect("data: 1\n\ndata: 2\n", "|1;", false);
	expect("data: 1\n\ndata: 2", "|1;", false);
	expect("d", "", false);
	expect("", "", true);
}

static void refuses_an_event_over_the_ceiling(void **state)
{
	char big[4200] = {0};
	struct sse s;
	struct sse_event ev;
	struct span in = span_of(big, sizeof(big));
	size_t i;

	(void)state;
	memset(big, 'x', sizeof(big));
	sse_init(&s, 4096);
	assert_int_equal(sse_next(&s, &in, &ev), ERR_LIMIT);
	sse_fini(&s);
	/* Many short lines count too. */
	for (i = 0; i < sizeof(big); i++)
		big[i] = i % 2 ? '\n' : ':';
	in = span_of(big, sizeof(big));
	sse_init(&s, 4096);
	assert_int_equal(sse_next(&s, &in, &ev), ERR_LIMIT);
	sse_fini(&s);
}

static void keeps_no_memory_between_events(void **state)
{
	struct span in = span_text("data: 1\ndata: 2\n\n");
	struct sse_event ev;
	struct sse s;

	(void)state;
	sse_init(&s, 4096);
	assert_int_equal(sse_next(&s, &in, &ev), ERR_OK);
	assert_int_equal(sse_next(&s, &in, &ev), ERR_AGAIN);
	assert_int_equal(s.raw.cap_bytes + s.joined.cap_bytes, 0);
	in = span_text("data: 3\n\n");
	assert_int_equal(sse_next(&s, &in, &ev), ERR_OK);
	assert_true(span_is(ev.data, "3"));
	sse_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_line_end),
		cmocka_unit_test(follows_the_field_rules),
		cmocka_unit_test(skips_one_byte_order_mark),
		cmocka_unit_test(notices_an_unfinished_event),
		cmocka_unit_test(refuses_an_event_over_the_ceiling),
		cmocka_unit_test(keeps_no_memory_between_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
