/* SPDX-License-Identifier: Apache-2.0 */
/* session_disk.h - what core has to do with a session's disks */
#ifndef KENAZ_CORE_SESSION_DISK_H
#define KENAZ_CORE_SESSION_DISK_H

#include "engine/base/jsonw.h"
#include "engine/core/session.h"

MUST_CHECK enum err session_disk_give(struct engine *e, struct chan *launch);
MUST_CHECK enum err session_disk_take(struct session_disk *d,
				      struct span payload);
MUST_CHECK enum err session_disk_failed(struct session *s, struct span payload);
MUST_CHECK enum err session_disk_attrs(const struct session_disk *d,
				       struct buf *b);
void session_disk_show(struct jsonw *w, const struct session *s);

#endif
