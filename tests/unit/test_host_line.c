/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_host_line.c - every way in which a destination's line can be wrong
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine/egress/host_line.h"

static enum err parse(const char *text, struct host_line *ret)
{
	size_t taken;

	return host_line_parse(span_text(text), ret, &taken);
}

static void test_good(void **state)
{
	static const struct {
		const char *line, *host;
		uint16_t port;
		bool is_address;
	} rows[] = {
		{"example.com 443\n", "example.com", 443, false},
		{"EXAMPLE.Com 1\n", "example.com", 1, false},
		{"localhost 65535\n", "localhost", 65535, false},
		{"xn--bcher-kva.example 80\n", "xn--bcher-kva.example", 80,
		 false},
		{"1.2.3.4 80\n", "1.2.3.4", 80, true},
		{"[::1] 80\n", "::1", 80, true},
		{"2606:4700::1111 80\n", "2606:4700::1111", 80, true},
		{"::FFFF:1.2.3.4 80\n", "::ffff:1.2.3.4", 80, true},
		{"3com.example 80\n", "3com.example", 80, false},
		{"a.b.c.d.e 80\n", "a.b.c.d.e", 80, false},
		{"1.2.3.example 80\n", "1.2.3.example", 80, false},
	};
	struct host_line line;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(parse(rows[i].line, &line), ERR_OK);
		assert_string_equal(line.host, rows[i].host);
		assert_int_equal(line.port, rows[i].port);
		assert_int_equal(line.is_address, rows[i].is_address);
	}
}

static void test_bad(void **state)
{
	static const char *const rows[] = {
		"\n",
		" \n",
		" 80\n",
		"example.com\n",
		"example.com \n",
		"example.com  80\n",
		"example.com 80 \n",
		"example.com 80\r\n",
		"example.com 80 x\n",
		"example.com 080\n",
		"example.com +80\n",
		"example.com -1\n",
		"example.com 0x50\n",
		"example..com 80\n",
		".example.com 80\n",
		"example.com. 80\n",
		"-a.example 80\n",
		"a-.example 80\n",
		"a_b.example 80\n",
		"a@b.example 80\n",
		"a/b 80\n",
		"a%00b 80\n",
		"a\tb 80\n",
		"b\xc3\xbc"
		"cher.example 80\n",
		"127.1 80\n",
		"127.0.0.1.1 80\n",
		"2130706433 80\n",
		"0x7f000001 80\n",
		"0x7f.1 80\n",
		"a.0x7f 80\n",
		"0177.0.0.01 80\n",
		"256.1.1.1 80\n",
		"1.2.3 80\n",
		"01.2.3.4 80\n",
		"[1.2.3.4] 80\n",
		"[example.com] 80\n",
		"[::1 80\n",
		"::1] 80\n",
		"[] 80\n",
		"[ 80\n",
		"::1%eth0 80\n",
		"fe80::1%2 80\n",
		":::: 80\n",
		"1:2 80\n",
		"http://example.com 80\n",
		"example.com:80 80\n",
	};
	struct host_line line;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (parse(rows[i], &line) != ERR_FORMAT)
			fail_msg("not refused: %s", rows[i]);
	assert_int_equal(parse("example.com 0\n", &line), ERR_RANGE);
	assert_int_equal(parse("example.com 65536\n", &line), ERR_RANGE);
}

static void test_nul(void **state)
{
	static const char nul[] = "exam\0ple.com 80\n";
	struct host_line line;
	size_t taken;

	(void)state;
	assert_int_equal(host_line_parse(span_of(nul, sizeof(nul) - 1), &line,
					 &taken),
			 ERR_FORMAT);
}

static void test_lengths(void **state)
{
	struct host_line line;
	char text[400];
	size_t i;

	(void)state;
	assert_int_equal(parse("", &line), ERR_AGAIN);
	assert_int_equal(parse("example.com 80", &line), ERR_AGAIN);
	memset(text, 'a', sizeof(text));
	text[HOST_LINE_MAX_BYTES - 1] = '\0';
	assert_int_equal(parse(text, &line), ERR_AGAIN);
	text[HOST_LINE_MAX_BYTES - 1] = 'a';
	text[HOST_LINE_MAX_BYTES] = '\0';
	assert_int_equal(parse(text, &line), ERR_LIMIT);
	text[HOST_LINE_MAX_BYTES] = '\n';
	text[HOST_LINE_MAX_BYTES + 1] = '\0';
	assert_int_equal(parse(text, &line), ERR_LIMIT);

	/* a label of 63 is the longest, a name of 253 too */
	(void)snprintf(
		text, sizeof(text), "%.63s.b 80\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaa");
	assert_int_equal(parse(text, &line), ERR_OK);
	(void)snprintf(
		text, sizeof(text), "%.64s.b 80\n",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaa");
	assert_int_equal(parse(text, &line), ERR_FORMAT);
	for (i = 0; i < 253; i++)
		text[i] = i % 2 ? '.' : 'a';
	memcpy(text + 253, " 80\n", 5);
	assert_int_equal(parse(text, &line), ERR_OK);
	for (i = 0; i < 255; i++)
		text[i] = i % 2 ? '.' : 'a';
	memcpy(text + 255, " 80\n", 5);
	assert_int_not_equal(parse(text, &line), ERR_OK);
}

static void test_data_behind_the_line(void **state)
{
	struct span s = span_text("a.example 80\nGET /");
	struct host_line line;
	size_t taken;

	(void)state;
	assert_int_equal(host_line_parse(s, &line, &taken), ERR_OK);
	assert_int_equal(taken, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_data_behind_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
