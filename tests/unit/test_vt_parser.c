/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vt_parser.c - each allowed and each rejected class of terminal output
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   depends on how input is cut: every case is also fed byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/vt/vt_parser.h"

#define OUT_MAX_BYTES (1u << 22)

static void feed(struct vt_parser *p, const char *in, size_t len_bytes,
		 size_t step_bytes, struct buf *out)
{
	size_t i, n;

	for (i = 0; i < len_bytes; i += n) {
		n = len_bytes - i < step_bytes ? len_bytes - i : step_bytes;
		assert_int_equal(vt_parser_feed(p, span_of(in + i, n), out),
				 ERR_OK);
	}
}

static void expect_bytes(const char *in, size_t in_len, const char *want,
			 size_t want_len)
{
	static const size_t steps[] = {1, 2, 3, 7, SIZE_MAX};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		struct vt_parser p;
		struct buf out;

		vt_parser_init(&p);
		buf_init(&out, OUT_MAX_BYTES);
		feed(&p, in, in_len, steps[i], &out);
		if (!span_equal(buf_span(&out), span_of(want, want_len)))
			fail_msg("case '%s' in steps of %zu gives '%.*s'", in,
				 steps[i], (int)out.len_bytes,
				 (const char *)out.data);
		buf_fini(&out);
	}
}

#define EXPECT(in, want) \
	expect_bytes(in, sizeof(in) - 1, want, sizeof(want) - 1)

static void expect_counter(const char *in, enum vt_counter counter)
{
	struct vt_parser p;
	struct buf out;

	vt_parser_init(&p);
	buf_init(&out, OUT_MAX_BYTES);
	feed(&p, in, strlen(in), SIZE_MAX, &out);
	if (p.counters[counter] == 0)
		fail_msg("'%s' does not count under '%s'", in,
			 vt_counter_text(counter));
	buf_fini(&out);
}

static void test_text_passes(void **state)
{
	(void)state;
	EXPECT("plain text 123 ~", "plain text 123 ~");
	EXPECT("a\r\nb\tc\bd", "a\r\nb\tc\bd");
	EXPECT("gr\303\274\303\237 \342\202\254 \360\237\230\200",
	       "gr\303\274\303\237 \342\202\254 \360\237\230\200");
	EXPECT("e\314\201", "e\314\201");
	EXPECT("", "");
}

static void test_bad_utf8_is_replaced(void **state)
{
	(void)state;
	EXPECT("a\377b", "a\357\277\275b");
	EXPECT("\300\257", "\357\277\275\357\277\275");
	EXPECT("\355\240\200", "\357\277\275");
	EXPECT("\364\220\200\200", "\357\277\275");
	EXPECT("\342\202x", "\357\277\275x");
	EXPECT("\342\202\r\n", "\357\277\275\r\n");
	EXPECT("\342\033[1m", "\357\277\275\033[1m");
	EXPECT("\23331m", "\357\277\27531m"); /* CSI as one byte */
}

static void test_hidden_characters_are_dropped(void **state)
{
	(void)state;
	EXPECT("a\342\200\256b", "ab");   /* U+202E */
	EXPECT("a\342\200\213b", "ab");   /* U+200B */
	EXPECT("\357\273\277x", "x");     /* U+FEFF */
	EXPECT("\363\240\200\241x", "x"); /* a tag */
	EXPECT("\302\23331mx", "31mx");   /* U+009B */
	EXPECT("\342\200\250x", "x");     /* U+2028 */
	expect_counter("\342\200\256", VT_COUNT_HIDDEN);
}

static void test_controls_are_dropped(void **state)
{
	(void)state;
	EXPECT("a\a\v\f\005\016\017\177b", "ab");
	expect_bytes("a\0b", 3, "ab", 2);
	expect_counter("\a", VT_COUNT_BELL);
	expect_counter("\005", VT_COUNT_CONTROL);
}

static void test_combining_marks_are_bounded(void **state)
{
	char in[1 + 2 * 1000], want[1 + 2 * VT_COMBINING_MAX];
	size_t i;

	(void)state;
	in[0] = want[0] = 'a';
	for (i = 0; i < 1000; i++)
		memcpy(in + 1 + 2 * i, "\314\201", 2);
	for (i = 0; i < VT_COMBINING_MAX; i++)
		memcpy(want + 1 + 2 * i, "\314\201", 2);
	expect_bytes(in, sizeof(in), want, sizeof(want));
}

static void test_cursor_and_erase_are_canonical(void **state)
{
	(void)state;
	EXPECT("\033[A\033[0B\033[007C\033[2D", "\033[1A\033[1B\033[7C\033[2D");
	EXPECT("\033[E\033[F\033[3G\033[4d", "\033[1E\033[1F\033[3G\033[4d");
	EXPECT("\033[H\033[;5H\033[3;4f", "\033[1;1H\033[1;5H\033[3;4H");
	EXPECT("\033[J\033[1J\033[2J", "\033[0J\033[1J\033[2J");
	EXPECT("\033[K\033[1K\033[2K", "\033[0K\033[1K\033[2K");
	EXPECT("\033[X\033[3@\033[2P", "\033[1X\033[3@\033[2P");
	EXPECT("\033[99999999999A", "\033[9999A");
	EXPECT("\033[18446744073709551616;4294967295H", "\033[9999;9999H");
}

