/* SPDX-License-Identifier: Apache-2.0 */
/* test_model_names.c - which models a session is told of */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "engine/core/model_names.h"
#include "engine/proto/attrs.h"

#define FILE_TEXT                                                             \
	"[[provider]]\nname = \"own\"\nkind = \"byo\"\nendpoint = "           \
	"\"https://h.example\"\nmodels = [\"m1\", \"m2\"]\n"                  \
	"[[provider]]\nname = \"aws\"\nkind = \"bedrock\"\nregion = "         \
	"\"eu-central-1\"\nsecret = \"aws\"\n"                                \
	"[[provider]]\nname = \"open\"\nkind = \"byo\"\nendpoint = "          \
	"\"https://o.example\"\n"                                             \
	"[[model]]\nprovider = \"open\"\nname = \"row\"\n"                    \
	"[[model]]\nkind = \"byo\"\nname = \"of-kind\"\n"                     \
	"[[model]]\nkind = \"openai\"\nname = \"other\"\n"                    \
	"[[alias]]\nname = \"fast\"\ntargets = [{ provider = \"own\", model " \
	"= \"m1\" }]\n"                                                       \
	"[[alias]]\nname = \"m2\"\ntargets = [{ provider = \"open\", model "  \
	"= \"row\" }, { provider = \"own\", model = \"m2\" }]\n"

static struct config *config;

static int read_file(void **state)
{
	struct conf_error error = {0};

	(void)state;
	if (config_parse(span_text(FILE_TEXT), "kenaz.toml", &error, &config) !=
	    ERR_OK)
		print_error("%s\n", error.text);
	return config ? 0 : -1;
}

static int forget_file(void **state)
{
	(void)state;
	config_free(config);
	return 0;
}

/* The names, a space behind each, then "count omitted". */
static void told(const char *provider, const char *only, size_t room,
		 char *ret_text, size_t cap)
{
	uint32_t count, omitted;
	struct reader r;
	struct attr a;
	struct buf b;

	ret_text[0] = '\0';
	buf_init(&b, room);
	assert_int_equal(model_names(config,
				     config_find_provider(config, provider),
				     only, &b, &count, &omitted),
			 ERR_OK);
	reader_init(&r, buf_span(&b));
	while (attrs_next(&r, &a))
		text_append(ret_text, cap, "%.*s ", (int)a.text.len_bytes,
			    (const char *)a.text.data);
	assert_int_equal(r.status, ERR_OK);
	text_append(ret_text, cap, "%u %u", count, omitted);
	buf_fini(&b);
}

static void names_aliases_then_what_the_provider_has(void **state)
{
	char text[4096];

	(void)state;
	told("own", NULL, 4096, text, sizeof(text));
	assert_string_equal(text, "fast m2 m1 3 0");
	told("open", NULL, 4096, text, sizeof(text));
	assert_string_equal(text, "fast m2 row of-kind 4 0");
	told("aws", NULL, 4096, text, sizeof(text));
	assert_non_null(strstr(text, "fast m2 anthropic.claude-"));
	assert_non_null(strstr(text, " amazon.nova-lite "));
	assert_null(strstr(text, "other"));
}

static void a_bound_session_hears_of_no_other_providers_aliases(void **state)
{
	char text[4096];

	(void)state;
	told("open", "open", 4096, text, sizeof(text));
	assert_string_equal(text, "m2 row of-kind 3 0");
	told("aws", "aws", 4096, text, sizeof(text));
	assert_null(strstr(text, "fast"));
}

static void what_has_no_room_is_counted(void **state)
{
	char text[4096];

	(void)state;
	told("own", NULL, 24, text, sizeof(text));
	assert_string_equal(text, "fast 1 2");
	told("own", NULL, 0, text, sizeof(text));
	assert_string_equal(text, "0 3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_aliases_then_what_the_provider_has),
		cmocka_unit_test(
			a_bound_session_hears_of_no_other_providers_aliases),
		cmocka_unit_test(what_has_no_room_is_counted),
	};

	return cmocka_run_group_tests(tests, read_file, forget_file);
}
