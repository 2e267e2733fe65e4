/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_args.c - options, the table of commands, exit codes, sockets
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tui/args.h"
#include "tui/command.h"
#include "tui/detach_keys.h"
#include "tui/exit_code.h"

static const struct option_row options[] = {
	{"image", 'i', "NAME", "x"},
	{"tty", 't', NULL, "x"},
	{"quiet", 'q', NULL, "x"},
	{0},
};
static const struct option_row *const tables[] = {options, NULL};

#define PARSE(stop, ...)                                                     \
	args_parse((char *const[]){__VA_ARGS__},                             \
		   sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), tables, \
		   stop, &args)
#define W(text) ((char[]){text})

static void test_forms_of_options(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(PARSE(false, W("--image"), W("a"), W("x"), W("-tq"),
			       W("--image=b"), W("y")),
			 ERR_OK);
	assert_string_equal(args_value(&args, "image"), "b");
	assert_true(args_has(&args, "tty"));
	assert_true(args_has(&args, "quiet"));
	assert_int_equal(args.rest_count, 2);
	assert_string_equal(args.rest[1], "y");
	assert_null(args.rest[2]);
	assert_int_equal(PARSE(false, W("-i"), W("a"), W("-tib")), ERR_OK);
	assert_string_equal(args_value(&args, "image"), "b");
	assert_int_equal(PARSE(false, W("--image="), W("-")), ERR_OK);
	assert_string_equal(args_value(&args, "image"), "");
	assert_string_equal(args.rest[0], "-");
}

static void test_program_keeps_its_options(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(PARSE(true, W("-t"), W("ls"), W("-t"), W("--"),
			       W("--image")),
			 ERR_OK);
	assert_int_equal(args.rest_count, 4);
	assert_string_equal(args.rest[1], "-t");
	assert_null(args_value(&args, "image"));
	assert_int_equal(PARSE(true, W("--"), W("--image")), ERR_OK);
	assert_string_equal(args.rest[0], "--image");
}

static void test_wrong_options_name_the_choices(void **state)
{
	struct args args;
	uint64_t number;

	(void)state;
	assert_int_equal(PARSE(false, W("--imag"), W("x")), ERR_FORMAT);
	assert_non_null(strstr(args.error, "--image, --tty"));
	assert_int_equal(PARSE(false, W("-z")), ERR_FORMAT);
	assert_int_equal(PARSE(false, W("--tty=yes")), ERR_FORMAT);
	assert_non_null(strstr(args.error, "takes no value"));
	assert_int_equal(PARSE(false, W("--image")), ERR_FORMAT);
	assert_non_null(strstr(args.error, "needs a value"));
	assert_int_equal(PARSE(false, W("--image"), W("12")), ERR_OK);
	assert_int_equal(args_number(&args, "image", 1, 12, &number), ERR_OK);
	assert_int_equal(number, 12);
	assert_int_equal(args_number(&args, "image", 1, 11, &number),
			 ERR_FORMAT);
	assert_non_null(strstr(args.error, "from 1 to 11"));
	assert_int_equal(args_number(&args, "tty", 1, 11, &number),
			 ERR_NOT_FOUND);
}

static void test_too_many_words(void **state)
{
	static char word[] = "x", option[] = "-t";
	static char *words[ARGS_REST_MAX + 1];
	struct args args;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = word;
	assert_int_equal(args_parse(words, ARGS_REST_MAX, tables, false, &args),
			 ERR_OK);
	assert_int_equal(args_parse(words, ARRAY_SIZE(words), tables, false,
				    &args),
			 ERR_FORMAT);
	for (i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = option;
	assert_int_equal(args_parse(words, ARGS_OPTIONS_MAX + 1, tables, false,
				    &args),
			 ERR_FORMAT);
}

static void test_commands_are_found(void **state)
{
	char *const list[] = {W("session"), W("list"), W("x")};
	char *const run[] = {W("run"), W("session")};
	char *const none[] = {W("sessions"), W("list")};
	size_t taken = 0, i, k;

	(void)state;
	assert_ptr_equal(command_find(list, 3, &taken), &command_session_list);
	assert_int_equal(taken, 2);
	assert_ptr_equal(command_find(run, 2, &taken), &command_run);
	assert_int_equal(taken, 1);
	assert_null(command_find(none, 2, &taken));
	assert_null(command_find(list, 1, &taken));
	for (i = 0; i < command_count; i++) {
		assert_non_null(command_table[i]->run);
		assert_non_null(command_table[i]->options);
		assert_true(strlen(command_table[i]->summary) > 0);
		assert_true(command_table[i]->args_min <=
			    command_table[i]->args_max);
		for (k = 0; k < i; k++)
			assert_string_not_equal(command_table[i]->name,
						command_table[k]->name);
	}
}

static void test_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(exit_code_from_rpc("denied", 6), EXIT_CODE_DENIED);
	assert_int_equal(exit_code_from_rpc("not_found", -1),
			 EXIT_CODE_NOT_FOUND);
	assert_int_equal(exit_code_from_rpc("permission", -1),
			 EXIT_CODE_PERMISSION);
	assert_int_equal(exit_code_from_rpc("timeout", 99), EXIT_CODE_TIMEOUT);
	/* An error is never 0, and never a code that is not listed. */
	assert_int_equal(exit_code_from_rpc("internal", 0), EXIT_CODE_FAILED);
	assert_int_equal(exit_code_from_rpc(NULL, 42), EXIT_CODE_FAILED);
	assert_int_equal(exit_code_from_rpc("ok", -1), EXIT_CODE_FAILED);
	assert_int_equal(exit_code_from_err(ERR_DENIED), EXIT_CODE_DENIED);
	assert_int_equal(exit_code_of_program(3, 0), 3);
	assert_int_equal(exit_code_of_program(9, 1), 137);
	assert_int_equal(exit_code_of_program(-1, 0), 255);
	assert_int_equal(exit_code_of_program(256, 0), 255);
	assert_int_equal(exit_code_of_program(0, 1), 255);
}

static void test_detach_prefix(void **state)
{
	struct detach_keys keys = {0};
	enum detach_action action;
	struct buf out;

	(void)state;
	buf_init(&out, 256);
	assert_int_equal(detach_keys_filter(&keys, span_text("ab\x1d"), &out,
					    &action),
			 ERR_OK);
	assert_int_equal(action, DETACH_NONE);
	assert_true(span_is(buf_span(&out), "ab"));
	assert_int_equal(detach_keys_filter(&keys,
					    span_text("\x1d"
						      "c"),
					    &out, &action),
			 ERR_OK);
	assert_true(span_is(buf_span(&out), "ab\x1d"
					    "c"));
	assert_int_equal(detach_keys_filter(&keys, span_text("\x1dz"), &out,
					    &action),
			 ERR_OK);
	assert_int_equal(action, DETACH_HELP);
	assert_int_equal(out.len_bytes, 4);
	assert_int_equal(detach_keys_filter(&keys,
					    span_text("e\x1d"
						      "drest"),
					    &out, &action),
			 ERR_OK);
	assert_int_equal(action, DETACH_LEAVE);
	assert_int_equal(out.len_bytes, 5);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms_of_options),
		cmocka_unit_test(test_program_keeps_its_options),
		cmocka_unit_test(test_wrong_options_name_the_choices),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_commands_are_found),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_detach_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
