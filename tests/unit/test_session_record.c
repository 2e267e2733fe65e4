/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_session_record.c - records of sessions: round trip, each rejection;
 * and which process a number means
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/core/process.h"
#include "engine/core/session_record.h"

static struct session_record sample(void)
{
	struct session_record r;

	memset(&r, 0, sizeof(r));
	r.format = SESSION_RECORD_FORMAT;
	r.protocol = PROTO_VERSION;
	(void)snprintf(r.session, sizeof(r.session), "abcdefghjkmn");
	(void)snprintf(r.actor, sizeof(r.actor), "user:ann");
	(void)snprintf(r.boot_id, sizeof(r.boot_id), "a-b-c");
	(void)snprintf(r.user, sizeof(r.user), "ann");
	(void)snprintf(r.command_line, sizeof(r.command_line), "console=\"x\"");
	r.ready = true;
	r.launch_pid = 77;
	r.launch_started = 123456;
	r.created_wall_us = UINT64_C(1700000000000000);
	memset(r.nonce, 0xab, sizeof(r.nonce));
	r.usage.requests = 9;
	r.budget[BUDGET_TOKENS] = 1234;
	r.main_code = -5;
	r.n_stages = 2;
	(void)snprintf(r.stages[1].name, sizeof(r.stages[1].name), "ready");
	r.stages[1].at_ns = 5;
	r.n_terminals = SESSION_TERMINALS_MAX;
	for (size_t i = 0; i < SESSION_TERMINALS_MAX; i++) {
		r.terminals[i].id = i + 1;
		(void)snprintf(r.terminals[i].what, sizeof(r.terminals[i].what),
			       "sh -c 'echo %zu'", i);
	}
	r.terminals[3].read_only = true;
	return r;
}

static char *text_of(const struct session_record *r)
{
	const char *text;
	struct buf b;
	char *copy;

	buf_init(&b, SESSION_RECORD_MAX_BYTES);
	assert_int_equal(session_record_put(&b, r), ERR_OK);
	assert_int_equal(buf_terminate(&b, &text), ERR_OK);
	copy = strdup(text);
	assert_non_null(copy);
	buf_fini(&b);
	return copy;
}

static enum err parse(const char *text, struct session_record *r, char *why,
		      size_t cap_bytes)
{
	why[0] = '\0';
	return session_record_parse(span_text(text), r, why, cap_bytes);
}

static void what_is_written_is_read(void **state)
{
	struct session_record in = sample(), out;
	char *text = text_of(&in), why[128];

	(void)state;
	assert_int_equal(parse(text, &out, why, sizeof(why)), ERR_OK);
	assert_memory_equal(&in, &out, sizeof(in));
	free(text);
}

/* Replaces the first @from; the result is as long as it has to be. */
static char *changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	const char *done;
	struct buf b;
	char *out;

	assert_non_null(at);
	buf_init(&b, 2 * SESSION_RECORD_MAX_BYTES);
	assert_int_equal(buf_put(&b, text, (size_t)(at - text)), ERR_OK);
	assert_int_equal(buf_put_text(&b, to), ERR_OK);
	assert_int_equal(buf_put_text(&b, at + strlen(from)), ERR_OK);
	assert_int_equal(buf_terminate(&b, &done), ERR_OK);
	out = strdup(done);
	assert_non_null(out);
	buf_fini(&b);
	return out;
}

static void refuses(const char *from, const char *to, enum err want)
{
	struct session_record r = sample(), out;
	char *text = text_of(&r), *bad = changed(text, from, to), why[128];
	enum err e = parse(bad, &out, why, sizeof(why));

	if (e != want || !why[0])
		fail_msg("%s -> %s: %s (%s)", from, to, err_name(e), why);
	free(text);
	free(bad);
}

static void every_rejection(void **state)
{
	(void)state;
	refuses("\"ready\"", "\"redy\"", ERR_FORMAT);
	refuses("\"ready\":true", "\"ready\":1", ERR_FORMAT);
	refuses("\"ready\":true,", "", ERR_FORMAT);
	refuses("\"ready\":true", "\"ready\":true,\"ready\":true", ERR_FORMAT);
	refuses("\"launch_pid\":77", "\"launch_pid\":-77", ERR_FORMAT);
	refuses("\"launch_pid\":77", "\"launch_pid\":\"77\"", ERR_FORMAT);
	refuses("\"launch_pid\":77", "\"launch_pid\":18446744073709551615",
		ERR_FORMAT);
	refuses("\"main_code\":-5", "\"main_code\":0.5", ERR_FORMAT);
	refuses("\"session\":\"abcdefghjkmn\"", "\"session\":\"../../../etc\"",
		ERR_FORMAT);
	refuses("\"session\":\"abcdefghjkmn\"",
		"\"session\":\"abcdefghjkmnabcdefghjkmn\"", ERR_FORMAT);
	refuses("\"nonce\":\"ab", "\"nonce\":\"a", ERR_FORMAT);
	refuses("\"nonce\":\"ab", "\"nonce\":\"xy", ERR_FORMAT);
	refuses("\"stages\":[", "\"stages\":[{\"name\":\"x\"},", ERR_FORMAT);
	refuses("\"terminals\":[",
		"\"terminals\":[{\"id\":1,\"actor\":\"\",\"what\":\"\","
		"\"read_only\":false},",
		ERR_FORMAT);
	refuses("{\"id\":1,", "{\"id\":0,", ERR_FORMAT);
	refuses("{\"format\"", "[{\"format\"", ERR_SHORT);
	refuses("\"format\":1", "\"format\":2", ERR_VERSION);
	refuses("\"protocol\":", "\"protocol\":9", ERR_VERSION);
	refuses("\"protocol\":", "\"protokoll\":", ERR_VERSION);
}

