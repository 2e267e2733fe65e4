/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_scripted_process.c - the real kenaz-scripted on its unix socket
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/proto/chan.h"
#include "tests/lib/rig.h"

struct rig {
	char dir[256];
	struct sockaddr_un address;
	int channel;
	pid_t pid;
};

static void start(struct rig *r)
{
	static const char *const arguments[] = {"--listen-fd", "4", NULL};
	char path[4096];
	int fds[2], pass[2];

	if (rig_program_path("kenaz-scripted", path, sizeof(path)) != 0) {
		print_message("kenaz-scripted is not built\n");
		skip();
	}
	assert_int_equal(rig_temp_dir(r->dir, sizeof(r->dir)), 0);
	r->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	assert_true(snprintf(r->address.sun_path, sizeof(r->address.sun_path),
			     "%.90s/s", r->dir) > 0);
	assert_int_equal(chan_pair(fds), ERR_OK);
	pass[0] = fds[1];
	pass[1] =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(pass[1], (struct sockaddr *)&r->address,
			      sizeof(r->address)),
			 0);
	assert_int_equal(listen(pass[1], 64), 0);
	r->channel = fds[0];
	r->pid = rig_spawn(path, arguments, pass, 2);
	close(pass[0]);
	close(pass[1]);
	assert_true(r->pid > 0);
}

static void stop(struct rig *r)
{
	int status;

	/* when core goes, it goes */
	close(r->channel);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_remove_dir(r->dir);
}

static int dial(struct rig *r)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&r->address,
				 sizeof(r->address)),
			 0);
	return fd;
}

static void say(int fd, const char *prompt)
{
	char body[1024], request[2048];

	(void)snprintf(body, sizeof(body),
		       "{\"model\":\"m\",\"stream\":true,\"messages\":"
		       "[{\"role\":\"user\",\"content\":\"%s\"}]}",
		       prompt);
	(void)snprintf(request, sizeof(request),
		       "POST /v1/messages HTTP/1.1\r\nhost: x\r\n"
		       "content-length: %zu\r\n\r\n%s",
		       strlen(body), body);
	assert_int_equal(write(fd, request, strlen(request)),
			 (ssize_t)strlen(request));
}

/* Reads up to the end of a chunked answer; the length of all of it. */
static size_t listen_to(int fd, char *text, size_t cap)
{
	size_t have = 0;

	while (have < 5 || memcmp(text + have - 5, "0\r\n\r\n", 5) != 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, RIG_DEADLINE_MS), 1);
		n = read(fd, text + have, cap - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	return have;
}

static void test_conversation(void **state)
{
	static char text[1024 * 1024];
	struct rig r;
	size_t len;
	int fd;

	(void)state;
	start(&r);
	fd = dial(&r);
	say(fd, "scenario: chat");
	len = listen_to(fd, text, sizeof(text));
	assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
	assert_non_null(memmem(text, len, "message_stop", 12));
	/* the same connection again, with much text */
	say(fd, "scenario: long");
	assert_true(listen_to(fd, text, sizeof(text)) > 200 * 1024);
	close(fd);
	stop(&r);
}

static void test_many_and_hang_ups(void **state)
{
	static char text[65536];
	struct rig r;
	int fds[32];
	size_t i;

	(void)state;
	start(&r);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(&r);
		say(fds[i], i % 2 ? "scenario: slow" : "scenario: chat");
	}
	/* the slow ones leave in mid-stream */
	for (i = 1; i < ARRAY_SIZE(fds); i += 2)
		close(fds[i]);
	for (i = 0; i < ARRAY_SIZE(fds); i += 2) {
		(void)listen_to(fds[i], text, sizeof(text));
		close(fds[i]);
	}
	stop(&r);
}

static void test_malformed(void **state)
{
	static const char bad[] = "NONSENSE\r\n\r\n";
	struct rig r;
	char text[4096];
	ssize_t n;
	int fd;

	(void)state;
	start(&r);
	fd = dial(&r);
	assert_int_equal(write(fd, bad, sizeof(bad) - 1), sizeof(bad) - 1);
	n = recv(fd, text, sizeof(text), 0);
	assert_true(n > 12);
	assert_memory_equal(text, "HTTP/1.1 400", 12);
	while (n > 0)
		n = recv(fd, text, sizeof(text), 0);
	assert_int_equal(n, 0);
	close(fd);
	stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversation),
		cmocka_unit_test(test_many_and_hang_ups),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
