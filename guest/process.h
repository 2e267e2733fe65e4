/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - start, signal and reap the programs of a session */
#ifndef KENAZ_GUEST_PROCESS_H
#define KENAZ_GUEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/err.h"

#define PROCESS_AGENT_UID 1000u

struct process_spec {
	char *const *argv; /* at least one entry */
	char *const *env;
	const char *cwd;
	bool tty;
	uint16_t rows, columns;
};

struct process;
typedef void (*process_fn)(struct process *p);

struct process {
	struct process *next;
	process_fn fn; /* called once, when it has been reaped */
	void *owner;
	pid_t pid;      /* also its session and process group */
	int in_fd;      /* ours, non-blocking; -1 once closed */
	int out_fd;     /* likewise; a terminal's master with a tty */
	int err_fd;     /* likewise; -1 with a tty */
	int32_t code;   /* exit code, or signal number */
	bool signalled; /* ended by a signal */
	bool exited;
	bool tty;
};

void process_keep_user(void);
MUST_CHECK enum err process_start(const struct process_spec *spec,
				  struct process *p, process_fn fn,
				  void *owner);
void process_fini(struct process *p);
void process_close_input(struct process *p);
void process_signal(const struct process *p, int number);
void process_signal_session(const struct process *p, int number);
void process_resize(const struct process *p, uint16_t rows, uint16_t columns);
void process_reap_all(void);

#endif
