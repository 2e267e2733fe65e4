/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_jail.c - what each kind of process can no longer do
 *
 * Runs in: the test machine; each attempt in a child that enters the jail.
 * Trusts:  nothing.
 * Never:   takes a table's word: the forbidden thing is tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/jail.h"

enum outcome { DID, REFUSED, KILLED, NO_JAIL };

/* Runs attempt() inside the jail of a kind: 0 is done, 1 refused. */
static enum outcome try_in(enum jail_kind kind, int (*attempt)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (jail_enter(kind) != ERR_OK)
			_exit(99);
		_exit(attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : NO_JAIL;
	if (WEXITSTATUS(status) == 99)
		return NO_JAIL;
	return WEXITSTATUS(status) == 0 ? DID : REFUSED;
}

static int run_program(void)
{
	char *const argv[] = {(char[]){"true"}, NULL};

	execv("/bin/true", argv);
	return 1;
}

static int open_file(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0;
}

static int open_internet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int open_packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0;
}

static int trace_itself(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0;
}

static int make_namespace(void)
{
	return unshare(CLONE_NEWUSER) < 0;
}

static int start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0;
}

static int write_core_files(void)
{
	struct rlimit core = {1, 1};

	return setrlimit(RLIMIT_CORE, &core) < 0;
}

static int reads_and_writes(void)
{
	int fds[2];
	char byte = 'x';

	return pipe2(fds, O_CLOEXEC) < 0 || write(fds[1], &byte, 1) != 1 ||
	       read(fds[0], &byte, 1) != 1;
}

static void ordinary_work_goes_on(void **state)
{
	int kind;

	(void)state;
	for (kind = 0; kind < JAIL_COUNT; kind++)
		assert_int_equal(try_in((enum jail_kind)kind, reads_and_writes),
				 DID);
}

static void only_starters_start_programs(void **state)
{
	int kind;

	(void)state;
	for (kind = 0; kind < JAIL_COUNT; kind++) {
		bool starter = kind == JAIL_SPAWNER || kind == JAIL_LAUNCH ||
			       kind == JAIL_CLIENT;

		assert_int_equal(try_in((enum jail_kind)kind, run_program),
				 starter ? DID : KILLED);
		assert_int_equal(try_in((enum jail_kind)kind, start_process),
				 starter ? DID : KILLED);
	}
}

static void only_broker_and_egress_open_the_internet(void **state)
{
	(void)state;
	assert_int_equal(try_in(JAIL_BROKER, open_internet_socket), DID);
	assert_int_equal(try_in(JAIL_EGRESS, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_GATE, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_CORE, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_AUDIT, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_SCRIPTED, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_KEYCHAIN, open_internet_socket), DID);
	assert_int_not_equal(try_in(JAIL_BROKER, open_packet_socket), DID);
	assert_int_not_equal(try_in(JAIL_EGRESS, open_packet_socket), DID);
}

static void gate_and_scripted_open_no_file(void **state)
{
	(void)state;
	assert_int_equal(try_in(JAIL_GATE, open_file), REFUSED);
	assert_int_equal(try_in(JAIL_SCRIPTED, open_file), REFUSED);
	assert_int_equal(try_in(JAIL_AUDIT, open_file), DID);
}

static void nobody_reaches_deeper_into_the_kernel(void **state)
{
	int kind;

	(void)state;
	for (kind = 0; kind < JAIL_COUNT; kind++) {
		assert_int_not_equal(try_in((enum jail_kind)kind, trace_itself),
				     DID);
		if (kind != JAIL_SPAWNER && kind != JAIL_LAUNCH &&
		    kind != JAIL_CLIENT)
			assert_int_equal(try_in((enum jail_kind)kind,
						make_namespace),
					 KILLED);
	}
}

static void nobody_writes_core_files(void **state)
{
	(void)state;
	assert_int_equal(try_in(JAIL_GATE, write_core_files), REFUSED);
	assert_int_equal(try_in(JAIL_BROKER, write_core_files), REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_work_goes_on),
		cmocka_unit_test(only_starters_start_programs),
		cmocka_unit_test(only_broker_and_egress_open_the_internet),
		cmocka_unit_test(gate_and_scripted_open_no_file),
		cmocka_unit_test(nobody_reaches_deeper_into_the_kernel),
		cmocka_unit_test(nobody_writes_core_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
