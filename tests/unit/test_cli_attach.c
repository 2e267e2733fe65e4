/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_attach.c - the exit code of a program that a client follows
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine or a terminal.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/proto/frame.h"
#include "tui/attach.h"

struct run {
	int code;
	char out[64];
	char err[256];
};

static void read_back(int fd, char *ret_text, size_t cap_bytes)
{
	ssize_t n = read(fd, ret_text, cap_bytes - 1);

	ret_text[n > 0 ? n : 0] = '\0';
	close(fd);
}

/* Follow a session that sent @frames and is gone; input has ended too. */
static void follow(const struct buf *frames, struct run *ret_run)
{
	const struct attach_options options = {0};
	int pair[2], out[2], err[2], keep[3], i;
	struct buf rest;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(err), 0);
	assert_int_equal(write(pair[1], frames->data, frames->len_bytes),
			 (ssize_t)frames->len_bytes);
	close(pair[1]);
	(void)fflush(NULL);
	for (i = 0; i < 3; i++)
		keep[i] = dup(i);
	i = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)dup2(i, STDIN_FILENO);
	close(i);
	(void)dup2(out[1], STDOUT_FILENO);
	(void)dup2(err[1], STDERR_FILENO);
	close(out[1]);
	close(err[1]);
	buf_init(&rest, 4096);
	ret_run->code = attach_run(pair[0], &rest, &options);
	buf_fini(&rest);
	for (i = 0; i < 3; i++) {
		(void)dup2(keep[i], i);
		close(keep[i]);
	}
	read_back(out[0], ret_run->out, sizeof(ret_run->out));
	read_back(err[0], ret_run->err, sizeof(ret_run->err));
}

/* The input's end may still wait to be sent when the program is over. */
static void test_code_survives_a_closed_connection(void **state)
{
	struct run run;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(frame_put(&b, FRAME_DATA, 1, span_text("said\n")),
			 ERR_OK);
	assert_int_equal(frame_put_exit(&b, 3, 0), ERR_OK);
	follow(&b, &run);
	assert_int_equal(run.code, 3);
	assert_string_equal(run.out, "said\n");
	assert_string_equal(run.err, "");
	buf_fini(&b);
}

static void test_a_lost_connection_is_said(void **state)
{
	struct run run;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(frame_put(&b, FRAME_DATA, 1, span_text("said\n")),
			 ERR_OK);
	follow(&b, &run);
	assert_int_equal(run.code, 125);
	assert_string_equal(run.out, "said\n");
	assert_string_equal(run.err,
			    "kenaz: the connection to the session was lost\n");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code_survives_a_closed_connection),
		cmocka_unit_test(test_a_lost_connection_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
