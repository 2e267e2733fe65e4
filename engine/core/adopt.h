/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.h - sessions that an earlier engine left behind */
#ifndef KENAZ_CORE_ADOPT_H
#define KENAZ_CORE_ADOPT_H

#include "engine/core/session.h"

#define ADOPT_ANSWER_MAX_NS (20ull * 1000000000ull)

void adopt_all(struct engine *e);
void adopt_tick(struct engine *e);
size_t adopt_count(const struct engine *e);
void adopt_abandon(struct session *s);

#endif
