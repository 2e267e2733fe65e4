/* SPDX-License-Identifier: Apache-2.0 */
/* handover.h - an engine that leaves its sessions to its successor */
#ifndef KENAZ_CORE_HANDOVER_H
#define KENAZ_CORE_HANDOVER_H

#include "engine/core/session.h"

MUST_CHECK enum err handover_begin(struct engine *e, const char *why);
bool handover_is_due(const struct engine *e);
void handover_leave(struct session *s);

#endif
