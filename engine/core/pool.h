/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - machines that boot before anybody asks for them */
#ifndef KENAZ_CORE_POOL_H
#define KENAZ_CORE_POOL_H

#include "engine/core/doctor.h"
#include "engine/core/engine.h"

struct session;
struct session_options;
struct vm_wish;

MUST_CHECK enum err pool_new(struct engine *e);
void pool_free(struct engine *e);
void pool_tick(struct engine *e);
void pool_stop(struct engine *e);
size_t pool_machines(const struct engine *e);
bool pool_start(struct session *s);
bool pool_wants_clone(struct session *s, struct vm_wish *wish);
bool pool_clone_fits(struct session *s, const struct msg_vm_fingerprint *m);
void pool_clone_failed(struct session *s, const char *reason);
uint64_t pool_make_room(struct engine *e, const struct session_options *o,
			uint64_t sessions_mib);
void pool_doctor(struct engine *e, struct doctor_report *report);

#endif
