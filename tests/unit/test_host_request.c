/* SPDX-License-Identifier: Apache-2.0 */
/* test_host_request.c - lines that open streams from the host; the receipt */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/text.h"
#include "guest/hello.h"
#include "guest/host_request.h"

#define HEX64                              \
	"00112233445566778899aabbccddeeff" \
	"00112233445566778899aabbccddeeff"
#define ZERO64                                        \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define HELLO                                                      \
	"{\"op\":\"hello\",\"v\":1,\"nonce\":\"" HEX64 "\","       \
	"\"entropy\":\"" ZERO64 "\",\"wall_us\":1700000000000000," \
	"\"hostname\":\"kenaz-1\",\"env\":{\"A\":\"b\"}}"

static enum err parse(const char *line, struct host_request *r)
{
	const char *reason = NULL;
	enum err e = host_request_parse(span_text(line), r, &reason);

	assert_non_null(reason);
	return e;
}

static void takes_a_hello(void **state)
{
	struct host_request r;
	uint8_t receipt[HELLO_RECEIPT_BYTES];
	char hex[2 * HELLO_RECEIPT_BYTES + 1];
	struct buf answer;

	(void)state;
	assert_int_equal(parse(HELLO, &r), ERR_OK);
	assert_int_equal(r.op, HOST_REQUEST_HELLO);
	assert_int_equal(r.nonce[1], 0x11);
	assert_int_equal(r.wall_us, 1700000000000000);
	assert_string_equal(r.hostname, "kenaz-1");
	assert_string_equal(r.env.vars[0], "A=b");
	hello_receipt(&r, receipt);
	text_hex(receipt, sizeof(receipt), hex);
	/* sha256(nonce || 64 zero bytes || "1700000000000000") */
	assert_string_equal(hex, "d9052836ede86c1ea26afbfc5b2f198970c74555a6b0e"
				 "ce93fb37448b2b52577");
	buf_init(&answer, 4096);
	assert_int_equal(hello_answer(&r, &answer), ERR_OK);
	assert_int_equal(answer.data[answer.len_bytes - 1], '\n');
	assert_non_null(
		memmem(answer.data, answer.len_bytes, hex, strlen(hex)));
	assert_non_null(memmem(answer.data, answer.len_bytes,
			       "\"nonce\":\"" HEX64 "\"", 64 + 10));
	buf_fini(&answer);
	host_request_fini(&r);
}

static void takes_an_exec(void **state)
{
	struct host_request r;

	(void)state;
	assert_int_equal(parse("{\"op\":\"exec\",\"argv\":[\"ls\",\"-l a\"],"
			       "\"env\":{\"TERM\":\"vt100\",\"EMPTY\":\"\"},"
			       "\"tty\":true,\"rows\":50,\"cols\":132,"
			       "\"cwd\":\"/tmp\"}",
			       &r),
			 ERR_OK);
	assert_int_equal(r.op, HOST_REQUEST_EXEC);
	assert_int_equal(r.argc, 2);
	assert_string_equal(r.argv[1], "-l a");
	assert_null(r.argv[2]);
	assert_int_equal(r.env.count, 2);
	assert_string_equal(r.env.vars[1], "EMPTY=");
	assert_true(r.tty);
	assert_int_equal(r.rows, 50);
	assert_int_equal(r.columns, 132);
	assert_string_equal(r.cwd, "/tmp");
	host_request_fini(&r);
	assert_int_equal(parse("{\"op\":\"exec\"}", &r), ERR_OK);
	assert_int_equal(r.argc, 0);
	assert_int_equal(r.rows, 24);
	host_request_fini(&r);
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"",
		"[]",
		"{}",
		"{\"op\":1}",
		"{\"op\":\"nope\"}",
		"{\"op\":\"exec\"} x",
		"{\"op\":\"exec\",\"op\":\"exec\"}",
		"{\"op\":\"exec\",\"name\":\"x\"}",
		"{\"op\":\"exec\",\"argv\":\"ls\"}",
		"{\"op\":\"exec\",\"argv\":[1]}",
		"{\"op\":\"exec\",\"argv\":[\"a\\u0000b\"]}",
		"{\"op\":\"exec\",\"env\":[]}",
		"{\"op\":\"exec\",\"env\":{\"A=B\":\"c\"}}",
		"{\"op\":\"exec\",\"env\":{\"1A\":\"c\"}}",
		"{\"op\":\"exec\",\"env\":{\"\":\"c\"}}",
		"{\"op\":\"exec\",\"env\":{\"A\":1}}",
		"{\"op\":\"exec\",\"tty\":1}",
		"{\"op\":\"exec\",\"rows\":0}",
		"{\"op\":\"exec\",\"rows\":1001}",
		"{\"op\":\"exec\",\"rows\":-1}",
		"{\"op\":\"exec\",\"cols\":2.5}",
		"{\"op\":\"exec\",\"cwd\":\"tmp\"}",
		"{\"op\":\"start\"}",
		"{\"op\":\"start\",\"name\":\"../x\"}",
		"{\"op\":\"start\",\"name\":\"\"}",
		"{\"op\":\"attach\"}",
		"{\"op\":\"attach\",\"name\":\"main\",\"argv\":[]}",
		"{\"op\":\"shutdown\",\"now\":true}",
		"{\"op\":\"hello\"}",
		"{\"op\":\"reseed\",\"wall_us\":1}",
		"{\"op\":\"reseed\",\"wall_us\":1,\"entropy\":\"AAAA\"}",
		"{\"op\":\"reseed\",\"wall_us\":0,\"entropy\":\"" ZERO64 "\"}",
	};
	struct host_request r;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		if (parse(cases[i], &r) == ERR_OK)
			fail_msg("taken: %s", cases[i]);
}

