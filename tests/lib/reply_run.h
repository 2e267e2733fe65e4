/* SPDX-License-Identifier: Apache-2.0 */
/* reply_run.h - a response through a reply, in pieces, with verdicts */
#ifndef KENAZ_TESTS_REPLY_RUN_H
#define KENAZ_TESTS_REPLY_RUN_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/gate/reply.h"

struct reply_run {
	struct buf early; /* handed on before release */
	struct buf all;   /* with what release added */
	enum reply_state state;
	enum err err;
	struct reply_summary summary;
	unsigned judged;
	char error_text[128], upstream_error[256];
	char calls[1024]; /* "name(arguments) " of each, in order */
};

/* @deny is a bit mask over the calls; @chunk 0 is random lengths. */
void reply_run(struct reply *r, struct span all, size_t chunk, unsigned deny,
	       struct reply_run *ret);
void reply_run_fini(struct reply_run *o);
bool buf_contains(const struct buf *b, const char *text);
/* Occurrences, not overlapping. */
unsigned buf_count(const struct buf *b, const char *text);
void read_whole_file(const char *path, struct buf *ret_bytes);

#endif
