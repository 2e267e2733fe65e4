/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_anthropic_request.c - any body is read or refused with a reason
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/dialect.h"
#include "engine/proto/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_attrs(const struct buf *b)
{
	struct reader r;
	struct attr a;

	reader_init(&r, buf_span(b));
	while (attrs_next(&r, &a))
		;
	assert(r.status == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	struct request_facts f;
	enum err e;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	e = dialect_anthropic.inspect(ROUTE_MESSAGES, span_of(data, size),
				      &seen, &f);
	if (e == ERR_OK)
		assert(f.model[0] != '\0');
	else
		assert(f.error_text[0] != '\0');
	check_attrs(&f.features);
	check_attrs(&f.tools);
	check_attrs(&f.results);
	request_facts_fini(&f);
	return 0;
}

/* sources: engine/base/err.c engine/base/buf.c engine/base/digest.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/gate/models_list.c engine/proto/attrs.c
 * engine/gate/anthropic*.c engine/gate/bedrock_error.c engine/gate/chat*.c
 * engine/gate/converse*.c engine/gate/cost.c engine/gate/count.c
 * engine/gate/crc32.c engine/gate/dialect.c engine/gate/eventstream.c
 * engine/gate/inspection.c engine/gate/invoke*.c engine/gate/lax.c
 * engine/gate/neutral*.c engine/gate/reply*.c
 * engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
