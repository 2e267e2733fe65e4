/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_conf.c - TOML reading: values, lines, every rejection
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs a network or another user.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>

#include "engine/base/conf.h"

static struct conf *parse_ok(const char *text)
{
	struct conf_error error;
	struct conf *conf = NULL;

	conf_error_init(&error);
	if (conf_parse(span_text(text), "t.toml", &error, &conf) != ERR_OK)
		fail_msg("%s", error.text);
	return conf;
}

static void test_values_and_lines(void **state)
{
	struct conf *conf = parse_ok("# first\n"
				     "name = \"a\"\n"
				     "list = [\"x\", \"y\"]\n"
				     "n = -7\n"
				     "f = 1.5\n"
				     "on = true\n"
				     "[[rule]]\n"
				     "id = \"one\"\n"
				     "\n"
				     "[[rule]]\n"
				     "id = \"two\"\n");
	struct conf_node *root = conf_root(conf);
	struct conf_error error;
	struct conf_node *rules;

	(void)state;
	conf_error_init(&error);
	assert_string_equal(conf_get_text(root, "name", NULL, &error), "a");
	assert_int_equal(conf_line(conf_find(root, "name")), 2);
	assert_int_equal(conf_count(conf_get_texts(root, "list", &error)), 2);
	assert_int_equal(conf_count(conf_get_texts(root, "name", &error)), 1);
	assert_int_equal(conf_get_integer(root, "n", -10, 0, 0, &error), -7);
	assert_true(conf_value_float(conf_find(root, "f")) > 1.4);
	assert_true(conf_get_boolean(root, "on", false, &error));
	assert_int_equal(conf_get_integer(root, "none", 0, 9, 4, &error), 4);
	assert_null(conf_get_text(root, "nothing", NULL, &error));
	rules = conf_get_array(root, "rule", CONF_TABLE, &error);
	assert_non_null(rules);
	assert_int_equal(conf_count(rules), 2);
	assert_int_equal(conf_line(conf_at(rules, 1)), 10);
	assert_string_equal(conf_get_text(conf_at(rules, 1), "id", "", &error),
			    "two");
	assert_string_equal(conf_get_text(conf_at(rules, 0), "id", "", &error),
			    "one");
	assert_int_equal(conf_check_unread(conf, &error), ERR_OK);
	assert_int_equal(error.status, ERR_OK);
	conf_free(conf);
}

static void test_table_keeps_file_order(void **state)
{
	struct conf *conf = parse_ok("z = 1\na = 2\nm = 3\n");

	(void)state;
	assert_string_equal(conf_key(conf_at(conf_root(conf), 0)), "z");
	assert_string_equal(conf_key(conf_at(conf_root(conf), 1)), "a");
	assert_string_equal(conf_key(conf_at(conf_root(conf), 2)), "m");
	conf_free(conf);
}

static void refuse_parse(const char *text, const char *where, const char *what)
{
	struct conf_error error;
	struct conf *conf = NULL;

	conf_error_init(&error);
	assert_int_equal(conf_parse(span_text(text), "t.toml", &error, &conf),
			 ERR_CONFIG);
	assert_null(conf);
	if (strncmp(error.text, where, strlen(where)) != 0 ||
	    !strstr(error.text, what))
		fail_msg("for <%s>: <%s>", text, error.text);
}

static void test_parse_rejections(void **state)
{
	char deep[256];

	(void)state;
	refuse_parse("a = 1\na = 2\n", "t.toml:2: ", "a");
	refuse_parse("[t]\n[t]\n", "t.toml:2: ", "t");
	refuse_parse("a = 1\nb = \n", "t.toml:2: ", "");
	refuse_parse("a = \"unterminated\n", "t.toml:1: ", "");
	refuse_parse("a = \"\\u0000\"\n", "t.toml:1: ", "control character");
	refuse_parse("a = \"\\u001b[2J\"\n", "t.toml:1: ", "control character");
	refuse_parse("\"k\\u0007\" = 1\n", "t.toml:1: ", "control character");
	refuse_parse("\naa\u0498.x = 1\n", "t.toml:2: ", "");
	refuse_parse("\n\na = 1 \u0498\n", "t.toml:3: ", "");
	refuse_parse("a = \"\xff\"\n", "t.toml: ", "UTF-8");
	memset(deep, 0, sizeof(deep));
	memcpy(deep, "\n\n", 2);
	for (size_t i = 0; i < 40; i++)
		memcpy(deep + 2 + 2 * i, "a.", 2);
	memcpy(deep + 82, "b = 1\n", 6);
	refuse_parse(deep, "t.toml:3: ", "more than 32 parts");
	for (size_t i = 2; i < 80; i++)
		deep[i] = '[';
	deep[80] = '\0';
	refuse_parse(deep, "t.toml:3: ", "not a key, table or value");
}

