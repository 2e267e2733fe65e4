/* SPDX-License-Identifier: Apache-2.0 */
/* infer.h - one inference request from its gate to its outcome */
#ifndef KENAZ_CORE_INFER_H
#define KENAZ_CORE_INFER_H

#include "engine/core/session.h"

MUST_CHECK enum err infer_on_message(struct session *s, struct chan_message *m);
bool infer_is_running(const struct session *s, uint64_t request);
void infers_end(struct session *s, const char *reason);
MUST_CHECK enum err infer_put_decision(struct buf *b,
				       const struct policy_decision *d);

#endif
