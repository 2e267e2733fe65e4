/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_escape.c - a captured QEMU, and a captured launcher, try to get out
 *
 * Runs in: the test machine. This very program, copied into the memory file
 *	    that QEMU gets as its kernel, is started by jail_run() in QEMU's
 *	    place: same arguments of bubblewrap, same filter, same descriptors,
 *	    same user. QEMU's own -sandbox filter is not there: what holds here
 *	    holds without it.
 * Trusts:  nothing: where it can be shown, the same attempt is made outside
 *	    first, and must succeed there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/jail.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "tests/lib/attempts.h"
#include "tests/lib/rig.h"
#include "vm/confine.h"
#include "vm/jail.h"
#include "vm/memory.h"
#include "vm/qemu_args.h"

#define TEST_SKIPPED 77 /* scripts/run-tests */
#define CAPTURED     "--captured"
#define STAYS        "stays" /* not an attempt: sleeps until it is killed */
#define DEADLINE_MS  20000
#define USER_FIRST   0x4b00f000u

enum { TRIED_IN_VAIN = 10, ESCAPED = 11, UNKNOWN = 12 };

static struct {
	char dir[128];
	char file[160];
	char socket_path[160];
	char abstract[64];
	int listeners[3];
	unsigned port;
	pid_t victim;
	int program_fd;
} world;

static struct attempt_goal goal(void)
{
	return (struct attempt_goal){.file = world.file,
				     .socket = world.socket_path,
				     .abstract = world.abstract,
				     .port = world.port,
				     .pid = (int)world.victim};
}

/* --- in QEMU's place ------------------------------------------------------ */

/* argv: program, --captured, name, file, socket, abstract, port, pid */
static int captured(char **argv)
{
	const struct attempt *a = attempt_find(argv[2]);
	uint64_t port = 0, pid = 0;
	struct attempt_goal g = {.file = argv[3],
				 .socket = argv[4],
				 .abstract = argv[5]};

	if (text_parse_u64(span_text(argv[6]), 0, 65535, &port) != ERR_OK ||
	    text_parse_u64(span_text(argv[7]), 0, INT32_MAX, &pid) != ERR_OK)
		return UNKNOWN;
	g.port = (unsigned)port;
	g.pid = (int)pid;
	if (strcmp(argv[2], STAYS) == 0) {
		/* Whatever it does to stay: the write says that it runs. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGHUP, SIG_IGN);
		(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
		(void)setsid();
		if (write(QEMU_FD_CONSOLE, "r", 1) == 1)
			for (;;)
				(void)poll(NULL, 0, -1);
	}
	if (!a)
		return UNKNOWN;
	return a->escapes(&g) ? ESCAPED : TRIED_IN_VAIN;
}

struct sandbox {
	struct memory memory;
	int status[2], console[2], other[3][2];
	int pid_fd;
	pid_t pid;
	bool has_console; /* the caller made the pair */
};

static uid_t next_user(void)
{
	static uid_t last = USER_FIRST;

	return geteuid() == 0 ? last++ : 0;
}

static void sandbox_start(struct sandbox *s, const char *name, uid_t uid)
{
	struct args command = {0};
	struct jail_fd fds[8];
	struct jail_start start = {.command = &command,
				   .fds = fds,
				   .fd_count = ARRAY_SIZE(fds),
				   .memory_mib = QEMU_PROBE_MEMORY_MIB,
				   .uid = uid};
	int i;

	assert_int_equal(memory_new(QEMU_PROBE_MEMORY_MIB, &s->memory), ERR_OK);
	for (i = 0; i < 3; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
					    0, s->other[i]),
				 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    s->status),
			 0);
	if (!s->has_console)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
					    0, s->console),
				 0);
	fds[0] = (struct jail_fd){2, 2};
	fds[1] = (struct jail_fd){s->memory.fd, QEMU_FD_MEMORY};
	fds[2] = (struct jail_fd){world.program_fd, QEMU_FD_KERNEL};
	fds[3] = (struct jail_fd){world.program_fd, QEMU_FD_INITRD};
	fds[4] = (struct jail_fd){s->console[1], QEMU_FD_CONSOLE};
	fds[5] = (struct jail_fd){s->other[0][1], QEMU_FD_QMP};
	fds[6] = (struct jail_fd){s->status[1], JAIL_FD_STATUS};
	fds[7] = (struct jail_fd){s->other[1][1], QEMU_FD_VSOCK};
	args_addf(&command, "/proc/self/fd/%d", QEMU_FD_KERNEL);
	args_add(&command, CAPTURED);
	args_add(&command, name);
	args_add(&command, world.file);
	args_add(&command, world.socket_path);
	args_add(&command, world.abstract);
	args_addf(&command, "%u", world.port);
	args_addf(&command, "%d", (int)world.victim);
	assert_int_equal(jail_run(&start, &s->pid, &s->pid_fd), ERR_OK);
	args_fini(&command);
	close(s->console[1]);
	close(s->status[1]);
}

