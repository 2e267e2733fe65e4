/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - one jailed QEMU: its process, console and QMP on the loop
 *
 * Runs in: kenaz-launch.
 * Trusts:  the kernel's word that a process has ended; nothing QEMU says.
 * Never:   waits for QEMU: every step has a deadline or is polled; leaves a
 *	    process behind when it says "ended".
 *
 * Theory of operation: bubblewrap is our child, QEMU its child and process 1
 * of a pid namespace. Both die with us (PR_SET_PDEATHSIG at each step). An
 * end is known by the pid descriptor of bubblewrap, which ends after QEMU;
 * what it and QEMU wrote then decides the reason.
 */
#include "vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "vm/disk.h"
#include "vm/jail.h"
#include "vm/qmp.h"

#define JAIL_WORDS "bwrap: " /* its errors begin so */

enum watched { W_PROCESS, W_STATUS, W_CONSOLE, W_ERRORS, W_QMP, W_COUNT };

struct machine {
	uv_poll_t polls[W_COUNT];
	uv_timer_t quit_timer;
	bool polling[W_COUNT];
	int fds[W_COUNT]; /* ours; W_QMP's belongs to qmp */
	int child_fd;     /* pid descriptor of QEMU */
	pid_t pid;        /* of bubblewrap */
	struct qmp *qmp;
	struct console console;
	struct console errors; /* what bubblewrap and QEMU print */
	struct buf status;
	struct jail_report report;
	bool spawned;
	bool quitting; /* an end is what was asked for */
	bool killed;
	bool ended;
	enum err error; /* of machine_fail() */
	char text[REASON_MAX_BYTES / 2];
	unsigned open_handles;
	bool freed;
	const struct machine_events *events;
	void *arg;
};

static void stop_poll(struct machine *m, enum watched w)
{
	if (m->polling[w])
		(void)uv_poll_stop(&m->polls[w]);
	m->polling[w] = false;
}

static void send_kill(int pid_fd)
{
	if (pid_fd >= 0 &&
	    syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0) < 0 &&
	    errno != ESRCH)
		log_error("a process of the VM cannot be killed: %s",
			  strerror(errno));
}

/**
 * machine_kill() - End it at once; ended() follows
 * @m:	Machine
 */
void machine_kill(struct machine *m)
{
	if (m->ended)
		return;
	m->killed = true;
	/* QEMU is process 1 of its namespace: nothing in there survives. */
	send_kill(m->child_fd);
	if (m->child_fd < 0)
		send_kill(m->fds[W_PROCESS]);
}

/**
 * machine_fail() - End it for a reason of ours; ended() follows
 * @m:		Machine
 * @e:		Error
 * @text:	Sentence, trusted or escaped; the first one counts
 */
void machine_fail(struct machine *m, enum err e, const char *text)
{
	if (m->error == ERR_OK && !m->ended) {
		m->error = e;
		(void)snprintf(m->text, sizeof(m->text), "%s", text);
	}
	machine_kill(m);
}

static void on_quit_timeout(uv_timer_t *timer)
{
	struct machine *m = timer->data;

	log_info("QEMU did not quit in time; killing it");
	machine_kill(m);
}

/**
 * machine_quit() - End it because that was asked for
 * @m:		Machine; ended() follows with ERR_OK
 * @at_once:	Kill; else QEMU is asked, and killed if it does not in time
 */
void machine_quit(struct machine *m, bool at_once)
{
	if (m->ended || (m->quitting && !at_once))
		return;
	m->quitting = true;
	if (at_once || qmp_send(m->qmp, "quit", NULL) != ERR_OK) {
		machine_kill(m);
		return;
	}
	(void)uv_timer_start(&m->quit_timer, on_quit_timeout,
			     MACHINE_QUIT_MAX_MS, 0);
}

static void qmp_ready(void *arg, const char *version)
{
	struct machine *m = arg;

	m->events->qmp_ready(m->arg, version);
}

/* Nothing ends by an event alone: the end of the process decides. */
static void qmp_event(void *arg, const char *name)
{
	struct machine *m = arg;

	log_debug("QEMU: %s", name);
	if (strcmp(name, "BLOCK_IO_ERROR") == 0 && m->events->disk_failed)
		m->events->disk_failed(m->arg, qmp_event_no_space(m->qmp));
	if (m->events->qmp_event)
		m->events->qmp_event(m->arg, name);
}

