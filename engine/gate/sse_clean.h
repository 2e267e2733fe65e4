/* SPDX-License-Identifier: Apache-2.0 */
/* sse_clean.h - events that every reader splits into lines alike */
#ifndef KENAZ_GATE_SSE_CLEAN_H
#define KENAZ_GATE_SSE_CLEAN_H

#include "engine/gate/sse.h"

bool sse_is_clean(struct span raw);
MUST_CHECK enum err sse_next_clean(struct sse *s, struct span *in,
				   struct sse_event *ret_event);
MUST_CHECK enum err sse_escape_breaks(struct buf *b, size_t from);

#endif
