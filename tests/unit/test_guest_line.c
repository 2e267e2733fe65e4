/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_guest_line.c - lines between gate and guest, and each refusal
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/gate/guest_line.h"

#define HEX32 "0707070707070707070707070707070707070707070707070707070707070707"

static uint8_t seven[DIGEST_BYTES];

static int setup(void **state)
{
	(void)state;
	memset(seven, 7, sizeof(seven));
	return 0;
}

static void says_hello_in_one_line(void **state)
{
	static const uint8_t entropy[GUEST_ENTROPY_BYTES];
	struct msg_guest_hello_begin m = {
		.nonce = span_of(seven, sizeof(seven)),
		.entropy = span_of(entropy, sizeof(entropy)),
		.hostname = span_text("h"),
		.environment = span_text("{\"A\":\"1\"}")};
	struct buf line;
	struct json j;

	(void)state;
	buf_init(&line, GUEST_HELLO_MAX_BYTES);
	assert_int_equal(guest_line_hello(&line, &m, 1234567), ERR_OK);
	assert_ptr_equal(memchr(line.data, '\n', line.len_bytes),
			 line.data + line.len_bytes - 1);
	json_init(&j);
	assert_int_equal(json_parse(&j, buf_span(&line), NULL), ERR_OK);
	assert_true(json_string_is(&j, json_find(&j, 0, "op"), "hello"));
	assert_true(json_string_is(&j, json_find(&j, 0, "nonce"), HEX32));
	assert_true(
		span_is(json_raw(&j, json_find(&j, 0, "wall_us")), "1234567"));
	assert_true(json_string_is(&j, json_find(&j, 0, "env.A"), "1"));
	json_fini(&j);
	buf_reset(&line);
	m.environment = span_text("{\"A\":1}");
	assert_int_equal(guest_line_hello(&line, &m, 1), ERR_FORMAT);
	m.environment = span_text("[]");
	assert_int_equal(guest_line_hello(&line, &m, 1), ERR_FORMAT);
	m.environment = span_text("{}");
	m.entropy.len_bytes = 63;
	assert_int_equal(guest_line_hello(&line, &m, 1), ERR_FORMAT);
	buf_fini(&line);
}

static enum err check(const char *line)
{
	struct guest_facts f;
	const char *why = NULL;
	enum err e =
		guest_line_check(span_text(line), span_of(seven, sizeof(seven)),
				 seven, &f, &why);

	assert_non_null(why);
	return e;
}

static void takes_only_the_right_receipt(void **state)
{
	(void)state;
	assert_int_equal(check("{\"v\":1,\"nonce\":\"" HEX32 "\",\"guestd\":"
			       "\"1\",\"kernel\":\"6\",\"receipt\":\"" HEX32
			       "\"}"),
			 ERR_OK);
	assert_int_equal(check("{\"v\":2,\"nonce\":\"" HEX32 "\",\"guestd\":"
			       "\"1\",\"kernel\":\"6\",\"receipt\":\"" HEX32
			       "\"}"),
			 ERR_RANGE);
	assert_int_equal(check("{\"v\":1,\"guestd\":\"1\",\"kernel\":\"6\","
			       "\"receipt\":\"" HEX32 "\"}"),
			 ERR_INTEGRITY);
	assert_int_equal(check("{\"v\":1,\"nonce\":\"" HEX32 "\",\"guestd\":"
			       "\"1\",\"kernel\":\"6\",\"receipt\":\"00\"}"),
			 ERR_INTEGRITY);
	assert_int_equal(check("{\"v\":1,\"nonce\":\"" HEX32 "\",\"kernel\":"
			       "\"6\",\"receipt\":\"" HEX32 "\"}"),
			 ERR_FORMAT);
	assert_int_equal(check(""), ERR_FORMAT);
	assert_int_equal(check("[]"), ERR_FORMAT);
	assert_int_equal(check("{\"v\":1,\"v\":1}"), ERR_FORMAT);
}

static void reads_events(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"{\"event\":\"exited\"}",
		"{\"event\":7,\"name\":\"main\"}",
		"{\"event\":\"Exited\",\"name\":\"main\"}",
		"{\"event\":\"exited\",\"name\":\"a b\"}",
		"{\"event\":\"exited\",\"name\":\"a\\u0000\"}",
		"{\"event\":\"exited\",\"name\":\"main\",\"code\":1.5}",
		"{\"event\":\"exited\",\"name\":\"main\",\"code\":9999999999}",
		"{\"event\":\"exited\",\"name\":\"main\",\"signalled\":1}",
	};
	struct guest_event ev;
	size_t i;

	(void)state;
	assert_int_equal(guest_line_event(span_text("{\"event\":\"exited\","
						    "\"name\":\"main\","
						    "\"code\":-3}"),
					  &ev),
			 ERR_OK);
	assert_string_equal(ev.event, "exited");
	assert_string_equal(ev.name, "main");
	assert_int_equal(ev.code, -3);
	assert_false(ev.signalled);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (guest_line_event(span_text(bad[i]), &ev) != ERR_FORMAT)
			fail_msg("accepted %s", bad[i]);
}

static void reads_announcements(void **state)
{
	static char big[GUEST_ANSWER_MAX_BYTES + 2];
	struct guest_facts f;

	(void)state;
	assert_int_equal(
		guest_line_announce(span_text("{\"guestd\":\"1\",\"kernel\":"
					      "\"6\",\"uptime_ns\":5}"),
				    &f),
		ERR_OK);
	assert_int_equal(f.uptime_ns, 5);
	assert_int_equal(
		guest_line_announce(span_text("{\"guestd\":\"1\",\"kernel\":"
					      "\"6\"}"),
				    &f),
		ERR_FORMAT);
	memset(big, ' ', sizeof(big) - 1);
	assert_int_equal(guest_line_announce(span_text(big), &f), ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_hello_in_one_line),
		cmocka_unit_test(takes_only_the_right_receipt),
		cmocka_unit_test(reads_events),
		cmocka_unit_test(reads_announcements),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