static void test_depth_scan_skips_texts_and_comments(void **state)
{
	(void)state;
	conf_free(parse_ok(
		"u = \"\u00e9\u0498\" # \u00e9\n"
		"a = \"........................................\"\n"
		"# ........................................\n"
		"b = '........................................'\n"
		"c = \"\"\"\\\"........................................\"\"\"\n"
		"d = [1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5,\n"
		" 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5,\n"
		" 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5,\n"
		" 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5, 1.5, 2.5]\n"));
}

static void test_size_limits(void **state)
{
	struct conf_error error;
	struct conf *conf = NULL;
	size_t len = CONF_TEXT_MAX_BYTES + 1;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', len);
	conf_error_init(&error);
	assert_int_equal(conf_parse(span_of(text, len), "t.toml", &error,
				    &conf),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "larger than 1048576 bytes"));
	conf_error_init(&error);
	assert_int_equal(conf_parse(span_of(text, len - 1), "t.toml", &error,
				    &conf),
			 ERR_OK);
	conf_free(conf);
	memset(text, 'x', CONF_VALUE_MAX_BYTES + 5);
	memcpy(text, "a = \"", 5);
	memcpy(text + 5 + CONF_VALUE_MAX_BYTES, "\"\n", 2);
	conf_error_init(&error);
	assert_int_equal(conf_parse(span_of(text, CONF_VALUE_MAX_BYTES + 7),
				    "t.toml", &error, &conf),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "longer than 4095 bytes"));
	free(text);
}

enum read_as { AS_TEXT, AS_TEXTS, AS_INTEGER, AS_BOOLEAN, AS_CHOICE, AS_RULES };

static void read_key(struct conf_node *root, enum read_as as,
		     struct conf_error *error)
{
	static const char *const choices[] = {"allow", "ask", "deny", NULL};

	switch (as) {
	case AS_TEXT:
		(void)conf_get_text(root, "k", NULL, error);
		break;
	case AS_TEXTS:
		(void)conf_get_texts(root, "k", error);
		break;
	case AS_INTEGER:
		(void)conf_get_integer(root, "k", 1, 10, 1, error);
		break;
	case AS_BOOLEAN:
		(void)conf_get_boolean(root, "k", false, error);
		break;
	case AS_CHOICE:
		(void)conf_get_choice(root, "k", choices, 0, error);
		break;
	case AS_RULES:
		(void)conf_get_array(root, "k", CONF_TABLE, error);
		break;
	}
}