static void test_sgr_is_canonical(void **state)
{
	(void)state;
	EXPECT("\033[m", "\033[0m");
	EXPECT("\033[;1m", "\033[0;1m");
	EXPECT("\033[1;31;042m", "\033[1;31;42m");
	EXPECT("\033[38;5;200m", "\033[38;5;200m");
	EXPECT("\033[38:5:200m", "\033[38;5;200m");
	EXPECT("\033[48;2;1;2;3;1m", "\033[48;2;1;2;3;1m");
	EXPECT("\033[38:2::10:20:30m", "\033[38;2;10;20;30m");
	EXPECT("\033[38:2:10:20:30m", "\033[38;2;10;20;30m");
	EXPECT("\033[4:3m\033[4:0m", "\033[4m\033[24m");
	EXPECT("\033[90;107m", "\033[90;107m");
}

static void test_bad_sgr_is_cut(void **state)
{
	(void)state;
	EXPECT("\033[8m", ""); /* conceal */
	EXPECT("\033[1;8;3m", "\033[1;3m");
	EXPECT("\033[38;5;256m", "");
	EXPECT("\033[38;5m\033[38m\033[38;9;1m", "");
	EXPECT("\033[1;38;2;1;2m", "\033[1m");
	EXPECT("\033[38:2:1:2m", "");
	EXPECT("\033[38;2:1;2;3m", "");
	EXPECT("\033[58;5;1;1m", "\033[1m");
	EXPECT("\033[58:2::1:2:3m", "");
	EXPECT("\033[1:2m", "");
	EXPECT("\033[9999m", "");
	EXPECT("\033[>4;2m\033[?1m\033[1 m", "");
	expect_counter("\033[8m", VT_COUNT_SGR);
}

static void test_modes(void **state)
{
	(void)state;
	EXPECT("\033[?25l\033[?25l\033[?25h", "\033[?25l\033[?25h");
	EXPECT("\033[?1049h\033[?1049h\033[?1049l", "\033[?1049h\033[?1049l");
	EXPECT("\033[?1049l\033[?25h", "");
	EXPECT("\033[?7l\033[?1000h\033[?2004h\033[?1004h\033[4h\033[?47h", "");
	EXPECT("\033[?7;25l", "\033[?25l");
	expect_counter("\033[?7l", VT_COUNT_MODE);
}

static void test_other_sequences_are_dropped(void **state)
{
	(void)state;
	EXPECT("\033[3J", ""); /* the user's scrollback */
	EXPECT("\033[1;2;3H\033[1;2A\033[1:2H", "");
	EXPECT("\033[L\033[M\033[S\033[T\033[b\033[1;5r\033[s\033[u", "");
	EXPECT("\033[c\033[>c\033[=c\033[5n\033[6n\033[21t\033[>q", "");
	EXPECT("\033[!p\033[1$p\033[i\033[5i\033[?5i", "");
	EXPECT("\0337\0338\033c\033M\033D\033E\033=\033>\033Z", "");
	EXPECT("\033(0\033#8\033%G\033 n", "");
	EXPECT("\033[1?2mx\033[?1<hx\033[1 2mx\033[  mx", "xxxx");
	expect_counter("\033[21t", VT_COUNT_CSI);
	expect_counter("\033c", VT_COUNT_ESCAPE);
	expect_counter("\033[1 2m", VT_COUNT_MALFORMED);
}

static void test_strings_are_dropped(void **state)
{
	(void)state;
	EXPECT("a\033]0;title\007b", "ab");
	EXPECT("a\033]52;c;ZXZpbA==\033\\b", "ab");
	EXPECT("a\033P$qm\033\\b\033_Gi=1;AAAA\033\\c\033^"
	       "x\033\\d\033Xy\033\\e",
	       "abcde");
	EXPECT("a\033]8;;http://x/\033\\link\033]8;;\033\\b", "alinkb");
	EXPECT("\033]0;\377\376\234\007x", "x");
	/* BEL ends an OSC only. */
	EXPECT("\033Pa\007b\033\\c", "c");
	expect_counter("\033]0;x\007", VT_COUNT_OSC);
	expect_counter("\033Px\033\\", VT_COUNT_STRING);
}

static void test_strings_are_broken_off(void **state)
{
	(void)state;
	EXPECT("\033]0;abc\030text", "text");
	EXPECT("\033]0;abc\032text", "text");
	EXPECT("\033]0;abc\033[1mtext", "\033[1mtext");
	EXPECT("\033Pabc\030text", "text");
	EXPECT("\033[12\030text\033[3\032!", "text!");
	EXPECT("\033[1\033[2mx", "\033[2mx");
	EXPECT("\033[1\303\244", "\303\244");
	EXPECT("\033[1\r\nm", "\r\n\033[1m");
	expect_counter("\033[1\030", VT_COUNT_ABORTED);
}

