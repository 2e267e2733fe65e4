/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_control.c - the client's side of the control protocol
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine: the test is one, on the other end of a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tui/control.h"

struct fixture {
	struct control *c;
	int engine_fd;
	int notified;
};

static void begin(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(control_new(pair[0], &f->c), ERR_OK);
	f->engine_fd = pair[1];
	f->notified = 0;
}

static void end(struct fixture *f)
{
	control_free(f->c);
	if (f->engine_fd >= 0)
		close(f->engine_fd);
}

static void answer(struct fixture *f, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(write(f->engine_fd, text, len), (ssize_t)len);
}

static void on_notify(void *user, const char *method, const cJSON *params)
{
	struct fixture *f = user;

	assert_string_equal(method, "session.stage");
	assert_true(cJSON_IsObject(params));
	f->notified++;
}

static void test_call_with_notifications(void **state)
{
	struct control_error error;
	cJSON *result = NULL;
	struct fixture f;
	char line[256];
	uint64_t id;
	ssize_t n;

	(void)state;
	begin(&f);
	control_on_notify(f.c, on_notify, &f);
	assert_int_equal(control_send(f.c, "session.list", NULL, &id), ERR_OK);
	n = read(f.engine_fd, line, sizeof(line));
	assert_true(n > 0 && line[n - 1] == '\n');
	line[n - 1] = '\0';
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
				  "\"session.list\",\"params\":{}}");
	answer(&f, "{\"jsonrpc\":\"2.0\",\"method\":\"session.stage\","
		   "\"params\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":99,"
		   "\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":1,");
	answer(&f, "\"result\":{\"a\":1}}\nrest");
	assert_int_equal(control_wait(f.c, id, 1000, &result, &error), ERR_OK);
	assert_int_equal(f.notified, 1);
	assert_true(cJSON_HasObjectItem(result, "a"));
	cJSON_Delete(result);
	end(&f);
}

static void test_errors_become_sentences(void **state)
{
	struct control_error error;
	cJSON *result = NULL;
	struct fixture f;

	(void)state;
	begin(&f);
	answer(&f, "{\"id\":1,\"error\":{\"code\":-32000,\"message\":\"no\","
		   "\"data\":{\"name\":\"denied\",\"exit\":6,\"rule\":\"r\"}}}"
		   "\n{\"id\":2,\"error\":{}}\n{\"id\":3}\n"
		   "{\"id\":null,\"error\":{\"message\":\"not JSON\"}}\n");
	assert_int_equal(control_call(f.c, "x", NULL, 1000, &result, &error),
			 ERR_DENIED);
	assert_int_equal(error.code, EXIT_CODE_DENIED);
	assert_string_equal(error.text, "no (rule r)");
	assert_int_equal(control_call(f.c, "x", NULL, 1000, &result, &error),
			 ERR_DENIED);
	assert_int_equal(error.code, EXIT_CODE_FAILED);
	assert_int_equal(control_call(f.c, "x", NULL, 1000, &result, &error),
			 ERR_DENIED);
	assert_int_equal(control_call(f.c, "x", NULL, 1000, &result, &error),
			 ERR_DENIED);
	assert_string_equal(error.text, "not JSON");
	end(&f);
}

static void expect_lost(const char *text, bool closes, enum err want,
			enum exit_code code)
{
	struct control_error error;
	cJSON *result = NULL;
	struct fixture f;

	begin(&f);
	answer(&f, text);
	if (closes) {
		assert_int_equal(shutdown(f.engine_fd, SHUT_WR), 0);
	}
	assert_int_equal(control_call(f.c, "x", NULL, 50, &result, &error),
			 want);
	assert_int_equal(error.code, code);
	assert_true(error.text[0] != '\0');
	end(&f);
}

static void test_broken_engines(void **state)
{
	(void)state;
	expect_lost("", true, ERR_CLOSED, EXIT_CODE_UNREACHABLE);
	expect_lost("{\"id\":1,\"res", true, ERR_CLOSED, EXIT_CODE_UNREACHABLE);
	expect_lost("nonsense\n", false, ERR_FORMAT, EXIT_CODE_UNREACHABLE);
	expect_lost("[]\n", false, ERR_FORMAT, EXIT_CODE_UNREACHABLE);
	expect_lost("{\"id\":2,\"result\":{}}\n", false, ERR_TIMEOUT,
		    EXIT_CODE_TIMEOUT);
}

static void test_long_line_is_refused(void **state)
{
	static char chunk[65536];
	cJSON *message = NULL;
	struct fixture f;
	enum err e = ERR_AGAIN;
	size_t sent = 0;

	(void)state;
	begin(&f);
	memset(chunk, ' ', sizeof(chunk));
	while (e == ERR_AGAIN && sent <= 2 * CONTROL_LINE_MAX_BYTES) {
		assert_true(write(f.engine_fd, chunk, sizeof(chunk)) > 0);
		sent += sizeof(chunk);
		e = control_read(f.c, 0, &message);
	}
	assert_int_equal(e, ERR_LIMIT);
	end(&f);
}

static void test_taken_socket_keeps_the_rest(void **state)
{
	cJSON *message = NULL;
	struct fixture f;
	struct buf rest;
	int fd;

	(void)state;
	begin(&f);
	answer(&f, "{\"id\":1,\"result\":{}}\nframes");
	assert_int_equal(control_read(f.c, 1000, &message), ERR_OK);
	cJSON_Delete(message);
	buf_init(&rest, CONTROL_LINE_MAX_BYTES * 2);
	fd = control_take(f.c, &rest);
	assert_true(fd >= 0);
	assert_int_equal(control_fd(f.c), -1);
	assert_true(span_is(buf_span(&rest), "frames"));
	close(fd);
	buf_fini(&rest);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_with_notifications),
		cmocka_unit_test(test_errors_become_sentences),
		cmocka_unit_test(test_broken_engines),
		cmocka_unit_test(test_long_line_is_refused),
		cmocka_unit_test(test_taken_socket_keeps_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
