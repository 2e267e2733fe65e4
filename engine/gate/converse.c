/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse.c - Bedrock Converse, as one table row
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a body.
 * Never:   does I/O.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30, operations Converse and
 * ConverseStream. The model is in the path, so nothing in a body depends on
 * which provider it goes to.
 */
#include "engine/gate/converse.h"

#include "engine/gate/bedrock_error.h"

static enum err rewrite(struct span body, const struct dialect_target *t,
			struct buf *out)
{
	(void)t;
	return buf_put_span(out, body);
}

static const char *const forwarded_headers[] = {NULL};

const struct dialect_ops dialect_converse = {
	.id = DIALECT_CONVERSE,
	.forwarded_headers = forwarded_headers,
	.inspect = converse_inspect,
	.stream_new = converse_stream_new,
	.body_new = converse_body_new,
	.error_type = bedrock_error_type,
	.put_error = bedrock_put_error,
	.rewrite = rewrite,
	.read_request = converse_read_request,
	.write_request = converse_write_request,
	.reader_new = converse_reader_new,
	.writer_new = converse_writer_new,
	.stream_type = EVENTSTREAM_CONTENT_TYPE,
	.read_error = bedrock_read_error,
	.error_name = bedrock_error_name,
};
