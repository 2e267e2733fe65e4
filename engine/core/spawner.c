/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawner.c - the small process that starts programs for core
 *
 * Runs in: a child of kenazd, forked before core enters its own jail, so
 *	    that broker and egress get the host's network and core gets none.
 * Trusts:  core, at the other end of its channel.
 * Never:   starts anything but Kenaz's own programs, passes its environment
 *	    on, outlives core.
 *
 * When core goes, the channel closes: children see their own channels close
 * and end; what is left after SPAWNER_GRACE_NS is killed, but for those that
 * a service engine keeps. Children of an earlier core's spawner are known by
 * the pidfd that core passes.
 */
#include "engine/core/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/proto/chan.h"

#define STRAYS_TEXT_BYTES    16384u
#define SPAWNER_CHILDREN_MAX 1024u
#define SPAWNER_GRACE_MS     5000u
#define SPAWNER_ARGS_MAX     16u

/* A child of an earlier spawner; freed by the loop. */
struct adopted {
	uv_poll_t poll;
	struct adopted *next;
	struct spawner *spawner;
	pid_t pid;
	int fd;
};

struct spawner {
	uv_loop_t loop;
	uv_signal_t on_child;
	uv_timer_t grace;
	struct chan *core;
	char program_dir[PATH_MAX];
	pid_t children[SPAWNER_CHILDREN_MAX];
	bool kept[SPAWNER_CHILDREN_MAX]; /* outlives core */
	size_t n_children;
	struct adopted *adopted;
	size_t n_adopted;
	bool ending;
};

/* The environment of every child: nothing of the user's but these. */
static const char *const passed_environment[] = {
	"KENAZ_LOG", "KENAZ_TRACE", "LANG",         "LC_ALL",
	"PATH",      "TMPDIR",      "ASAN_OPTIONS", "UBSAN_OPTIONS",
};

static void exec_child(const char *path, char *const *argv, const int *fds,
		       size_t n_fds)
{
	char *env[ARRAY_SIZE(passed_environment) + 1];
	char lines[ARRAY_SIZE(passed_environment)][1024];
	size_t i, n_env = 0;
	int high[PACKET_MAX_FDS];
	sigset_t none;

	for (i = 0; i < ARRAY_SIZE(passed_environment); i++) {
		const char *value = getenv(passed_environment[i]);
		int n;

		if (!value)
			continue;
		n = snprintf(lines[n_env], sizeof(lines[0]), "%s=%s",
			     passed_environment[i], value);
		if (n > 0 && (size_t)n < sizeof(lines[0])) {
			env[n_env] = lines[n_env];
			n_env++;
		}
	}
	env[n_env] = NULL;
	/* Out of the way first: the targets may be among the sources. */
	for (i = 0; i < n_fds; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
		if (high[i] < 0)
			_exit(126);
	}
	for (i = 0; i < n_fds; i++)
		if (dup2(high[i], CHAN_CHILD_FD + (int)i) < 0)
			_exit(126);
	if (close_range((unsigned)CHAN_CHILD_FD + (unsigned)n_fds, ~0u, 0) < 0)
		_exit(126);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	execve(path, argv, env);
	_exit(127);
}

static enum err start(struct spawner *s, const struct msg_spawn *m,
		      const int *fds, size_t n_fds, pid_t *ret_pid)
{
	const char *program = role_program((enum role)m->role);
	char path[PATH_MAX], text[1025];
	char *argv[SPAWNER_ARGS_MAX + 2], *at;
	size_t argc = 0;
	pid_t pid;

	if (!program || m->role == ROLE_CORE || s->ending)
		return ERR_STATE;
	if (s->n_children >= SPAWNER_CHILDREN_MAX)
		return ERR_LIMIT;
	if (text_format(path, sizeof(path), "%s/%s", s->program_dir, program) !=
	    ERR_OK)
		return ERR_LIMIT;
	if (access(path, X_OK) < 0)
		return ERR_NOT_FOUND;
	if (span_copy_text(m->arguments, text, sizeof(text)) != ERR_OK)
		return ERR_LIMIT;
	argv[argc++] = path;
	for (at = text; *at && argc <= SPAWNER_ARGS_MAX;) {
		char *end = strchr(at, '\n');

		argv[argc++] = at;
		if (!end)
			break;
		*end = '\0';
		at = end + 1;
	}
	argv[argc] = NULL;
	pid = fork();
	if (pid < 0)
		return ERR_SYS;
	if (pid == 0)
		exec_child(path, argv, fds, n_fds);
	s->kept[s->n_children] = false;
	s->children[s->n_children++] = pid;
	*ret_pid = pid;
	return ERR_OK;
}