static void limits_arguments_and_variables(void **state)
{
	struct host_request r;
	struct buf line;
	const char *text;
	int i;

	(void)state;
	buf_init(&line, 64 * 1024);
	assert_int_equal(buf_put_text(&line,
				      "{\"op\":\"exec\",\"argv\":[\"a\""),
			 ERR_OK);
	for (i = 0; i < HOST_REQUEST_MAX_ARGS; i++)
		assert_int_equal(buf_put_text(&line, ",\"a\""), ERR_OK);
	assert_int_equal(buf_put_text(&line, "]}"), ERR_OK);
	assert_int_equal(buf_terminate(&line, &text), ERR_OK);
	assert_int_equal(parse(text, &r), ERR_LIMIT);
	buf_reset(&line);
	assert_int_equal(buf_put_text(&line, "{\"op\":\"exec\",\"env\":{"),
			 ERR_OK);
	for (i = 0; i <= ENVIRONMENT_MAX_VARS; i++)
		assert_int_equal(buf_printf(&line, "%s\"V%d\":\"\"",
					    i ? "," : "", i),
				 ERR_OK);
	assert_int_equal(buf_put_text(&line, "}}"), ERR_OK);
	assert_int_equal(buf_terminate(&line, &text), ERR_OK);
	assert_int_equal(parse(text, &r), ERR_LIMIT);
	buf_fini(&line);
}

static void environment_replaces(void **state)
{
	struct environment env;
	struct environment_place place = {.gate_port = 4141,
					  .proxy_port = 4142,
					  .home = "/home/agent",
					  .user = "agent",
					  .path = "/bin",
					  .is_isolated = true};
	size_t i, before;
	bool seen = false;

	(void)state;
	environment_init(&env);
	assert_int_equal(environment_defaults(&env, &place), ERR_OK);
	for (i = 0; i < env.count; i++) {
		seen |= strcmp(env.vars[i],
			       "OPENAI_BASE_URL=http://127.0.0.1:4141/v1") == 0;
		assert_int_not_equal(strncmp(env.vars[i], "KENAZ_NO_ISOLATION",
					     18),
				     0);
	}
	assert_true(seen);
	before = env.count;
	assert_int_equal(environment_set(&env, span_text("HOME"),
					 span_text("/x")),
			 ERR_OK);
	assert_int_equal(env.count, before);
	assert_string_equal(env.vars[0], "HOME=/x");
	environment_fini(&env);
}

static bool holds(const char *path, const char *text)
{
	char content[1024] = "";
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(content, 1, sizeof(content) - 1, f);
	content[n] = '\0';
	fclose(f);
	return strstr(content, text) != NULL;
}

/* Agents choose Bedrock by themselves when they find credentials for it. */
static void offers_bedrock_without_credentials_in_sight(void **state)
{
	char home[] = "/tmp/kenaz-environment-XXXXXX", path[256];
	struct environment_place place = {.gate_port = 4141,
					  .proxy_port = 4142,
					  .user = "agent",
					  .path = "/bin"};
	struct environment env;
	bool base = false;
	size_t i;

	(void)state;
	assert_non_null(mkdtemp(home));
	place.home = home;
	environment_init(&env);
	assert_int_equal(environment_defaults(&env, &place), ERR_OK);
	for (i = 0; i < env.count; i++) {
		assert_int_not_equal(strncmp(env.vars[i], "AWS_", 4), 0);
		base |= strcmp(env.vars[i], "ANTHROPIC_BEDROCK_BASE_URL="
					    "http://127.0.0.1:4141") == 0;
	}
	assert_true(base);
	environment_fini(&env);
	assert_int_equal(environment_write_agent_files(&place, getuid()),
			 ERR_OK);
	(void)snprintf(path, sizeof(path), "%s/.codex/config.toml", home);
	assert_true(holds(path, "base_url = \"http://127.0.0.1:4141/v1\"\n"));
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/.aws/config", home);
	assert_true(holds(path, "bedrock_runtime =\n"
				"  endpoint_url = http://127.0.0.1:4141\n"));
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/.aws/credentials", home);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/.aws", home);
	(void)rmdir(path);
	(void)snprintf(path, sizeof(path), "%s/.codex", home);
	(void)rmdir(path);
	(void)rmdir(home);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_hello),
		cmocka_unit_test(takes_an_exec),
		cmocka_unit_test(refuses),
		cmocka_unit_test(limits_arguments_and_variables),
		cmocka_unit_test(environment_replaces),
		cmocka_unit_test(offers_bedrock_without_credentials_in_sight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