static void qmp_answer(void *arg, uint64_t id, enum err e, struct span text)
{
	struct machine *m = arg;
	char line[256];

	if (e != ERR_OK) {
		(void)text_escape_line(text, line, sizeof(line));
		log_warn("QEMU refused a command: %s", line);
	}
	if (m->events->qmp_answer)
		m->events->qmp_answer(m->arg, id, e, text);
}

static const struct qmp_events qmp_handlers = {qmp_ready, qmp_event,
					       qmp_answer};

static void read_qmp(struct machine *m)
{
	char text[256];
	enum err e = qmp_turn(m->qmp);

	if (e == ERR_OK)
		return;
	stop_poll(m, W_QMP);
	if (e == ERR_CLOSED)
		return; /* the process descriptor tells the rest */
	(void)snprintf(text, sizeof(text), "QEMU's monitor sent nonsense: %s",
		       qmp_fault(m->qmp) ? qmp_fault(m->qmp) : err_text(e));
	machine_fail(m, ERR_FORMAT, text);
}

static void take_status_line(struct machine *m, const char *text, size_t len)
{
	if (jail_report_parse(&m->report, text, len) != ERR_OK) {
		log_debug("bubblewrap: unknown status line");
		return;
	}
	if (m->report.status != JAIL_RUNNING || m->spawned)
		return;
	m->spawned = true;
	m->child_fd = (int)syscall(SYS_pidfd_open, m->report.child_pid, 0);
	if (m->child_fd >= 0)
		(void)fcntl(m->child_fd, F_SETFD, FD_CLOEXEC);
	if (m->killed)
		send_kill(m->child_fd);
	jail_limit_tasks(m->report.child_pid);
	m->events->spawned(m->arg, m->report.child_pid);
}

static void read_status(struct machine *m)
{
	for (;;) {
		uint8_t chunk[512];
		ssize_t n = recv(m->fds[W_STATUS], chunk, sizeof(chunk),
				 MSG_DONTWAIT);
		uint8_t *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || buf_put(&m->status, chunk, (size_t)n) != ERR_OK) {
			stop_poll(m, W_STATUS);
			return;
		}
		while (m->status.len_bytes &&
		       (end = memchr(m->status.data, '\n',
				     m->status.len_bytes))) {
			size_t len = (size_t)(end - m->status.data);

			take_status_line(m, (const char *)m->status.data, len);
			buf_consume(&m->status, len + 1);
		}
	}
}

/* QEMU then drops what the guest writes: see console.h. */
static void cut_console(struct machine *m, enum watched w, struct console *c)
{
	enum err e;

	if (m->fds[w] < 0)
		return;
	e = console_read(c, m->fds[w]);
	if (e != ERR_OK)
		stop_poll(m, w);
	if (e == ERR_LIMIT) {
		log_warn("the guest's console passed its limit and is cut off");
		(void)shutdown(m->fds[w], SHUT_RDWR);
	}
}

/* One sentence; @words is what bubblewrap and QEMU printed, escaped. */
static enum err why_ended(struct machine *m, int status, const char *words,
			  struct buf *text)
{
	bool reported = m->report.status == JAIL_EXITED;
	bool answered = m->qmp && qmp_is_ready(m->qmp);
	int code = reported ? m->report.exit_code : WEXITSTATUS(status);

	if (m->error != ERR_OK)
		return buf_put_text(text, m->text);
	if (m->quitting)
		return ERR_OK;
	if (m->killed || (!reported && answered)) {
		m->error = ERR_UPSTREAM;
		return buf_put_text(text, "the VM was killed");
	}
	if (!reported || strncmp(words, JAIL_WORDS, strlen(JAIL_WORDS)) == 0) {
		m->error = ERR_JAIL;
		return buf_printf(text,
				  "the sandbox for QEMU could not be built "
				  "(%s); bubblewrap must be installed and "
				  "user namespaces allowed",
				  words[0] ? words : jail_exit_text(code));
	}
	if (code == 0) {
		m->error = ERR_CLOSED;
		return buf_put_text(text, "the guest switched itself off");
	}
	m->error = ERR_UPSTREAM;
	if (code > 128)
		return buf_printf(text, "QEMU was ended by signal %d%s%s",
				  code - 128, words[0] ? ": " : "", words);
	return buf_printf(text, "QEMU ended with code %d%s%s", code,
			  words[0] ? ": " : "", words);
}

