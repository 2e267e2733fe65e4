/* SPDX-License-Identifier: Apache-2.0 */
/* migration.h - save or load a guest's device state, as QMP commands */
#ifndef KENAZ_VM_MIGRATION_H
#define KENAZ_VM_MIGRATION_H

#include <uv.h>

#include "engine/base/err.h"
#include "vm/qmp.h"

#define MIGRATION_POLL_MS     20u
#define MIGRATION_MAX_NS      (60ull * 1000000000ull)
#define MIGRATION_TEXT_BYTES  256u
#define MIGRATION_STATE_BYTES 64u

enum migration_kind { MIGRATION_SAVE, MIGRATION_LOAD };

struct migration;

struct migration_events {
	/* Saved, or loaded with the device plugged; else why not. */
	void (*done)(void *arg, enum err e, const char *text);
	/* After migration_resume(): the CPUs run, or do not. */
	void (*resumed)(void *arg, enum err e);
};

MUST_CHECK enum err migration_new(uv_loop_t *loop, enum migration_kind kind,
				  struct qmp *qmp, int fd,
				  const struct migration_events *events,
				  void *arg, struct migration **ret_migration);
void migration_answer(struct migration *m, uint64_t id, enum err e,
		      struct span text);
void migration_event(struct migration *m, const char *name);
MUST_CHECK enum err migration_resume(struct migration *m);
void migration_free(struct migration *m);

#endif
