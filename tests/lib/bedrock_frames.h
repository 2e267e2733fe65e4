/* SPDX-License-Identifier: Apache-2.0 */
/* bedrock_frames.h - streams of AWS frames for tests, and what became of them
 */
#ifndef KENAZ_TESTS_BEDROCK_FRAMES_H
#define KENAZ_TESTS_BEDROCK_FRAMES_H

#include "engine/gate/dialect.h"

#define BEDROCK_TEST_MAX_BYTES (1u << 20)

void bedrock_test_frame(struct buf *out, const char *type, const char *payload);
void bedrock_test_exception(struct buf *out, const char *type,
			    const char *payload);
void bedrock_test_chunk(struct buf *out, const char *event);
void bedrock_test_read_file(const char *path, struct buf *ret_bytes);

/* A reply from its first byte to what release adds. */
struct bedrock_test_outcome {
	struct buf early; /* handed on before release */
	struct buf all;
	enum reply_state state;
	enum err err;
	struct reply_summary summary;
	char error_text[128], upstream_error[256];
	char arguments[256], name[64];
	unsigned judged;
};

/* @deny: a bit for each call. @chunk 0: sizes at random. Frees @r. */
void bedrock_test_run(struct reply *r, struct span all, size_t chunk,
		      unsigned deny, struct bedrock_test_outcome *ret);
void bedrock_test_drop(struct bedrock_test_outcome *o);

/* What frames or events hold, as lines. */
void bedrock_test_show_frames(struct span frames, struct buf *out);
/* Reads a response; the events as one line. Returns how it ended. */
enum err bedrock_test_trace(const struct dialect_ops *d, bool streamed,
			    struct span bytes, size_t chunk, struct buf *out);
bool bedrock_test_has(const struct buf *b, const char *text);

#endif