static void on_process_end(struct machine *m)
{
	const char *text = "";
	struct buf reason, raw;
	char words[512];
	int status = 0, i;

	if (waitpid(m->pid, &status, WNOHANG) != m->pid)
		return;
	m->ended = true;
	(void)uv_timer_stop(&m->quit_timer);
	/* What was written last may still be in the sockets. */
	read_status(m);
	cut_console(m, W_CONSOLE, &m->console);
	cut_console(m, W_ERRORS, &m->errors);
	for (i = 0; i < W_COUNT; i++)
		stop_poll(m, (enum watched)i);
	buf_init(&reason, REASON_MAX_BYTES);
	buf_init(&raw, REASON_MAX_BYTES);
	if (console_tail(&m->errors, &raw) != ERR_OK)
		buf_reset(&raw);
	(void)text_escape_line(buf_span(&raw), words, sizeof(words));
	if (why_ended(m, status, words, &reason) != ERR_OK ||
	    (reason.len_bytes && buf_terminate(&reason, &text) != ERR_OK))
		text = "the VM ended";
	m->events->ended(m->arg, m->error, text);
	buf_fini(&reason);
	buf_fini(&raw);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct machine *m = poll->data;

	(void)events;
	switch ((enum watched)(poll - m->polls)) {
	case W_PROCESS:
		on_process_end(m);
		return;
	case W_STATUS:
		read_status(m);
		return;
	case W_CONSOLE:
		cut_console(m, W_CONSOLE, &m->console);
		m->events->console(m->arg);
		return;
	case W_ERRORS:
		cut_console(m, W_ERRORS, &m->errors);
		return;
	case W_QMP:
		if (status < 0)
			stop_poll(m, W_QMP);
		else
			read_qmp(m);
		return;
	case W_COUNT:
	default:
		return;
	}
}

static enum err watch(uv_loop_t *loop, struct machine *m, enum watched w,
		      int fd)
{
	if (uv_poll_init(loop, &m->polls[w], fd) != 0)
		return ERR_SYS;
	m->open_handles++;
	m->polls[w].data = m;
	if (uv_poll_start(&m->polls[w], UV_READABLE, on_poll) != 0)
		return ERR_SYS;
	m->polling[w] = true;
	return ERR_OK;
}

static enum err make_pair(int *ret_ours, int *ret_theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return ERR_SYS;
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
	return fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0 ? ERR_SYS : ERR_OK;
}

enum { P_STATUS, P_CONSOLE, P_ERRORS, P_QMP, P_COUNT };

static enum err run(struct machine *m, const struct qemu_config *config,
		    const struct image *image, const struct memory *memory,
		    int vsock_fd, int boot_fd, const int theirs[P_COUNT])
{
	const struct disk *disk = config->disk;
	const struct jail_fd all[] = {
		{theirs[P_ERRORS], 2},
		{memory->fd, QEMU_FD_MEMORY},
		{image->kernel.fd, QEMU_FD_KERNEL},
		{image->initrd.fd, QEMU_FD_INITRD},
		{theirs[P_CONSOLE], QEMU_FD_CONSOLE},
		{theirs[P_QMP], QEMU_FD_QMP},
		{theirs[P_STATUS], JAIL_FD_STATUS},
		{vsock_fd, QEMU_FD_VSOCK},
		{config->root ? image->root.file.fd : -1, QEMU_FD_ROOT},
		{disk ? disk->fd : -1, QEMU_FD_DISK},
		{disk ? disk->key_fd : -1, QEMU_FD_DISK_KEY},
		{boot_fd, QEMU_FD_BOOT},
	};
	struct jail_fd fds[ARRAY_SIZE(all)];
	struct args command = {0};
	struct jail_start start = {
		.command = &command,
		.fds = fds,
		.kvm = config->kvm,
		.memory_mib = config->memory_mib,
		.uid = config->uid,
		.cgroup_fd = config->cgroup_fd,
		.file_bytes = disk ? disk->file_bytes : 0,
	};
	enum err e = qemu_args_build(config, &command);
	size_t i;

	/* Not every VM has all: see struct qemu_config. */
	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].fd >= 0)
			fds[start.fd_count++] = all[i];
	if (e == ERR_OK)
		e = jail_run(&start, &m->pid, &m->fds[W_PROCESS]);
	args_fini(&command);
	return e;
}