/* Until bubblewrap has ended: 256 when the command was never started. */
static int sandbox_finish(struct sandbox *s)
{
	struct jail_report report = {.exit_code = 256};
	char text[JAIL_STATUS_MAX_BYTES];
	size_t have = 0;
	ssize_t n = 1;
	char *end;
	int i;

	while (n > 0) {
		struct pollfd p = {.fd = s->status[0], .events = POLLIN};

		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		n = read(s->status[0], text + have, sizeof(text) - have);
		have += n > 0 ? (size_t)n : 0;
		while ((end = memchr(text, '\n', have))) {
			size_t len = (size_t)(end - text);

			(void)!jail_report_parse(&report, text, len);
			have -= len + 1;
			memmove(text, end + 1, have);
			if (report.status == JAIL_RUNNING)
				jail_limit_tasks(report.child_pid);
		}
	}
	(void)waitpid(s->pid, NULL, 0);
	memory_free(&s->memory);
	close(s->pid_fd);
	close(s->status[0]);
	close(s->console[0]);
	for (i = 0; i < 3; i++) {
		close(s->other[i][0]);
		close(s->other[i][1]);
	}
	return report.exit_code;
}

/* --- one attempt ---------------------------------------------------------- */

/* In a process of its own: the code it ended with, or -1 for a signal. */
static int in_child(int (*run)(const struct attempt *a),
		    const struct attempt *a)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run(a));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int try_outside(const struct attempt *a)
{
	struct attempt_goal g = goal();

	return a->escapes(&g) ? ESCAPED : TRIED_IN_VAIN;
}

/* What vm/launch.c does, in its order. */
static int try_in_launcher(const struct attempt *a)
{
	struct attempt_goal g = goal();

	if (jail_enter(JAIL_LAUNCH) != ERR_OK ||
	    confine_enter(next_user(), false) != ERR_OK)
		return UNKNOWN;
	return a->escapes(&g) ? ESCAPED : TRIED_IN_VAIN;
}

static void fails(void **state)
{
	const struct attempt *a = *state;
	struct sandbox s = {0};
	int code;

	if (a->places & AT_OUTSIDE &&
	    (geteuid() == 0 || !(a->places & AT_ROOT)))
		assert_int_equal(in_child(try_outside, a), ESCAPED);
	if (a->places & AT_QEMU) {
		sandbox_start(&s, a->name, next_user());
		assert_int_equal(sandbox_finish(&s), TRIED_IN_VAIN);
	}
	if (a->places & AT_LAUNCH) {
		/* There a forbidden call ends the process. */
		code = in_child(try_in_launcher, a);
		if (code != -1)
			assert_int_equal(code, TRIED_IN_VAIN);
	}
}

/* --- what needs more than one process ------------------------------------- */

static bool reads_within_deadline(int fd, char *ret_byte, ssize_t expected)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, DEADLINE_MS) == 1 &&
	       read(fd, ret_byte, 1) == expected;
}

/* Only the stand-in holds the far end of the console: its end is an end. */
static void nothing_outlives_its_launcher(void **state)
{
	struct sandbox s = {.has_console = true};
	char byte = 0;
	pid_t launcher;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    s.console),
			 0);
	launcher = fork();
	assert_true(launcher >= 0);
	if (launcher == 0) {
		sandbox_start(&s, STAYS, next_user());
		for (;;)
			(void)pause();
	}
	close(s.console[1]);
	assert_true(reads_within_deadline(s.console[0], &byte, 1));
	assert_int_equal(byte, 'r');
	assert_int_equal(kill(launcher, SIGKILL), 0);
	assert_int_equal(waitpid(launcher, NULL, 0), launcher);
	assert_true(reads_within_deadline(s.console[0], &byte, 0));
	close(s.console[0]);
}

