/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - a session's limits: asked before, set at, told after */
#ifndef KENAZ_CORE_LIMITS_H
#define KENAZ_CORE_LIMITS_H

#include "engine/core/engine.h"
#include "engine/core/quota.h"

struct session;
struct session_options;
struct vm_wish;

void limits_open(struct engine *e, pid_t spawner_pid);
MUST_CHECK enum err limits_check(struct engine *e,
				 const struct session_options *o,
				 char *ret_text, size_t cap_bytes);
void limits_host(struct engine *e, struct quota_host *ret_host);
MUST_CHECK enum err limits_send(struct engine *e, struct child *launch,
				const struct vm_wish *wish);
void limits_tick(struct session *s, uint64_t now_ns);
MUST_CHECK enum err limits_on_message(struct session *s, struct span payload);
void limits_explain(struct session *s, char *text, size_t cap_bytes);
MUST_CHECK enum err limits_put_end(const struct session *s, struct buf *b);
void limits_release(struct engine *e, const char *vm);
void limits_engine_tick(struct engine *e);

#endif
