/* SPDX-License-Identifier: Apache-2.0 */
/* event_reader.h - incremental reader of server-sent events */
#ifndef KENAZ_WORKBENCH_EVENT_READER_H
#define KENAZ_WORKBENCH_EVENT_READER_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define EVENT_READER_MAX_BYTES (4u * 1024 * 1024) /* a line; an event */
#define EVENT_READER_NAME_MAX  64u

typedef enum err (*event_fn)(void *owner, struct span name, struct span data);

struct event_reader {
	struct buf line;
	struct buf data;
	struct buf name;
	event_fn fn;
	void *owner;
	bool after_cr;
	bool has_data;
	bool past_first_line;
};

void event_reader_init(struct event_reader *r, event_fn fn, void *owner);
void event_reader_fini(struct event_reader *r);
MUST_CHECK enum err event_reader_feed(struct event_reader *r, struct span s);
MUST_CHECK enum err event_reader_end(const struct event_reader *r);

#endif
