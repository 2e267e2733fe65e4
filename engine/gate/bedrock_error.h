/* SPDX-License-Identifier: Apache-2.0 */
/* bedrock_error.h - errors as Bedrock's runtime words them */
#ifndef KENAZ_GATE_BEDROCK_ERROR_H
#define KENAZ_GATE_BEDROCK_ERROR_H

#include "engine/base/json.h"
#include "engine/gate/eventstream.h"
#include "engine/gate/neutral.h"

/* Response header that names the error; without it SDKs know none. */
#define BEDROCK_ERROR_HEADER "x-amzn-errortype"

/* An exception or error frame, read. Spans borrow the frame and a buffer. */
struct bedrock_failure {
	enum neutral_error error;
	struct span name, message;
};

const char *bedrock_error_type(unsigned http_status);
const char *bedrock_error_name(enum neutral_error error,
			       unsigned *ret_http_status);
enum neutral_error bedrock_error_kind(struct span name, unsigned http_status);
enum neutral_error bedrock_read_error(unsigned http_status, struct span body,
				      struct buf *message);
MUST_CHECK enum err bedrock_put_error(struct buf *b, const char *type,
				      struct span message);
MUST_CHECK enum err bedrock_read_failure(const struct eventstream_frame *f,
					 struct json *doc, struct buf *words,
					 struct bedrock_failure *ret_failure);
void bedrock_note_failure(const struct bedrock_failure *failure, char *ret_text,
			  size_t cap_bytes);
MUST_CHECK enum err bedrock_put_exception(struct buf *out, const char *type,
					  struct span message);

#endif