static void tell_exit(struct spawner *s, const struct msg_child_exited *m)
{
	if (chan_is_open(s->core) &&
	    chan_send_child_exited(s->core, m, NULL, 0) != ERR_OK)
		log_warn("core was not told that %u ended", m->pid);
}

static void on_adopted_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Its exit status is its parent's to know. */
static void on_adopted_exit(uv_poll_t *poll, int status, int events)
{
	struct adopted *a = poll->data, **at;
	struct msg_child_exited m = {.pid = (uint32_t)a->pid, .code = -1};

	(void)status;
	(void)events;
	for (at = &a->spawner->adopted; *at != a;)
		at = &(*at)->next;
	*at = a->next;
	a->spawner->n_adopted--;
	tell_exit(a->spawner, &m);
	(void)uv_poll_stop(poll);
	close(a->fd);
	uv_close((uv_handle_t *)poll, on_adopted_closed);
}

static enum err adopt(struct spawner *s, struct chan_message *m)
{
	struct msg_child_adopt order;
	struct adopted *a;
	enum err e = msg_child_adopt_get(m->payload, &order);

	if (e != ERR_OK)
		return e;
	if (s->n_adopted >= SPAWNER_CHILDREN_MAX)
		return ERR_LIMIT;
	a = calloc(1, sizeof(*a));
	if (!a)
		return ERR_MEMORY;
	a->spawner = s;
	a->pid = (pid_t)order.pid;
	a->fd = m->fds[0];
	a->poll.data = a;
	if (uv_poll_init(&s->loop, &a->poll, a->fd) != 0) {
		free(a);
		return ERR_SYS;
	}
	m->fds[0] = -1;
	a->next = s->adopted;
	s->adopted = a;
	s->n_adopted++;
	return uv_poll_start(&a->poll, UV_READABLE, on_adopted_exit) == 0
		       ? ERR_OK
		       : ERR_SYS;
}

static enum err keep(struct spawner *s, struct span payload)
{
	struct msg_child_keep order;
	enum err e = msg_child_keep_get(payload, &order);
	size_t i;

	for (i = 0; e == ERR_OK && i < s->n_children; i++)
		if (s->children[i] == (pid_t)order.pid)
			s->kept[i] = true;
	return e;
}

static void kill_one(struct spawner *s, const struct msg_child_kill *order)
{
	struct adopted *a;
	size_t i;

	for (i = 0; i < s->n_children; i++)
		if (s->children[i] == (pid_t)order->pid)
			(void)kill(s->children[i], order->signal);
	for (a = s->adopted; a; a = a->next)
		if (a->pid == (pid_t)order->pid)
			(void)syscall(SYS_pidfd_send_signal, a->fd,
				      order->signal, NULL, 0);
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	struct spawner *s = context;
	struct msg_child_kill kill_request;
	struct msg_spawned answer = {0};
	struct msg_spawn spawn;
	pid_t pid = 0;
	enum err e;

	if (m->type == MSG_CHILD_KEEP)
		return keep(s, m->payload);
	if (m->type == MSG_CHILD_ADOPT)
		return adopt(s, m);
	if (m->type == MSG_SPAWN) {
		e = msg_spawn_get(m->payload, &spawn);
		if (e != ERR_OK)
			return e;
		answer.request = spawn.request;
		answer.error = start(s, &spawn, m->fds, m->n_fds, &pid);
		answer.pid = (uint32_t)pid;
		return chan_send_spawned(c, &answer, NULL, 0);
	}
	if (m->type != MSG_CHILD_KILL)
		return ERR_STATE;
	e = msg_child_kill_get(m->payload, &kill_request);
	if (e == ERR_OK)
		kill_one(s, &kill_request);
	return e;
}

static void forget(struct spawner *s, size_t i)
{
	s->n_children--;
	s->children[i] = s->children[s->n_children];
	s->kept[i] = s->kept[s->n_children];
}

/* Whether anybody is left who has to end before the spawner does. */
static bool has_work(const struct spawner *s)
{
	size_t i;

	for (i = 0; i < s->n_children; i++)
		if (!s->kept[i])
			return true;
	return false;
}

static bool is_child(const struct spawner *s, pid_t pid)
{
	size_t i;

	for (i = 0; i < s->n_children; i++)
		if (s->children[i] == pid)
			return true;
	return false;
}