static void expect_cap(const char *start, size_t cap_bytes)
{
	size_t len = cap_bytes + 4;
	char *in = malloc(len);

	/* Two bytes introduce it, one goes over the limit, one is text. */
	assert_non_null(in);
	memset(in, 'x', len);
	memcpy(in, start, 2);
	expect_bytes(in, len, "x", 1);
	free(in);
}

static void test_strings_are_capped(void **state)
{
	(void)state;
	expect_cap("\033]", VT_OSC_MAX_BYTES);
	expect_cap("\033P", VT_STRING_MAX_BYTES);
	expect_cap("\033_", VT_STRING_MAX_BYTES);
}

static void test_many_parameters(void **state)
{
	char in[4 + 200], want[4 + 2 * VT_PARAMS_MAX];
	size_t n = 0, i;

	(void)state;
	memcpy(in, "\033[", 2);
	memset(in + 2, ';', 200);
	in[202] = 'm';
	memcpy(want, "\033[", 2);
	n = 2;
	for (i = 0; i < VT_PARAMS_MAX; i++) {
		want[n++] = '0';
		want[n++] = i + 1 < VT_PARAMS_MAX ? ';' : 'm';
	}
	expect_bytes(in, 203, want, n);
	in[202] = 'H';
	expect_bytes(in, 203, "", 0);
}

static void test_finish_restores_the_terminal(void **state)
{
	static const char in[] = "\033[1m\033[?25l\033[?1049hx\342";
	static const char want[] = "\033[1m\033[?25l\033[?1049hx"
				   "\357\277\275\033[0m\033[?25h\033[?1049l";
	struct vt_parser p;
	struct buf out;

	(void)state;
	vt_parser_init(&p);
	buf_init(&out, OUT_MAX_BYTES);
	feed(&p, in, sizeof(in) - 1, SIZE_MAX, &out);
	assert_int_equal(vt_parser_finish(&p, &out), ERR_OK);
	assert_int_equal(out.len_bytes, sizeof(want) - 1);
	assert_memory_equal(out.data, want, sizeof(want) - 1);
	feed(&p, "\033[1m\033[0m", 8, SIZE_MAX, &out);
	buf_reset(&out);
	assert_int_equal(vt_parser_finish(&p, &out), ERR_OK);
	assert_int_equal(out.len_bytes, 0);
	buf_fini(&out);
}

/* Known attacks on terminals: nothing of them but plain text may be left. */
static void test_known_attacks(void **state)
{
	(void)state;
	EXPECT("\033]2;;id\007\033[21t", "");          /* CVE-2003-0063 */
	EXPECT("\033P$q\n;id\n\033\\", "");            /* CVE-2008-2383 */
	EXPECT("\033]50;i$(id)\007\033]50;?\007", ""); /* CVE-2022-45063 */
	EXPECT("\033GQ;\n", "Q;\n");                   /* CVE-2022-4170 */
	EXPECT("\033]99;i=1:d=0;x\033\\", "");         /* CVE-2022-41322 */
	EXPECT("\033P0;0;0q#0;2;0;0;0~-\033\\", "");   /* CVE-2022-24130 */
	EXPECT("\033]49;x\033]49;y\007", "");          /* CVE-2020-9366 */
	EXPECT("\033[38:2:1:2:3:4:5:6:7:8:9:10m", ""); /* CVE-2020-27347 */
	EXPECT("\033]8;;x\033\\\033[>q", "");          /* CVE-2022-46663 */
	EXPECT("\033[b", "");                          /* REP, no glyph */
	EXPECT("a\033[999999999b", "a");
	EXPECT("\033]0;\033\r\n", "\r\n"); /* a fragment's length of -1 */
	EXPECT("\033P$q\033\r\n", "\r\n");
	EXPECT("\033]9;7;cmd\007\033]1337;File=:AA\007", "");
	EXPECT("\033]52;c;?\007\033]4;1;?\007\033]11;?\007", "");
	EXPECT("ok\033[8m; rm -rf ~\033[0m", "ok; rm -rf ~\033[0m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_passes),
		cmocka_unit_test(test_bad_utf8_is_replaced),
		cmocka_unit_test(test_hidden_characters_are_dropped),
		cmocka_unit_test(test_controls_are_dropped),
		cmocka_unit_test(test_combining_marks_are_bounded),
		cmocka_unit_test(test_cursor_and_erase_are_canonical),
		cmocka_unit_test(test_sgr_is_canonical),
		cmocka_unit_test(test_bad_sgr_is_cut),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_other_sequences_are_dropped),
		cmocka_unit_test(test_strings_are_dropped),
		cmocka_unit_test(test_strings_are_broken_off),
		cmocka_unit_test(test_strings_are_capped),
		cmocka_unit_test(test_many_parameters),
		cmocka_unit_test(test_finish_restores_the_terminal),
		cmocka_unit_test(test_known_attacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