static void no_key_may_be_missing(void **state)
{
	struct session_record r = sample(), out;
	char *text = text_of(&r), why[128];
	char *at = text;
	size_t keys = 0;

	(void)state;
	/* Every key, those inside of the lists, too. */
	while ((at = strstr(at, "\":"))) {
		char kept = at[-1];

		at[-1] = '~';
		assert_int_not_equal(parse(text, &out, why, sizeof(why)),
				     ERR_OK);
		assert_int_not_equal(why[0], '\0');
		at[-1] = kept;
		at += 2;
		keys++;
	}
	assert_true(keys > 50);
	assert_int_equal(parse(text, &out, why, sizeof(why)), ERR_OK);
	free(text);
}

static void no_record_is_taken_for_half_of_one(void **state)
{
	struct session_record r = sample(), out, empty;
	char *text = text_of(&r), why[128];
	size_t len = strlen(text), cut;

	(void)state;
	memset(&empty, 0, sizeof(empty));
	for (cut = 0; cut + 1 < len; cut += 7) {
		enum err e = session_record_parse(span_of(text, cut), &out, why,
						  sizeof(why));

		assert_int_not_equal(e, ERR_OK);
		assert_memory_equal(&out, &empty, sizeof(out));
	}
	free(text);
}

static void another_format_still_tells_its_head(void **state)
{
	static const char text[] =
		"{\"format\":2,\"protocol\":8,\"session\":\"abcdefghjkmn\","
		"\"actor\":\"user:ann\",\"launch_pid\":5,\"launch_started\":6,"
		"\"gate_pid\":\"seven\",\"gate_started\":8,\"news\":[1,2]}";
	struct session_record r;
	char why[160];

	(void)state;
	assert_int_equal(parse(text, &r, why, sizeof(why)), ERR_VERSION);
	assert_non_null(strstr(why, "protocol 8"));
	assert_string_equal(r.session, "abcdefghjkmn");
	assert_string_equal(r.actor, "user:ann");
	assert_int_equal(r.launch_pid, 5);
	assert_int_equal(r.launch_started, 6);
	assert_int_equal(r.gate_pid, 0);
	assert_int_equal(r.gate_started, 8);
}

/* --- process.c ------------------------------------------------------------ */

static enum err started(const char *text, uint64_t *ret)
{
	return process_parse_started(span_text(text), ret);
}

static void the_start_time_is_found_behind_any_name(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_int_equal(started("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 "
				 "15 16 17 18 4242 20\n",
				 &value),
			 ERR_OK);
	assert_int_equal(value, 4242);
	assert_int_equal(started("", &value), ERR_FORMAT);
	assert_int_equal(started("7 (a) S 1 2", &value), ERR_FORMAT);
	assert_int_equal(started("7 (a)", &value), ERR_FORMAT);
	assert_int_not_equal(started("7 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 "
				     "15 16 17 18 x 20",
				     &value),
			     ERR_OK);
}

static void a_number_is_not_a_process(void **state)
{
	uint64_t now = 0;
	int fd = -1;

	(void)state;
	assert_int_equal(process_started(getpid(), &now), ERR_OK);
	assert_int_equal(process_open(getpid(), now, &fd), ERR_OK);
	close(fd);
	assert_int_equal(process_open(getpid(), now + 1, &fd), ERR_NOT_FOUND);
	assert_int_equal(process_open(0, now, &fd), ERR_NOT_FOUND);
	assert_int_equal(process_started(0, &now), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(every_rejection),
		cmocka_unit_test(no_key_may_be_missing),
		cmocka_unit_test(no_record_is_taken_for_half_of_one),
		cmocka_unit_test(another_format_still_tells_its_head),
		cmocka_unit_test(the_start_time_is_found_behind_any_name),
		cmocka_unit_test(a_number_is_not_a_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
