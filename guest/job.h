/* SPDX-License-Identifier: Apache-2.0 */
/* job.h - a running program with its input, its output and its readers */
#ifndef KENAZ_GUEST_JOB_H
#define KENAZ_GUEST_JOB_H

#include "engine/base/buf.h"
#include "guest/process.h"

#define JOB_MAX_JOBS         64
#define JOB_MAX_KEPT         8
#define JOB_NAME_MAX_BYTES   32u
#define JOB_INPUT_MAX_BYTES  (64u * 1024)
#define JOB_REPLAY_MAX_BYTES (64u * 1024)

struct job;
struct job_reader;

/* Who sees the output. All calls come from the loop. */
struct job_reader {
	struct job_reader *next;
	struct job *job;
	void (*on_output)(struct job_reader *r, uint8_t stream,
			  struct span data);
	void (*on_flush)(struct job_reader *r);
	void (*on_exit)(struct job_reader *r, int32_t code, bool signalled);
	void (*on_input_room)(struct job_reader *r);
	bool (*has_room)(const struct job_reader *r);
	void *owner;
};

typedef void (*job_exit_fn)(const char *name, int32_t code, bool signalled);

MUST_CHECK enum err job_start(const struct process_spec *spec, const char *name,
			      job_exit_fn fn, struct job **ret_job);
struct job *job_find(struct span name);
void job_attach(struct job *job, struct job_reader *r);
void job_leave(struct job_reader *r);
MUST_CHECK enum err job_input(struct job *job, struct span data);
void job_end_input(struct job *job);
bool job_has_input_room(const struct job *job);
void job_signal(struct job *job, int number);
void job_resize(struct job *job, uint16_t rows, uint16_t columns);
void job_resume(struct job *job);
void job_signal_all(int number);

#endif
