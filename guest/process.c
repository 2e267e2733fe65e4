/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - start, signal and reap the programs of a session
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host for what to start; nothing that the programs do.
 * Never:   starts a program with privileges: user `agent`, no groups, no
 *	    capabilities to regain, no-new-privs, no descriptor but its own
 *	    three. (The development mock keeps the invoking user and says so.)
 */
#include "guest/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "engine/base/text.h"

#define TTY_GROUP         5u
#define NAME_SHOWN_BYTES  256
#define EXIT_NOT_RUNNABLE 126
#define EXIT_NOT_FOUND    127
#define STAT_MAX_BYTES    512

static struct process *processes;
static bool keeps_user;

/** process_keep_user() - Start programs as the invoking user (mock only) */
void process_keep_user(void)
{
	keeps_user = true;
}

static void say(const char *what, const char *name, const char *why)
{
	char shown[NAME_SHOWN_BYTES];

	(void)text_escape_line(span_text(name), shown, sizeof(shown));
	(void)dprintf(STDERR_FILENO, "kenaz: %s%s: %s\n", what, shown, why);
}

static bool drop_privileges(void)
{
	unsigned long cap;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return false;
	/* A mock that is killed must leave nothing running on the host. */
	if (keeps_user)
		return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return false;
	if (setgroups(0, NULL) != 0)
		return false;
	if (setresgid(PROCESS_AGENT_UID, PROCESS_AGENT_UID,
		      PROCESS_AGENT_UID) != 0)
		return false;
	return setresuid(PROCESS_AGENT_UID, PROCESS_AGENT_UID,
			 PROCESS_AGENT_UID) == 0;
}