static void sessions_cannot_touch_one_another(void **state)
{
	pid_t one, other;
	int status, ready[2];
	char byte;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	one = fork();
	assert_true(one >= 0);
	if (one == 0) {
		if (jail_become(USER_FIRST + 0x800, 0) != ERR_OK ||
		    write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	world.victim = one;
	other = fork();
	assert_true(other >= 0);
	if (other == 0) {
		struct attempt_goal g = goal();

		if (jail_become(USER_FIRST + 0x801, 0) != ERR_OK)
			_exit(UNKNOWN);
		_exit(attempt_find("signals_process")->escapes(&g) ||
				      attempt_find("traces_process")
					      ->escapes(&g) ||
				      attempt_find("reads_process_memory")
					      ->escapes(&g) ||
				      attempt_find("takes_descriptor")
					      ->escapes(&g) ||
				      attempt_find("changes_limits")
					      ->escapes(&g)
			      ? ESCAPED
			      : TRIED_IN_VAIN);
	}
	assert_int_equal(waitpid(other, &status, 0), other);
	(void)kill(one, SIGKILL);
	(void)waitpid(one, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), TRIED_IN_VAIN);
}

/* Everything else relies on it: the stand-in does run. */
static void stand_in_runs(void **state)
{
	struct sandbox s = {0};

	(void)state;
	sandbox_start(&s, "no such attempt", next_user());
	assert_int_equal(sandbox_finish(&s), UNKNOWN);
}

/* --- the world around ----------------------------------------------------- */

static int listen_at(int domain, const struct sockaddr *at, socklen_t len)
{
	int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, at, len) < 0 || listen(fd, 64) < 0)
		return -1;
	return fd;
}

static int open_listeners(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);

	world.listeners[0] =
		listen_at(AF_INET, (struct sockaddr *)&in, sizeof(in));
	if (world.listeners[0] < 0 ||
	    getsockname(world.listeners[0], (struct sockaddr *)&in, &len) < 0)
		return -1;
	world.port = ntohs(in.sin_port);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%.100s",
		       world.socket_path);
	world.listeners[1] =
		listen_at(AF_UNIX, (struct sockaddr *)&un, sizeof(un));
	if (world.listeners[1] < 0 || chmod(world.socket_path, 0666) < 0)
		return -1;
	memset(un.sun_path, 0, sizeof(un.sun_path));
	memcpy(un.sun_path + 1, world.abstract, strlen(world.abstract));
	world.listeners[2] = listen_at(AF_UNIX, (struct sockaddr *)&un,
				       (socklen_t)(sizeof(sa_family_t) + 1 +
						   strlen(world.abstract)));
	return world.listeners[2] < 0 ? -1 : 0;
}

static int copy_program(void)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t done = 0;

	world.program_fd =
		memfd_create("captured", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (from < 0 || world.program_fd < 0 || fstat(from, &st) < 0)
		return -1;
	while (done < st.st_size) {
		ssize_t n = copy_file_range(from, NULL, world.program_fd, NULL,
					    (size_t)(st.st_size - done), 0);

		if (n <= 0) {
			char chunk[65536];

			n = pread(from, chunk, sizeof(chunk), done);
			if (n <= 0 ||
			    write(world.program_fd, chunk, (size_t)n) != n)
				return -1;
		}
		done += n;
	}
	close(from);
	return memfd_seal(world.program_fd) == ERR_OK ? 0 : -1;
}

static int make_world(void **state)
{
	int fd;

	(void)state;
	if (rig_temp_dir(world.dir, sizeof(world.dir)) < 0 ||
	    chmod(world.dir, 0755) < 0)
		return -1;
	(void)snprintf(world.file, sizeof(world.file), "%s/secret", world.dir);
	(void)snprintf(world.socket_path, sizeof(world.socket_path),
		       "%s/socket", world.dir);
	(void)snprintf(world.abstract, sizeof(world.abstract),
		       "kenaz-escape-%d", (int)getpid());
	fd = open(world.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || open_listeners() < 0 || copy_program() < 0)
		return -1;
	close(fd);
	world.victim = fork();
	if (world.victim == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			(void)pause();
	}
	return world.victim < 0 ? -1 : 0;
}

static int end_world(void **state)
{
	(void)state;
	(void)kill(world.victim, SIGKILL);
	(void)waitpid(world.victim, NULL, 0);
	rig_remove_dir(world.dir);
	return 0;
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[128];
	size_t i, n = 0;

	if (argc == 8 && strcmp(argv[1], CAPTURED) == 0)
		return captured(argv);
#ifdef __SANITIZE_ADDRESS__
	/* The sanitizer's own maps are larger than QEMU's limit. */
	(void)printf("skipped under the address sanitizer\n");
	return TEST_SKIPPED;
#endif
	if (access(JAIL_PROGRAM, X_OK) < 0) {
		(void)printf("skipped: bubblewrap is not installed\n");
		return TEST_SKIPPED;
	}
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(stand_in_runs);
	for (i = 0; i < attempts_count && n < ARRAY_SIZE(tests) - 2; i++) {
		union {
			const struct attempt *from;
			void *to;
		} state = {&attempts[i]};

		tests[n++] = (struct CMUnitTest){.name = attempts[i].name,
						 .test_func = fails,
						 .initial_state = state.to};
	}
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(
		sessions_cannot_touch_one_another);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(
		nothing_outlives_its_launcher);
	return _cmocka_run_group_tests("escape", tests, n, make_world,
				       end_world);
}
