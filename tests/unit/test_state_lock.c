/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_state_lock.c - one engine a state folder
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/paths.h"
#include "engine/core/state_lock.h"

static char folder[64], socket_path[96];

static int make_folder(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/kenaz-lock.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	return 0;
}

static int remove_folder(void **state)
{
	char path[96];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/" PATHS_LOCK_NAME, folder);
	(void)unlink(path);
	(void)unlink(socket_path);
	return rmdir(folder);
}

/* A second engine is told at once when the first one answers. */
static void test_a_running_engine_keeps_its_folder(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct conf_error error;
	int first = -1, second = -1;
	struct stat st;
	char path[96];

	(void)state;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		       socket_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address,
			      sizeof(address)),
			 0);
	assert_int_equal(listen(listener, 4), 0);
	conf_error_init(&error);
	assert_int_equal(state_lock_take(folder, socket_path, &error, &first),
			 ERR_OK);
	/* Also when the second would listen elsewhere. */
	assert_int_equal(state_lock_take(folder, "/nowhere", &error, &second),
			 ERR_EXISTS);
	assert_non_null(strstr(error.text, socket_path));
	assert_int_equal(second, -1);
	(void)snprintf(path, sizeof(path), "%s/" PATHS_LOCK_NAME, folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	close(listener);
	close(first);
}

/* One that is on its way out is waited for. */
static void test_a_leaving_engine_is_waited_for(void **state)
{
	struct conf_error error;
	int pipe_fds[2], fd = -1, status;
	char c;
	pid_t pid;

	(void)state;
	conf_error_init(&error);
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (state_lock_take(folder, socket_path, &error, &fd) != ERR_OK)
			_exit(1);
		if (write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		usleep(50000);
		_exit(0);
	}
	assert_int_equal(read(pipe_fds[0], &c, 1), 1);
	assert_int_equal(state_lock_take(folder, socket_path, &error, &fd),
			 ERR_OK);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_running_engine_keeps_its_folder, make_folder,
			remove_folder),
		cmocka_unit_test_setup_teardown(
			test_a_leaving_engine_is_waited_for, make_folder,
			remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
