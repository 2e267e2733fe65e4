/* SPDX-License-Identifier: Apache-2.0 */
/* dangling.h - which intents of the log have no outcome yet */
#ifndef KENAZ_AUDIT_DANGLING_H
#define KENAZ_AUDIT_DANGLING_H

#include "engine/audit/record.h"

#define DANGLING_OPEN_MAX       4096u /* intents followed at once */
#define DANGLING_LISTED_MAX     200u  /* named in log.recovered */
#define DANGLING_LINK_MAX_BYTES 128u

/* Attribute of an outcome that names its intent's seq. */
#define DANGLING_ATTR_INTENT   "kenaz.intent"
#define DANGLING_ATTR_COUNT    "kenaz.recovered.unknown"
#define DANGLING_ATTR_INTENTS  "kenaz.recovered.intents"
#define DANGLING_ATTR_SESSIONS "kenaz.recovered.sessions"
/* Of an engine.stop that left its sessions to the next engine on purpose. */
#define DANGLING_ATTR_LEFT "kenaz.sessions_left"

struct dangling_item {
	uint64_t seq;
	enum kind kind;
	char session[RECORD_SESSION_MAX_BYTES + 1];
	char link[DANGLING_LINK_MAX_BYTES + 1]; /* NAME=VALUE, or empty */
};

struct dangling {
	struct dangling_item *items;
	size_t count;
	size_t cap;
	uint64_t not_followed;
};

void dangling_init(struct dangling *d);
void dangling_fini(struct dangling *d);
MUST_CHECK enum err dangling_feed(struct dangling *d,
				  const struct record_view *view);
uint64_t dangling_count(const struct dangling *d);
MUST_CHECK enum err dangling_attrs(const struct dangling *d, struct buf *out);

#endif
