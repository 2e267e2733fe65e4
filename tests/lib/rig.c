/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig.c - start real programs from a unit test that plays their peers
 *
 * Runs in: unit tests.
 *
 * Waiting is always for a condition, with a deadline after which the test
 * fails; nothing is concluded from how long something took.
 */
#include "tests/lib/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/text.h"

#define FIRST_FD             3
#define ARGS_MAX             32
#define SERVER_ARGUMENTS_MAX 12

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* Runs the loop until @done says so; false after RIG_DEADLINE_MS. */
bool rig_wait(uv_loop_t *loop, bool (*done)(void *context), void *context)
{
	uint64_t end = uv_hrtime() + RIG_DEADLINE_MS * 1000000ull;
	uv_timer_t tick;
	bool ok;

	(void)uv_timer_init(loop, &tick);
	(void)uv_timer_start(&tick, on_tick, 5, 5);
	while (!(ok = done(context)) && uv_hrtime() < end)
		(void)uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	(void)uv_run(loop, UV_RUN_NOWAIT);
	return ok;
}

/* Path of a program that was built beside this test; -1 when there is none. */
int rig_program_path(const char *program, char *ret_path, size_t cap_bytes)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int len;

	if (n <= 0)
		return -1;
	self[n] = '\0';
	len = snprintf(ret_path, cap_bytes, "%s/../bin/%s", dirname(self),
		       program);
	if (len < 0 || (size_t)len >= cap_bytes || access(ret_path, X_OK) != 0)
		return -1;
	return 0;
}

/* Starts a program with these descriptors as 3, 4, ...; -1 on failure. */
pid_t rig_spawn(const char *program, const char *const *arguments,
		const int *fds, size_t n_fds)
{
	char *argv[ARGS_MAX] = {NULL};
	size_t i;
	pid_t pid;

	argv[0] = (char *)(uintptr_t)program;
	for (i = 0; arguments && arguments[i] && i + 2 < ARGS_MAX; i++)
		argv[i + 1] = (char *)(uintptr_t)arguments[i];
	pid = fork();
	if (pid != 0)
		return pid;
	/* A jailed program cannot run a sanitizer's check at its exit. */
	(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
	/* Out of the way first, so that none overwrites another. */
	for (i = 0; i < n_fds; i++)
		if (fcntl(fds[i], F_DUPFD, 100 + (int)i) != 100 + (int)i)
			_exit(126);
	for (i = 0; i < n_fds; i++)
		if (dup2(100 + (int)i, FIRST_FD + (int)i) < 0)
			_exit(126);
	(void)close_range(FIRST_FD + (unsigned)n_fds, ~0u, 0);
	execvp(program, argv);
	_exit(127);
}

/* Ends a process that this test started, and waits for it. */
void rig_kill(pid_t pid)
{
	if (pid <= 0)
		return;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* Makes a directory of the test's own. */
int rig_temp_dir(char *ret_path, size_t cap_bytes)
{
	const char *base = getenv("TMPDIR");
	int len = snprintf(ret_path, cap_bytes, "%s/kenaz-test-XXXXXX",
			   base ? base : "/tmp");

	if (len < 0 || (size_t)len >= cap_bytes || !mkdtemp(ret_path))
		return -1;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Removes such a directory with all that is in it. */
void rig_remove_dir(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool read_port(int fd, uint16_t *ret_port)
{
	char text[16];
	size_t have = 0;
	uint64_t port;

	while (have < sizeof(text)) {
		ssize_t n = read(fd, text + have, 1);

		if (n != 1)
			return false;
		if (text[have++] == '\n')
			break;
	}
	if (text_parse_u64(span_of(text, have - 1), 1, 65535, &port) != ERR_OK)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

/*
 * Starts a fake provider that records into @dir. It ends when its stdin
 * does, so also when this test dies.
 */
bool rig_provider_start(struct rig_provider *p, const char *dir,
			const char *behave, const char *tls_pem)
{
	const char *const arguments[] = {
		"tests/lib/fake_provider.py", "--behave", behave,
		tls_pem ? "--tls" : NULL,     tls_pem,    NULL};

	return rig_server_start(p, dir, arguments);
}

/* A Python server that prints its port; arguments begin with its path. */
bool rig_server_start(struct rig_provider *p, const char *dir,
		      const char *const *arguments)
{
	const char *argv[SERVER_ARGUMENTS_MAX + 5] = {"python3"};
	static unsigned started;
	size_t n = 1;
	int in[2], out[2];
	bool ok;

	if (snprintf(p->record, sizeof(p->record), "%s/record-%u.jsonl", dir,
		     ++started) < 0)
		return false;
	while (*arguments && n < SERVER_ARGUMENTS_MAX)
		argv[n++] = *arguments++;
	argv[n++] = "--stdin-ends";
	argv[n++] = "--record";
	argv[n++] = p->record;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return false;
	p->pid = fork();
	if (p->pid == 0) {
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		execvp("python3", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	p->stdin_fd = in[1];
	ok = p->pid > 0 && read_port(out[0], &p->port);
	(void)close(out[0]);
	return ok;
}

/* Ends a fake provider. */
void rig_provider_stop(struct rig_provider *p)
{
	if (p->pid <= 0)
		return;
	(void)close(p->stdin_fd);
	rig_kill(p->pid);
	p->pid = 0;
}

/* How often @text occurs in a file; 0 when it cannot be read. */
size_t rig_count_in_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0, count = 0;

	if (!f)
		return 0;
	while (getline(&line, &cap, f) > 0) {
		const char *at = line;

		while ((at = strstr(at, text))) {
			count++;
			at += strlen(text);
		}
	}
	free(line);
	(void)fclose(f);
	return count;
}