/**
 * machine_start() - Start a jailed QEMU
 * @loop:	The process's loop
 * @config:	What it is; vsock says whether @vsock_fd is used
 * @image:	Verified, borrowed for the call; its files are not open for a
 *		restore
 * @memory:	Borrowed for the call; QEMU keeps its own reference
 * @vsock_fd:	QEMU's end of the vhost-user socket or the kernel's device,
 *		owned, or -1
 * @boot_fd:	The guest's boot document, owned, or -1
 * @events:	Owner's callbacks, static
 * @arg:	For them
 * @ret_machine: machine_free() when done
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_RANGE; ERR_LIMIT; ERR_MEMORY.
 */
enum err machine_start(uv_loop_t *loop, const struct qemu_config *config,
		       const struct image *image, const struct memory *memory,
		       int vsock_fd, int boot_fd,
		       const struct machine_events *events, void *arg,
		       struct machine **ret_machine)
{
	struct machine *m = calloc(1, sizeof(*m));
	int theirs[P_COUNT] = {-1, -1, -1, -1}, qmp_fd = -1, i;
	enum err e = ERR_MEMORY;

	if (!m)
		goto out;
	for (i = 0; i < W_COUNT; i++)
		m->fds[i] = -1;
	m->child_fd = -1;
	m->events = events;
	m->arg = arg;
	buf_init(&m->status, JAIL_STATUS_MAX_BYTES);
	(void)uv_timer_init(loop, &m->quit_timer);
	m->quit_timer.data = m;
	m->open_handles = 1;
	e = make_pair(&m->fds[W_STATUS], &theirs[P_STATUS]);
	if (e == ERR_OK)
		e = make_pair(&m->fds[W_CONSOLE], &theirs[P_CONSOLE]);
	if (e == ERR_OK)
		e = make_pair(&m->fds[W_ERRORS], &theirs[P_ERRORS]);
	if (e == ERR_OK)
		e = make_pair(&qmp_fd, &theirs[P_QMP]);
	if (e == ERR_OK)
		e = qmp_new(qmp_fd, &qmp_handlers, m, &m->qmp);
	if (e == ERR_OK)
		e = run(m, config, image, memory, vsock_fd, boot_fd, theirs);
	for (i = 0; e == ERR_OK && i < W_QMP; i++)
		e = watch(loop, m, (enum watched)i, m->fds[i]);
	if (e == ERR_OK)
		e = watch(loop, m, W_QMP, qmp_poll_fd(m->qmp));
out:
	for (i = 0; i < P_COUNT; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	if (vsock_fd >= 0)
		close(vsock_fd);
	if (boot_fd >= 0)
		close(boot_fd);
	if (e == ERR_OK)
		*ret_machine = m;
	else
		machine_free(m);
	return e;
}

/** machine_qmp() - For commands of the owner; valid until machine_free() */
struct qmp *machine_qmp(struct machine *m)
{
	return m->qmp;
}

/** machine_console() - The guest's console; valid until machine_free() */
struct console *machine_console(struct machine *m)
{
	return &m->console;
}

static void on_closed(uv_handle_t *handle)
{
	struct machine *m = handle->data;
	int i;

	if (--m->open_handles)
		return;
	for (i = 0; i < W_COUNT; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	if (m->child_fd >= 0)
		close(m->child_fd);
	qmp_free(m->qmp);
	buf_fini(&m->status);
	free(m);
}

/**
 * machine_free() - Kill it if it runs, and release it once the loop allows
 * @m:	Machine, or NULL; no callback comes any more
 */
void machine_free(struct machine *m)
{
	int i;

	if (!m || m->freed)
		return;
	m->freed = true;
	if (m->pid > 0 && !m->ended) {
		machine_kill(m);
		send_kill(m->fds[W_PROCESS]);
		m->ended = true;
		(void)waitpid(m->pid, NULL, 0);
	}
	uv_close((uv_handle_t *)&m->quit_timer, on_closed);
	for (i = 0; i < W_COUNT; i++)
		if (m->polls[i].data)
			uv_close((uv_handle_t *)&m->polls[i], on_closed);
}
