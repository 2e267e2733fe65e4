/* SPDX-License-Identifier: Apache-2.0 */
/* dump.h - the log as one stream: writer and reader of its records */
#ifndef KENAZ_AUDIT_DUMP_H
#define KENAZ_AUDIT_DUMP_H

#include "engine/audit/walk.h"
#include "engine/base/digest.h"

#define DUMP_MAGIC             "KENAZ-AUDIT-DUMP 1\n"
#define DUMP_RECORD_MAX_BYTES  (66u * 1024)
#define DUMP_RECORD_HEAD_BYTES 5u

enum dump_type {
	DUMP_HEADER = 'H',
	DUMP_ANCHOR = 'A',
	DUMP_EVENT = 'E',
	DUMP_PAYLOAD = 'P',
	DUMP_CHECKPOINT = 'C',
	DUMP_END = 'Z',
};

/* Both sides hash the stream; the end record carries the hash. */
struct dump_writer {
	struct digest *digest;
	uint64_t events;
};

MUST_CHECK enum err dump_writer_init(struct dump_writer *w);
void dump_writer_fini(struct dump_writer *w);
MUST_CHECK enum err dump_put_header(struct dump_writer *w, uint64_t from,
				    uint64_t size, const char *origin,
				    struct buf *out);
MUST_CHECK enum err dump_put_anchor(struct dump_writer *w, struct span note,
				    struct buf *out);
MUST_CHECK enum err dump_put_event(struct dump_writer *w, struct span bytes,
				   struct buf *out);
MUST_CHECK enum err dump_put_payload(struct dump_writer *w,
				     const struct walk_payload *p,
				     struct buf *out);
MUST_CHECK enum err dump_put_checkpoint(struct dump_writer *w, uint64_t size,
					struct span note, struct buf *out);
MUST_CHECK enum err dump_put_end(struct dump_writer *w, struct buf *out);

/* Any result but ERR_OK ends the reading and is returned. */
struct dump_handler {
	enum err (*on_header)(void *context, uint64_t from, uint64_t size,
			      struct span origin);
	enum err (*on_anchor)(void *context, struct span note);
	enum err (*on_event)(void *context, struct span bytes);
	enum err (*on_payload)(void *context, const struct walk_payload *p);
	enum err (*on_checkpoint)(void *context, uint64_t size,
				  struct span note);
};

struct dump_reader {
	struct digest *digest;
	struct buf pending;
	bool begun, headed, ended;
	uint64_t from, size, events;
	const char *fault; /* static text, after ERR_FORMAT */
};

MUST_CHECK enum err dump_reader_init(struct dump_reader *r);
void dump_reader_fini(struct dump_reader *r);
MUST_CHECK enum err dump_reader_feed(struct dump_reader *r, struct span bytes,
				     const struct dump_handler *handler,
				     void *context);
MUST_CHECK enum err dump_reader_finish(struct dump_reader *r);

#endif
