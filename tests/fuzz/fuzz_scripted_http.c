/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_scripted_http.c - any bytes get an answer or are waited for
 *
 * Runs in: make fuzz.
 */
#include <stdlib.h>

#include "engine/base/digest.h"
#include "engine/scripted/http_request.h"
#include "engine/scripted/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int started;
	struct http_request request;
	struct reply reply;
	size_t taken;
	enum err e;

	if (!started && digest_init() != ERR_OK)
		abort();
	started = 1;
	if (http_request_parse(span_of(data, size), &request, &taken) ==
	    ERR_OK) {
		if (taken > size || request.body.len_bytes > size)
			abort();
	} else {
		/* the parser is rarely passed by chance: try the body alone */
		request = (struct http_request){
			.method = span_text("POST"),
			.path = span_text("/v1/messages"),
			.body = span_of(data, size),
		};
	}
	reply_init(&reply);
	e = reply_make(&reply, &request);
	if (e != ERR_OK && e != ERR_LIMIT && e != ERR_MEMORY)
		abort();
	reply_fini(&reply);
	return 0;
}

/* sources: engine/scripted/http_request.c engine/scripted/reply.c */
/* sources: engine/scripted/script.c engine/base/buf.c engine/base/text.c */
/* sources: engine/base/json.c engine/base/json_text.c engine/base/jsonw.c */
/* sources: engine/base/digest.c */
