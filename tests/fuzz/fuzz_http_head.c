/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http_head.c - any request line and headers are taken or refused
 *
 * Input: method, URI and headers ("name:value"), one a line.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/http_head.h"
#include "engine/proto/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *line(const char **at)
{
	size_t len = strcspn(*at, "\n");
	char *copy = strndup(*at, len);

	assert(copy);
	*at += len + ((*at)[len] == '\n');
	return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const forwarded[] = {"anthropic-beta", NULL};
	char *text = strndup((const char *)data, size);
	const char *at = text;
	char *method = line(&at), *uri = line(&at);
	struct http_target target;
	struct http_refusal refusal;
	struct http_head h;
	struct reader r;
	struct attr a;

	http_head_init(&h);
	refusal = http_head_target(method, uri, &target);
	if (refusal.status == 0)
		assert(target.action != HTTP_NONE &&
		       target.query.len_bytes <= HTTP_QUERY_MAX_BYTES &&
		       text_is_utf8(target.query));
	while (*at) {
		char *header = line(&at);
		size_t name = strcspn(header, ":");
		size_t skip = name + (header[name] == ':');

		http_head_add(&h, span_of(header, name),
			      span_text(header + skip), forwarded);
		free(header);
	}
	http_head_finish(&h, method);
	if (h.refusal.status == 0) {
		assert(!(h.has_length && h.chunked));
		assert(h.length_bytes <= BODY_MAX_BYTES);
	}
	reader_init(&r, buf_span(&h.forwarded));
	while (attrs_next(&r, &a))
		assert(span_is(a.key, "anthropic-beta"));
	assert(r.status == ERR_OK);
	assert(text_is_utf8(span_text(h.agent)));
	http_head_fini(&h);
	free(method);
	free(uri);
	free(text);
	return 0;
}

/* sources: engine/gate/http_head.c engine/proto/attrs.c engine/base/buf.c
 * engine/base/text.c */