/*
 * A launcher that is killed while it starts QEMU leaves the sandbox's first
 * process behind, when that had not yet asked to die with its parent. The
 * kernel then makes it our child (PR_SET_CHILD_SUBREAPER): whoever we did not
 * start ourselves is ended.
 */
static void end_strays(const struct spawner *s)
{
	char path[64], text[STRAYS_TEXT_BYTES], *at = text, *end;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children",
		       (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	/* Cut: the rest is seen when the next one ends. */
	text[n > 0 ? n : 0] = '\0';
	for (;;) {
		long pid = strtol(at, &end, 10);

		if (end == at || *end != ' ')
			return;
		at = end;
		if (pid > 1 && !is_child(s, (pid_t)pid)) {
			log_info("process %ld was left behind; killed", pid);
			(void)kill((pid_t)pid, SIGKILL);
		}
	}
}

static void reap(struct spawner *s)
{
	bool reaped = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct msg_child_exited m = {.pid = (uint32_t)pid};
		bool ours = is_child(s, pid);
		size_t i;

		reaped = true;
		for (i = 0; i < s->n_children; i++)
			if (s->children[i] == pid)
				forget(s, i);
		m.signalled = WIFSIGNALED(status) ? 1 : 0;
		m.code = m.signalled ? WTERMSIG(status) : WEXITSTATUS(status);
		if (ours)
			tell_exit(s, &m);
	}
	if (reaped)
		end_strays(s);
	if (s->ending && !has_work(s))
		exit(0);
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	(void)signum;
	reap(handle->data);
}

static void on_grace(uv_timer_t *handle)
{
	struct spawner *s = handle->data;
	size_t i;

	for (i = 0; i < s->n_children; i++)
		if (!s->kept[i])
			(void)kill(s->children[i], SIGKILL);
	exit(0);
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	struct spawner *s = context;

	(void)c;
	(void)reason;
	s->ending = true;
	reap(s);
	(void)uv_timer_start(&s->grace, on_grace, SPAWNER_GRACE_MS, 0);
}

static const struct chan_handler handler = {on_message, on_closed};

static enum err find_programs(struct spawner *s)
{
	ssize_t n = readlink("/proc/self/exe", s->program_dir,
			     sizeof(s->program_dir) - 1);
	char *slash;

	if (n <= 0)
		return ERR_SYS;
	s->program_dir[n] = '\0';
	slash = strrchr(s->program_dir, '/');
	if (!slash)
		return ERR_NOT_FOUND;
	*slash = '\0';
	return ERR_OK;
}

static void run(int fd)
{
	static struct spawner s;

	log_init("kenazd-spawner");
	(void)prctl(PR_SET_NAME, "kenaz-spawner", 0, 0, 0);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		die("the spawner cannot adopt what others leave behind");
	(void)signal(SIGPIPE, SIG_IGN);
	/* The terminal's signals are for core, which then tells us. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	if (find_programs(&s) != ERR_OK || uv_loop_init(&s.loop) != 0 ||
	    chan_new(&s.loop, fd, ROLE_SPAWNER, ROLE_CORE, &handler, &s,
		     &s.core) != ERR_OK)
		die("the spawner cannot start: %s", strerror(errno));
	chan_set_state(s.core, S_RUN);
	(void)uv_signal_init(&s.loop, &s.on_child);
	(void)uv_timer_init(&s.loop, &s.grace);
	s.on_child.data = &s;
	s.grace.data = &s;
	if (uv_signal_start(&s.on_child, on_sigchld, SIGCHLD) != 0)
		die("the spawner cannot watch its children");
	if (jail_enter(JAIL_SPAWNER) != ERR_OK)
		die("the spawner cannot enter its jail");
	(void)uv_run(&s.loop, UV_RUN_DEFAULT);
	exit(0);
}

static pid_t forked_pid;

/** spawner_pid() - Its process; 0 before spawner_fork() */
pid_t spawner_pid(void)
{
	return forked_pid;
}

/**
 * spawner_fork() - Start the spawner, before core has a loop or a jail
 * @keep_fd:	Descriptor that must not be inherited, or -1
 * @ret_fd:	Core's end of the channel, owned by the caller
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err spawner_fork(int keep_fd, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	if (chan_pair(fds) != ERR_OK)
		return ERR_SYS;
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return ERR_SYS;
	}
	if (pid == 0) {
		close(fds[0]);
		if (keep_fd >= 0)
			close(keep_fd);
		run(fds[1]);
	}
	close(fds[1]);
	forked_pid = pid;
	*ret_fd = fds[0];
	return ERR_OK;
}
