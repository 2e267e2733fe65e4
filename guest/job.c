/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.c - a running program with its input, its output and its readers
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing that the program prints.
 * Never:   loses output while a reader keeps up; holds more than the replay
 *	    of a kept job and JOB_INPUT_MAX_BYTES of input.
 *
 * Theory of operation: a job with a name is kept: it outlives its readers
 * and replays its last output to a new one. A job without a name belongs to
 * its one reader and is ended when that reader leaves: SIGHUP, and SIGKILL
 * for what is left of its session after a while.
 *
 * The program's exit is reported after all its output. Background processes
 * may hold the pipes open for ever, so after the exit the output ends at
 * end-of-file or when it has been silent for JOB_LINGER_NS.
 */
#include "guest/job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/proto/limits.h"
#include "guest/loop.h"

#define JOB_LINGER_NS (200 * LOOP_MS_NS)
#define JOB_KILL_NS   (2000 * LOOP_MS_NS)
#define TTY_EOF_BYTE  0x04u

/* A full pipe and some more; the rest comes through the loop. */
#define JOB_DRAIN_MAX_READS 16
#define JOB_TURN_MAX_READS  4

struct job {
	struct job *next;
	struct process process;
	struct watch in_watch, out_watch, err_watch;
	struct timer timer; /* lingering after exit, or waiting to kill */
	struct buf input;
	struct buf replay; /* kept jobs: the last output */
	struct job_reader *readers;
	job_exit_fn exit_fn;
	char name[JOB_NAME_MAX_BYTES + 1]; /* empty: not kept */
	bool input_ended;
	bool finished;  /* exit was reported */
	bool abandoned; /* its reader left; ends when the timer has fired */
};

static struct job *jobs;

static void job_free(struct job *job)
{
	struct job **at = &jobs;

	while (*at && *at != job)
		at = &(*at)->next;
	if (*at)
		*at = job->next;
	timer_stop(&job->timer);
	watch_fini(&job->in_watch);
	watch_fini(&job->out_watch);
	watch_fini(&job->err_watch);
	process_fini(&job->process);
	buf_fini(&job->input);
	buf_fini(&job->replay);
	free(job);
}

static void count_jobs(size_t *ret_all, size_t *ret_kept)
{
	const struct job *job;

	*ret_all = *ret_kept = 0;
	for (job = jobs; job; job = job->next) {
		*ret_all += 1;
		*ret_kept += job->name[0] != '\0';
	}
}

static bool readers_have_room(const struct job *job)
{
	const struct job_reader *r;

	for (r = job->readers; r; r = r->next)
		if (!r->has_room(r))
			return false;
	return true;
}

static void remember(struct job *job, struct span data)
{
	size_t over;

	if (job->name[0] == '\0')
		return;
	over = job->replay.len_bytes + data.len_bytes;
	if (over > JOB_REPLAY_MAX_BYTES)
		buf_consume(&job->replay, over - JOB_REPLAY_MAX_BYTES);
	if (buf_put_span(&job->replay, data) != ERR_OK)
		buf_reset(&job->replay);
}

static void deliver(struct job *job, uint8_t stream, struct span data)
{
	struct job_reader *r, *next;

	remember(job, data);
	for (r = job->readers; r; r = next) {
		next = r->next;
		r->on_output(r, stream, data);
	}
}

/* Several reads make one write to a reader. */
static void flush(struct job *job)
{
	struct job_reader *r, *next;

	for (r = job->readers; r; r = next) {
		next = r->next;
		r->on_flush(r);
	}
}