static void reset_signals(void)
{
	sigset_t none;
	int i;

	for (i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Runs in the child; @fds are its standard descriptors. */
static void become(const struct process_spec *spec, const int fds[3])
	__attribute__((noreturn));

static void become(const struct process_spec *spec, const int fds[3])
{
	struct rlimit none = {0, 0};
	int i;

	(void)setsid();
	for (i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(EXIT_NOT_RUNNABLE);
	if (spec->tty)
		(void)ioctl(0, TIOCSCTTY, 0);
	(void)syscall(SYS_close_range, 3u, ~0u, 0u);
	reset_signals();
	(void)umask(022);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (!drop_privileges()) {
		say("cannot drop privileges for ", spec->argv[0],
		    strerror(errno));
		_exit(EXIT_NOT_RUNNABLE);
	}
	if (chdir(spec->cwd) != 0) {
		say("cannot enter the folder ", spec->cwd, strerror(errno));
		_exit(EXIT_NOT_RUNNABLE);
	}
	/* PATH of the new program decides, not ours. */
	environ = (char **)(uintptr_t)spec->env;
	(void)execvp(spec->argv[0], spec->argv);
	if (errno == ENOENT) {
		say("", spec->argv[0], "not found");
		_exit(EXIT_NOT_FOUND);
	}
	say("cannot run ", spec->argv[0], strerror(errno));
	_exit(EXIT_NOT_RUNNABLE);
}

static void close_all(int *fds, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
		fds[i] = -1;
	}
}

/* child[0..2] are the child's ends, ours[0..2] the parent's. */
static enum err open_pipes(int child[3], int ours[3])
{
	int i, pair[2];

	for (i = 0; i < 3; i++) {
		if (pipe2(pair, O_CLOEXEC) != 0)
			return ERR_SYS;
		child[i] = pair[i == 0 ? 0 : 1];
		ours[i] = pair[i == 0 ? 1 : 0];
		if (fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0)
			return ERR_SYS;
	}
	return ERR_OK;
}

static enum err open_terminal(const struct process_spec *spec, int child[3],
			      int ours[3])
{
	struct winsize size = {.ws_row = spec->rows, .ws_col = spec->columns};

	ours[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (ours[1] < 0 || unlockpt(ours[1]) != 0)
		return ERR_SYS;
	child[0] = ioctl(ours[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (child[0] < 0 || ioctl(child[0], TIOCSWINSZ, &size) != 0)
		return ERR_SYS;
	if (!keeps_user && fchown(child[0], PROCESS_AGENT_UID, TTY_GROUP) != 0)
		return ERR_SYS;
	child[1] = fcntl(child[0], F_DUPFD_CLOEXEC, 0);
	child[2] = fcntl(child[0], F_DUPFD_CLOEXEC, 0);
	ours[0] = fcntl(ours[1], F_DUPFD_CLOEXEC, 0);
	return child[1] < 0 || child[2] < 0 || ours[0] < 0 ? ERR_SYS : ERR_OK;
}

/**
 * process_start() - Start a program
 * @spec:	What and how, borrowed
 * @p:		Owner's memory; must stay until process_fini()
 * @fn:		Called from process_reap_all() when the program has ended
 * @owner:	For the handler
 *
 * A program that cannot be executed says so on its stderr and ends with 126
 * or 127, as in a shell.
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err process_start(const struct process_spec *spec, struct process *p,
		       process_fn fn, void *owner)
{
	int child[3] = {-1, -1, -1}, ours[3] = {-1, -1, -1};
	pid_t pid = -1;
	enum err e;

	e = spec->tty ? open_terminal(spec, child, ours)
		      : open_pipes(child, ours);
	if (e == ERR_OK)
		pid = fork();
	if (e == ERR_OK && pid == 0)
		become(spec, child);
	close_all(child, 3);
	if (e != ERR_OK || pid < 0) {
		close_all(ours, 3);
		return ERR_SYS;
	}
	*p = (struct process){.fn = fn,
			      .owner = owner,
			      .pid = pid,
			      .in_fd = ours[0],
			      .out_fd = ours[1],
			      .err_fd = ours[2],
			      .tty = spec->tty,
			      .next = processes};
	processes = p;
	return ERR_OK;
}

/** process_close_input() - No more input: the end of a pipe's data */
void process_close_input(struct process *p)
{
	if (p->in_fd >= 0)
		(void)close(p->in_fd);
	p->in_fd = -1;
}

/** process_fini() - Close our ends and forget the program, ended or not */
void process_fini(struct process *p)
{
	struct process **at = &processes;
	int fds[3] = {p->in_fd, p->out_fd, p->err_fd};

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	close_all(fds, 3);
	p->in_fd = p->out_fd = p->err_fd = -1;
}

/**
 * process_signal() - Signal what the user sees as the running program
 * @p:		Program
 * @number:	Signal
 *
 * On a terminal that is the foreground process group, else the group of the
 * program that was started.
 */
void process_signal(const struct process *p, int number)
{
	pid_t group = p->pid;

	if (p->tty && p->out_fd >= 0) {
		pid_t front = tcgetpgrp(p->out_fd);

		if (front > 0)
			group = front;
	}
	if (p->exited && group == p->pid)
		return;
	/* A child that has just begun may not lead its group yet. */
	if (kill(-group, number) != 0 && errno == ESRCH && !p->exited)
		(void)kill(p->pid, number);
}

static pid_t session_of(const char *pid_text)
{
	char path[64], line[STAT_MAX_BYTES];
	const char *at;
	long session = -1;
	ssize_t n;
	int fd, i;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/stat", pid_text);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, line, sizeof(line) - 1);
	(void)close(fd);
	if (n <= 0)
		return -1;
	line[n] = '\0';
	/* pid (comm) state ppid pgrp session: comm may hold anything. */
	at = strrchr(line, ')');
	for (i = 0; at && i < 4; i++)
		at = strchr(at + 1, ' ');
	if (at)
		session = strtol(at + 1, NULL, 10);
	return (pid_t)session;
}

/**
 * process_signal_session() - Signal a program and its background jobs
 * @p:		Program; its pid is the session of all of them
 * @number:	Signal
 */
void process_signal_session(const struct process *p, int number)
{
	pid_t session = p->pid;
	DIR *d = opendir("/proc");
	struct dirent *entry;

	if (kill(-session, number) != 0 && errno == ESRCH && !p->exited)
		(void)kill(session, number);
	if (!d)
		return;
	while ((entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;

		if (name[0] < '1' || name[0] > '9')
			continue;
		if (session_of(name) == session)
			(void)kill((pid_t)strtol(name, NULL, 10), number);
	}
	(void)closedir(d);
}

/** process_resize() - Give a program's terminal another size */
void process_resize(const struct process *p, uint16_t rows, uint16_t columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	if (p->tty && p->out_fd >= 0)
		(void)ioctl(p->out_fd, TIOCSWINSZ, &size);
}

/** process_reap_all() - Collect every ended child, orphans included */
void process_reap_all(void)
{
	struct process *p;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (p = processes; p; p = p->next)
			if (p->pid == pid && !p->exited)
				break;
		if (!p)
			continue;
		p->exited = true;
		p->signalled = WIFSIGNALED(status);
		p->code = p->signalled ? WTERMSIG(status) : WEXITSTATUS(status);
		p->fn(p);
	}
}
