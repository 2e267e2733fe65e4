/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_bash.c - run a shell command with a deadline
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing; the command may do what the agent's user may.
 * Never:   waits for more than the command itself: what it leaves in the
 *	    background may hold the pipe open, so the output ends a moment
 *	    after the shell did.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "guest/workbench/tools.h"

#define TURN_MS        50
#define DRAIN_MS       100
#define KILL_MS        2000
#define READ_BYTES     16384
#define COMMAND_MAX    (100u * 1024) /* the kernel takes 128 KiB */
#define EXIT_NOT_FOUND 127

enum run_end { RUN_EXITED, RUN_TIMED_OUT, RUN_CANCELLED };

struct run {
	pid_t pid;
	int out_fd;
	uint64_t deadline_ms;
	uint64_t kill_ms; /* when SIGTERM becomes SIGKILL; 0 is not yet */
	uint64_t end_ms;  /* when to stop draining; 0 is not yet */
	enum run_end end;
	int status;
	bool exited;
};

static const char *const quiet_environment[][2] = {
	{"GIT_TERMINAL_PROMPT", "0"},
	{"PAGER", "cat"},
	{"TERM", "dumb"},
	{"NO_COLOR", "1"},
	{"DEBIAN_FRONTEND", "noninteractive"},
};

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void become_shell(const char *command, int out_fd)
	__attribute__((noreturn));

static void become_shell(const char *command, int out_fd)
{
	int null_fd = open("/dev/null", O_RDONLY);
	size_t i;

	(void)setsid();
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(out_fd, 1) < 0 ||
	    dup2(out_fd, 2) < 0)
		_exit(EXIT_NOT_FOUND);
	if (null_fd > 2)
		(void)close(null_fd);
	for (i = 0; i < ARRAY_SIZE(quiet_environment); i++)
		(void)setenv(quiet_environment[i][0], quiet_environment[i][1],
			     1);
	(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(EXIT_NOT_FOUND);
}

static enum err start(const char *command, struct run *run)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return ERR_SYS;
	(void)fflush(stdout);
	run->pid = fork();
	if (run->pid == 0)
		become_shell(command, fds[1]);
	(void)close(fds[1]);
	if (run->pid < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
		(void)close(fds[0]);
		return ERR_SYS;
	}
	run->out_fd = fds[0];
	return ERR_OK;
}

static void stop(struct run *run, enum run_end end)
{
	run->end = end;
	run->kill_ms = now_ms() + KILL_MS;
	(void)kill(-run->pid, SIGTERM);
}

/* What is due by the clock; false when the run is over. */
static bool keep_time(struct run *run, const struct tool_call *call)
{
	uint64_t now = now_ms();

	if (!run->exited && waitpid(run->pid, &run->status, WNOHANG) > 0) {
		run->exited = true;
		run->end_ms = now + DRAIN_MS;
	}
	if (run->exited)
		return run->out_fd >= 0 && now < run->end_ms;
	if (!run->kill_ms && now >= run->deadline_ms)
		stop(run, RUN_TIMED_OUT);
	else if (!run->kill_ms && call->is_cancelled && call->is_cancelled())
		stop(run, RUN_CANCELLED);
	else if (run->kill_ms && now >= run->kill_ms)
		(void)kill(-run->pid, SIGKILL);
	return true;
}

static void read_some(struct run *run, struct tool_capture *capture)
{
	struct pollfd p = {.fd = run->out_fd, .events = POLLIN};
	uint8_t data[READ_BYTES];
	ssize_t n;

	/* A negative descriptor is ignored: then this only waits. */
	if (poll(&p, 1, TURN_MS) <= 0)
		return;
	n = read(run->out_fd, data, sizeof(data));
	if (n > 0) {
		tool_capture_add(capture, span_of(data, (size_t)n));
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		(void)close(run->out_fd);
		run->out_fd = -1;
	}
}

static void describe(const struct run *run, unsigned timeout_s,
		     struct tool_result *result)
{
	char *status = result->status;
	size_t cap = sizeof(result->status);

	result->is_error = true;
	if (run->end == RUN_TIMED_OUT) {
		(void)snprintf(status, cap, "timed out after %u s", timeout_s);
	} else if (run->end == RUN_CANCELLED) {
		(void)snprintf(status, cap, "interrupted");
	} else if (WIFSIGNALED(run->status)) {
		(void)snprintf(status, cap, "killed by signal %d",
			       WTERMSIG(run->status));
	} else {
		(void)snprintf(status, cap, "exit %d",
			       WEXITSTATUS(run->status));
		result->is_error = WEXITSTATUS(run->status) != 0;
	}
	if (result->output.len_bytes == 0 &&
	    buf_put_text(&result->output, "(no output)") != ERR_OK)
		result->is_error = true;
	if (result->is_error &&
	    buf_printf(&result->output, "\n[%s]", status) != ERR_OK)
		buf_reset(&result->output);
}

static void run_command(const char *command, unsigned timeout_s,
			const struct tool_call *call,
			struct tool_result *result)
{
	struct tool_capture *capture = calloc(1, sizeof(*capture));
	struct run run = {.out_fd = -1};

	if (!capture || start(command, &run) != ERR_OK) {
		free(capture);
		tool_fail(result, "The shell could not be started.");
		return;
	}
	run.deadline_ms = now_ms() + timeout_s * 1000ull;
	while (keep_time(&run, call))
		read_some(&run, capture);
	if (run.out_fd >= 0)
		(void)close(run.out_fd);
	tool_capture_put(capture, result);
	free(capture);
	describe(&run, timeout_s, result);
}

/** tool_bash() - The tool `bash` {command, timeout?} */
void tool_bash(const struct json *j, const struct tool_call *call,
	       struct tool_result *result)
{
	json_ref command_at = json_get(j, JSON_ROOT, "command");
	json_ref timeout_at = json_get(j, JSON_ROOT, "timeout");
	uint64_t timeout_s = TOOL_TIMEOUT_DEFAULT_S;
	const char *command;
	struct buf text;

	buf_init(&text, COMMAND_MAX);
	if (command_at == JSON_NONE ||
	    json_string(j, command_at, &text) != ERR_OK ||
	    buf_terminate(&text, &command) != ERR_OK)
		tool_fail(result, "bash needs the text `command`, at most "
				  "100 KiB.");
	else if (timeout_at != JSON_NONE &&
		 json_uint(j, timeout_at, 1, TOOL_TIMEOUT_MAX_S, &timeout_s) !=
			 ERR_OK)
		tool_fail(result, "`timeout` is 1 to 600 seconds.");
	else
		run_command(command, (unsigned)timeout_s, call, result);
	buf_fini(&text);
}