static void test_read_rejections(void **state)
{
	static const struct {
		const char *text;
		enum read_as as;
		const char *want;
	} cases[] = {
		{"\nk = 1", AS_TEXT,
		 "t.toml:2: k must be a text, not a whole "
		 "number"},
		{"k = \"\"", AS_TEXT,
		 "t.toml:1: k is empty; remove it or "
		 "give it a value"},
		{"k = []", AS_TEXTS,
		 "t.toml:1: k is an empty list; remove it "
		 "or name something"},
		{"k = [\n\"a\",\n2]", AS_TEXTS,
		 "t.toml:3: each element of k must be a text, not a whole "
		 "number"},
		{"k = [\"a\",\n\"a\"]", AS_TEXTS,
		 "t.toml:2: k lists \"a\" twice"},
		{"k = [\"\"]", AS_TEXTS, "t.toml:1: k holds an empty text"},
		{"k = 1.5", AS_TEXTS,
		 "t.toml:1: k must be a text or a list of "
		 "texts, not a number with a fraction"},
		{"k = 11", AS_INTEGER,
		 "t.toml:1: k must be from 1 to 10, not 11"},
		{"k = 0", AS_INTEGER,
		 "t.toml:1: k must be from 1 to 10, not 0"},
		{"k = 2020-01-01", AS_INTEGER,
		 "t.toml:1: k must be a whole number, not a date or time"},
		{"k = \"yes\"", AS_BOOLEAN,
		 "t.toml:1: k must be true or false, not a text"},
		{"k = \"Deny\"", AS_CHOICE,
		 "t.toml:1: k must be one of allow, ask, deny, not \"Deny\""},
		{"[k]\na = 1", AS_RULES,
		 "t.toml:1: k must be a list, not a table"},
		{"k = [1]", AS_RULES,
		 "t.toml:1: each element of k must be a "
		 "table, not a whole number"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct conf *conf = parse_ok(cases[i].text);
		struct conf_error error;

		conf_error_init(&error);
		read_key(conf_root(conf), cases[i].as, &error);
		assert_int_equal(error.status, ERR_CONFIG);
		assert_string_equal(error.text, cases[i].want);
		conf_free(conf);
	}
}

static void test_first_error_stays(void **state)
{
	struct conf *conf = parse_ok("a = 1\nb = 2\n");
	struct conf_error error;

	(void)state;
	conf_error_init(&error);
	assert_null(conf_get_text(conf_root(conf), "a", NULL, &error));
	assert_null(conf_get_text(conf_root(conf), "b", NULL, &error));
	assert_int_equal(conf_get_integer(conf_root(conf), "b", 0, 9, 5,
					  &error),
			 5);
	assert_non_null(strstr(error.text, "t.toml:1: a must be"));
	assert_int_equal(conf_check_unread(conf, &error), ERR_CONFIG);
	conf_free(conf);
}

static void test_unknown_keys(void **state)
{
	struct conf *conf = parse_ok("good = 1\n"
				     "[[rule]]\n"
				     "id = \"a\"\n"
				     "efect = \"deny\"\n");
	struct conf_error error;
	struct conf_node *rules;

	(void)state;
	conf_error_init(&error);
	(void)conf_get_integer(conf_root(conf), "good", 0, 9, 0, &error);
	rules = conf_get_array(conf_root(conf), "rule", CONF_TABLE, &error);
	(void)conf_get_text(conf_at(rules, 0), "id", NULL, &error);
	(void)conf_get_text(conf_at(rules, 0), "effect", NULL, &error);
	assert_int_equal(conf_check_unread(conf, &error), ERR_CONFIG);
	assert_string_equal(error.text, "t.toml:4: unknown key efect; known "
					"here: id, effect");
	conf_free(conf);

	conf = parse_ok("[limit]\na = 1\n");
	conf_error_init(&error);
	(void)conf_get_table(conf_root(conf), "limits", &error);
	assert_int_equal(conf_check_unread(conf, &error), ERR_CONFIG);
	assert_string_equal(error.text,
			    "t.toml:1: unknown key limit; known here: limits");
	conf_free(conf);
}

static void test_messages_are_escaped(void **state)
{
	struct conf_error error;

	(void)state;
	conf_error_init(&error);
	(void)conf_fail_at(&error, "f\x1b[2J", 3, "bad \x1b]0;x\x07");
	assert_null(strchr(error.text, 0x1b));
	assert_null(strchr(error.text, 0x07));
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_read_file(void **state)
{
	char folder[] = "/tmp/kenaz-conf-XXXXXX";
	char path[64];
	struct conf_error error;
	struct buf text;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/a.toml", folder);
	buf_init(&text, 0);
	conf_error_init(&error);
	assert_int_equal(conf_read(path, false, &error, &text), ERR_NOT_FOUND);
	assert_int_equal(error.status, ERR_OK);
	write_file(path, "a = 1\n", 0644);
	assert_int_equal(conf_read(path, false, &error, &text), ERR_OK);
	assert_true(span_is(buf_span(&text), "a = 1\n"));
	buf_fini(&text);
	write_file(path, "a = 1\n", 0646);
	assert_int_equal(conf_read(path, false, &error, &text), ERR_CONFIG);
	assert_non_null(strstr(error.text, "can be written by every user"));
	buf_fini(&text);
	write_file(path, "a = 1\n", 0664);
	conf_error_init(&error);
	assert_int_equal(conf_read(path, true, &error, &text), ERR_CONFIG);
	buf_fini(&text);
	conf_error_init(&error);
	assert_int_equal(conf_read(folder, false, &error, &text), ERR_CONFIG);
	assert_non_null(strstr(error.text, "is not a regular file"));
	buf_fini(&text);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_lines),
		cmocka_unit_test(test_table_keeps_file_order),
		cmocka_unit_test(test_parse_rejections),
		cmocka_unit_test(test_depth_scan_skips_texts_and_comments),
		cmocka_unit_test(test_size_limits),
		cmocka_unit_test(test_read_rejections),
		cmocka_unit_test(test_first_error_stays),
		cmocka_unit_test(test_unknown_keys),
		cmocka_unit_test(test_messages_are_escaped),
		cmocka_unit_test(test_read_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