static void close_output(struct watch *watch, int *fd)
{
	watch_fini(watch);
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

/* Read once; false when nothing more can be had now. */
static bool read_output(struct job *job, struct watch *watch, int *fd,
			uint8_t stream)
{
	uint8_t data[FRAME_DATA_MAX_BYTES];
	ssize_t n;

	if (*fd < 0 || !readers_have_room(job))
		return false;
	n = read(*fd, data, sizeof(data));
	if (n > 0) {
		deliver(job, stream, span_of(data, (size_t)n));
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	/* A terminal's end is EIO: nobody has its other side open. */
	if (job->process.tty) {
		watch_fini(&job->in_watch);
		process_close_input(&job->process);
	}
	close_output(watch, fd);
	return false;
}

static void finish(struct job *job)
{
	struct job_reader *r, *next;
	int32_t code = job->process.code;
	bool signalled = job->process.signalled;

	job->finished = true;
	timer_stop(&job->timer);
	watch_fini(&job->in_watch);
	process_close_input(&job->process);
	close_output(&job->out_watch, &job->process.out_fd);
	close_output(&job->err_watch, &job->process.err_fd);
	if (job->exit_fn)
		job->exit_fn(job->name, code, signalled);
	for (r = job->readers; r; r = next) {
		next = r->next;
		r->on_exit(r, code, signalled);
	}
}

static void on_linger(struct timer *timer)
{
	struct job *job = timer->owner;

	if (!readers_have_room(job))
		timer_start(timer, JOB_LINGER_NS, on_linger, job);
	else
		finish(job);
}

static void arm(struct job *job)
{
	uint32_t want = readers_have_room(job) ? EPOLLIN : 0;

	if (job->process.out_fd >= 0 &&
	    watch_set(&job->out_watch, want) != ERR_OK)
		close_output(&job->out_watch, &job->process.out_fd);
	if (job->process.err_fd >= 0 &&
	    watch_set(&job->err_watch, want) != ERR_OK)
		close_output(&job->err_watch, &job->process.err_fd);
	if (job->process.in_fd >= 0 &&
	    watch_set(&job->in_watch, job->input.len_bytes ? EPOLLOUT : 0) !=
		    ERR_OK)
		process_close_input(&job->process);
}

static void settle(struct job *job)
{
	if (job->finished || job->abandoned)
		return;
	arm(job);
	if (!job->process.exited)
		return;
	if (job->process.out_fd < 0 && job->process.err_fd < 0)
		finish(job);
	else
		timer_start(&job->timer, JOB_LINGER_NS, on_linger, job);
}

static void on_output(struct watch *watch, uint32_t events)
{
	struct job *job = watch->owner;
	bool is_out = watch == &job->out_watch;
	int *fd = is_out ? &job->process.out_fd : &job->process.err_fd;
	int turn;

	(void)events;
	for (turn = 0; turn < JOB_TURN_MAX_READS; turn++)
		if (!read_output(job, watch, fd, is_out ? 1 : 2))
			break;
	flush(job);
	settle(job);
}

static void on_input_room(struct watch *watch, uint32_t events)
{
	struct job *job = watch->owner;
	struct job_reader *r, *next;
	ssize_t n;

	(void)events;
	n = write(watch->fd, job->input.data, job->input.len_bytes);
	if (n > 0)
		buf_consume(&job->input, (size_t)n);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		buf_reset(&job->input);
		job->input_ended = true;
	}
	if (job->input_ended && job->input.len_bytes == 0 &&
	    !job->process.tty) {
		watch_fini(watch);
		process_close_input(&job->process);
	}
	for (r = job->readers; r; r = next) {
		next = r->next;
		r->on_input_room(r);
	}
	settle(job);
}

static void on_reaped(struct process *p)
{
	struct job *job = p->owner;

	int turn;

	if (job->abandoned)
		return;
	/* What it wrote before it ended is there already. */
	for (turn = 0; turn < JOB_DRAIN_MAX_READS; turn++)
		if (!read_output(job, &job->out_watch, &p->out_fd, 1))
			break;
	for (turn = 0; turn < JOB_DRAIN_MAX_READS; turn++)
		if (!read_output(job, &job->err_watch, &p->err_fd, 2))
			break;
	flush(job);
	settle(job);
}

/**
 * job_start() - Start a program as a job
 * @spec:	Borrowed
 * @name:	To keep it under; empty or NULL for a job of one reader
 * @fn:		Told about the exit, or NULL
 * @ret_job:	The job; borrowed, valid until its last reader left
 *
 * Return: ERR_OK; ERR_EXISTS when a running job has the name; ERR_LIMIT past
 *	   JOB_MAX_JOBS or JOB_MAX_KEPT; ERR_MEMORY; ERR_SYS.
 */
enum err job_start(const struct process_spec *spec, const char *name,
		   job_exit_fn fn, struct job **ret_job)
{
	struct job *job, *old = job_find(span_text(name));
	size_t all, kept;
	enum err e;

	if (name && *name && old) {
		if (!old->finished || old->readers)
			return ERR_EXISTS;
		job_free(old);
	}
	count_jobs(&all, &kept);
	if (all >= JOB_MAX_JOBS || (name && *name && kept >= JOB_MAX_KEPT))
		return ERR_LIMIT;
	job = calloc(1, sizeof(*job));
	if (!job)
		return ERR_MEMORY;
	e = span_copy_text(span_text(name), job->name, sizeof(job->name));
	if (e == ERR_OK)
		e = process_start(spec, &job->process, on_reaped, job);
	if (e != ERR_OK) {
		free(job);
		return e;
	}
	job->exit_fn = fn;
	buf_init(&job->input, JOB_INPUT_MAX_BYTES);
	buf_init(&job->replay, JOB_REPLAY_MAX_BYTES);
	watch_init(&job->in_watch, job->process.in_fd, on_input_room, job);
	watch_init(&job->out_watch, job->process.out_fd, on_output, job);
	watch_init(&job->err_watch, job->process.err_fd, on_output, job);
	job->next = jobs;
	jobs = job;
	arm(job);
	*ret_job = job;
	return ERR_OK;
}

/** job_find() - A kept job by its name, or NULL */
struct job *job_find(struct span name)
{
	struct job *job;

	for (job = jobs; job; job = job->next)
		if (job->name[0] != '\0' && span_is(name, job->name))
			return job;
	return NULL;
}

/**
 * job_attach() - Let a reader see the output from now on
 * @job:	Job
 * @r:		Reader with its calls filled in; owner's memory
 *
 * A kept job's last output is replayed first; when it has ended already its
 * exit is reported at once.
 */
void job_attach(struct job *job, struct job_reader *r)
{
	struct span left = buf_span(&job->replay);

	r->job = job;
	r->next = job->readers;
	job->readers = r;
	while (left.len_bytes) {
		size_t len = left.len_bytes < FRAME_DATA_MAX_BYTES
				     ? left.len_bytes
				     : FRAME_DATA_MAX_BYTES;

		r->on_output(r, 1, span_of(left.data, len));
		left = span_of(left.data + len, left.len_bytes - len);
	}
	if (job->finished)
		r->on_exit(r, job->process.code, job->process.signalled);
}

static void on_kill(struct timer *timer)
{
	struct job *job = timer->owner;

	process_signal_session(&job->process, SIGKILL);
	if (job->process.exited)
		job_free(job);
	else
		timer_start(timer, JOB_LINGER_NS, on_kill, job);
}

/**
 * job_leave() - Take a reader off; ends a job that was only its own
 * @r:	Reader; one that is attached to nothing is accepted
 */
void job_leave(struct job_reader *r)
{
	struct job *job = r->job;
	struct job_reader **at;

	if (!job)
		return;
	at = &job->readers;
	while (*at && *at != r)
		at = &(*at)->next;
	if (*at)
		*at = r->next;
	r->job = NULL;
	if (job->name[0] != '\0') {
		settle(job);
		return;
	}
	if (job->finished) {
		job_free(job);
		return;
	}
	job->abandoned = true;
	watch_fini(&job->in_watch);
	watch_fini(&job->out_watch);
	watch_fini(&job->err_watch);
	process_signal_session(&job->process, SIGHUP);
	timer_start(&job->timer, JOB_KILL_NS, on_kill, job);
}

/**
 * job_input() - Hand bytes to the program
 * @job:	Job
 * @data:	Borrowed; dropped when the program reads no more
 *
 * Return: ERR_OK; ERR_LIMIT when there was no room; ERR_MEMORY.
 */
enum err job_input(struct job *job, struct span data)
{
	enum err e;

	if (job->process.in_fd < 0 || job->input_ended)
		return ERR_OK;
	e = buf_put_span(&job->input, data);
	arm(job);
	return e;
}

/** job_end_input() - No more input; on a terminal that is its EOF character */
void job_end_input(struct job *job)
{
	static const uint8_t eof = TTY_EOF_BYTE;

	if (job->input_ended || job->process.in_fd < 0)
		return;
	if (job->process.tty) {
		if (job_input(job, span_of(&eof, 1)) != ERR_OK)
			return;
	} else if (job->input.len_bytes == 0) {
		watch_fini(&job->in_watch);
		process_close_input(&job->process);
	}
	job->input_ended = !job->process.tty;
}

/** job_has_input_room() - Whether a whole frame of input may be handed on */
bool job_has_input_room(const struct job *job)
{
	return job->input.len_bytes + FRAME_DATA_MAX_BYTES <=
	       JOB_INPUT_MAX_BYTES;
}

/** job_signal() - Signal the program in the foreground */
void job_signal(struct job *job, int number)
{
	if (!job->finished)
		process_signal(&job->process, number);
}

/** job_resize() - Give the terminal another size; the last one counts */
void job_resize(struct job *job, uint16_t rows, uint16_t columns)
{
	process_resize(&job->process, rows, columns);
}

/** job_resume() - A reader has room again */
void job_resume(struct job *job)
{
	settle(job);
}

/** job_signal_all() - Signal every session that was started here */
void job_signal_all(int number)
{
	const struct job *job;

	for (job = jobs; job; job = job->next)
		process_signal_session(&job->process, number);
}
