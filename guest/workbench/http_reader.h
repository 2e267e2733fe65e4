/* SPDX-License-Identifier: Apache-2.0 */
/* http_reader.h - incremental reader of one HTTP/1.1 response */
#ifndef KENAZ_WORKBENCH_HTTP_READER_H
#define KENAZ_WORKBENCH_HTTP_READER_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define HTTP_READER_HEAD_MAX_BYTES (32u * 1024)
#define HTTP_READER_LINE_MAX_BYTES (16u * 1024)

enum http_reader_state {
	HTTP_READER_STATUS,
	HTTP_READER_HEADERS,
	HTTP_READER_BODY, /* counted by a length */
	HTTP_READER_UNTIL_CLOSE,
	HTTP_READER_CHUNK_SIZE,
	HTTP_READER_CHUNK,
	HTTP_READER_CHUNK_END,
	HTTP_READER_TRAILER,
	HTTP_READER_DONE,
};

struct http_reader {
	enum http_reader_state state;
	struct buf line;
	size_t head_bytes;
	uint64_t left_bytes; /* of the body or the chunk */
	unsigned status;
	bool has_length, is_chunked;
	void (*on_header)(void *owner, struct span name, struct span value);
	enum err (*on_body)(void *owner, struct span data);
	void *owner;
};

void http_reader_init(struct http_reader *r);
void http_reader_fini(struct http_reader *r);
MUST_CHECK enum err http_reader_feed(struct http_reader *r, struct span s);
MUST_CHECK enum err http_reader_end(struct http_reader *r);
bool http_reader_name_is(struct span name, const char *lower);

#endif
