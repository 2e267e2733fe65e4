/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vt_child.c - a kenaz-vt child between a guest's output and the terminal
 *
 * Runs in: kenaz.
 * Trusts:  kenaz-vt to be the program beside kenaz; not that it survives what
 *	    it reads.
 * Never:   hands on a part of a chunk: output counts once its chunk is done.
 *
 * One chunk is under way at a time. The child answers it with its output and
 * a NUL byte, so a child that hangs is seen by the processor time that it
 * burnt on one chunk; wall-clock time alone would blame a busy machine.
 */
#include "tui/vt_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tui/program.h"

struct vt_child {
	pid_t pid;
	int in_fd;  /* SOCK_SEQPACKET: one chunk a packet */
	int out_fd; /* pipe */
	struct buf pending;
	bool busy;
	uint64_t since_ns;
	uint64_t cpu_before_ns;
};

static enum err spawn(const char *path, int in_fd, int out_fd, pid_t *ret_pid)
{
	char *const argv[] = {(char[]){"kenaz-vt"}, (char[]){"--sync"}, NULL};
	char *const environment[] = {NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	enum err e = ERR_SYS;
	sigset_t none;

	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&files) != 0)
		return ERR_SYS;
	if (posix_spawnattr_init(&attributes) != 0)
		goto out_files;
	/* Its own group: Ctrl-C on the terminal is not meant for it. */
	if (posix_spawnattr_setflags(&attributes,
				     POSIX_SPAWN_SETPGROUP |
					     POSIX_SPAWN_SETSIGMASK) == 0 &&
	    posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
	    posix_spawn_file_actions_adddup2(&files, in_fd, 0) == 0 &&
	    posix_spawn_file_actions_adddup2(&files, out_fd, 1) == 0 &&
	    posix_spawn(ret_pid, path, &files, &attributes, argv,
			environment) == 0)
		e = ERR_OK;
	posix_spawnattr_destroy(&attributes);
out_files:
	posix_spawn_file_actions_destroy(&files);
	return e;
}

/**
 * vt_child_new() - Start a filter
 * @ret_child:	Owned by the caller; written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND without the program; ERR_SYS; ERR_MEMORY.
 */
enum err vt_child_new(struct vt_child **ret_child)
{
	char path[PROGRAM_PATH_MAX_BYTES];
	struct vt_child *child = NULL;
	int pair[2] = {-1, -1}, pipes[2] = {-1, -1};
	enum err e = program_find("kenaz-vt", path, sizeof(path));

	if (e != ERR_OK)
		return e;
	e = ERR_SYS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
	    pipe2(pipes, O_CLOEXEC) != 0)
		goto out;
	e = ERR_MEMORY;
	child = calloc(1, sizeof(*child));
	if (!child)
		goto out;
	e = spawn(path, pair[1], pipes[1], &child->pid);
	if (e != ERR_OK)
		goto out;
	child->in_fd = pair[0];
	child->out_fd = pipes[0];
	pair[0] = pipes[0] = -1;
	buf_init(&child->pending, VT_CHILD_OUT_MAX_BYTES + 1);
	*ret_child = child;
	child = NULL;
out:
	free(child);
	if (pair[0] >= 0)
		close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	if (pipes[0] >= 0)
		close(pipes[0]);
	if (pipes[1] >= 0)
		close(pipes[1]);
	return e;
}

/** vt_child_free() - Kill the filter and collect it; NULL is accepted */
void vt_child_free(struct vt_child *child)
{
	if (!child)
		return;
	vt_child_end(child);
	close(child->out_fd);
	(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
	buf_fini(&child->pending);
	free(child);
}

/** vt_child_fd() - Readable when vt_child_pull() has something to do */
int vt_child_fd(const struct vt_child *child)
{
	return child->out_fd;
}

/** vt_child_busy() - Whether a chunk is under way */
bool vt_child_busy(const struct vt_child *child)
{
	return child->busy;
}

static uint64_t cpu_time_ns(const struct vt_child *child)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(child->pid, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/**
 * vt_child_push() - Give the filter a chunk
 * @child:	Filter that is not busy
 * @chunk:	Borrowed; 1 to VT_CHILD_CHUNK_MAX_BYTES
 *
 * Return: ERR_OK; ERR_STATE when it is busy; ERR_CLOSED when it died.
 */
enum err vt_child_push(struct vt_child *child, struct span chunk)
{
	ssize_t n;

	if (child->busy || chunk.len_bytes > VT_CHILD_CHUNK_MAX_BYTES)
		return ERR_STATE;
	child->since_ns = clock_now_ns();
	child->cpu_before_ns = cpu_time_ns(child);
	do
		n = send(child->in_fd, chunk.data, chunk.len_bytes,
			 MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ERR_CLOSED;
	child->busy = true;
	return ERR_OK;
}

/**
 * vt_child_pull() - Read from the filter once
 * @child:	Filter whose descriptor is readable
 * @out:	Gets the whole output of a chunk once it is done, and what the
 *		filter adds at its end
 *
 * Return: ERR_OK when a chunk is done; ERR_AGAIN when it is not yet;
 *	   ERR_CLOSED at the end; ERR_FORMAT when it breaks the protocol;
 *	   ERR_LIMIT or ERR_MEMORY from @out.
 */
enum err vt_child_pull(struct vt_child *child, struct buf *out)
{
	uint8_t chunk[VT_CHILD_OUT_MAX_BYTES + 1];
	ssize_t n = read(child->out_fd, chunk, sizeof(chunk));
	const uint8_t *end;
	enum err e;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? ERR_AGAIN
							 : ERR_CLOSED;
	if (n == 0) {
		/* Died over a chunk: what it said of it does not count. */
		if (child->busy)
			buf_reset(&child->pending);
		e = buf_put_span(out, buf_span(&child->pending));
		buf_reset(&child->pending);
		return e == ERR_OK ? ERR_CLOSED : e;
	}
	end = memchr(chunk, 0, (size_t)n);
	if (end && (end != chunk + n - 1 || !child->busy))
		return ERR_FORMAT;
	if (buf_put(&child->pending, chunk, (size_t)n - (end ? 1 : 0)) !=
	    ERR_OK)
		return ERR_FORMAT;
	if (!end)
		return ERR_AGAIN;
	child->busy = false;
	e = buf_put_span(out, buf_span(&child->pending));
	buf_reset(&child->pending);
	return e;
}

/** vt_child_hangs() - Whether the chunk under way takes too long */
bool vt_child_hangs(const struct vt_child *child)
{
	uint64_t cpu_ns;

	if (!child->busy)
		return false;
	if (clock_now_ns() - child->since_ns > VT_CHILD_WALL_MAX_NS)
		return true;
	cpu_ns = cpu_time_ns(child);
	return cpu_ns > child->cpu_before_ns &&
	       cpu_ns - child->cpu_before_ns > VT_CHILD_CPU_MAX_NS;
}

/** vt_child_end() - No more input: it cleans up and ends */
void vt_child_end(struct vt_child *child)
{
	if (child->in_fd >= 0)
		close(child->in_fd);
	child->in_fd = -1;
}
