/* SPDX-License-Identifier: Apache-2.0 */
/* approving.h - from an answered approval to what waited for it */
#ifndef KENAZ_CORE_APPROVING_H
#define KENAZ_CORE_APPROVING_H

#include "engine/core/approvals.h"
#include "engine/core/engine.h"

MUST_CHECK enum err approving_put_question(struct buf *b, uint64_t id,
					   const char *target,
					   const struct approval_question *q);
void approving_withdraw(struct engine *e, uint64_t id, const char *reason);
void approving_withdraw_session(struct engine *e, const char *session,
				const char *reason);
void approving_pump(struct engine *e);

#endif
