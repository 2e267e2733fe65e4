/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_converse_request.c - any body is judged or refused with a reason, and
 * what can be read can be written and read again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/converse.h"
#include "engine/gate/neutral_names.h"
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

static void judge(struct span body)
{
	static struct seen seen;
	struct request_facts f;
	enum err e;

	memset(&seen, 0, sizeof(seen));
	request_facts_init(&f);
	memcpy(f.model, "m", 2);
	e = converse_inspect(ROUTE_CONVERSE, body, &seen, &f);
	if (e != ERR_OK)
		assert(f.error_text[0] != '\0');
	check_attrs(&f.features);
	check_attrs(&f.tools);
	check_attrs(&f.results);
	request_facts_fini(&f);
}

/* False when it was refused; a reason is demanded then. */
static bool translate(struct span body, const char *model, struct buf *out)
{
	const struct dialect_target t = {.route = ROUTE_CONVERSE,
					 .model = span_text(model)};
	struct neutral_request r;
	enum err e;

	neutral_request_init(&r);
	e = converse_read_request(ROUTE_CONVERSE, body, &r);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = converse_write_request(&r, &t, out);
	if (e == ERR_FORMAT || e == ERR_UNSUPPORTED)
		assert(r.error_text[0] != '\0');
	neutral_request_fini(&r);
	return e == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const models[] = {"anthropic.claude-sonnet-4-5",
					     "amazon.nova-pro-v1:0", "other"};
	struct span body = span_of(data, size);
	struct buf once, twice;
	size_t i;

	judge(body);
	for (i = 0; i < ARRAY_SIZE(models); i++) {
		buf_init(&once, 64 * size + 65536);
		buf_init(&twice, 64 * size + 65536);
		if (translate(body, models[i], &once)) {
			judge(buf_span(&once));
			assert(translate(buf_span(&once), models[i], &twice));
		}
		buf_fini(&once);
		buf_fini(&twice);
	}
	return 0;
}

/* sources: engine/base/buf.c engine/base/digest.c engine/base/err.c
 * engine/base/json.c engine/base/json_text.c engine/base/jsonw.c
 * engine/base/text.c engine/gate/models_list.c engine/proto/attrs.c
 * engine/gate/anthropic*.c engine/gate/bedrock_error.c engine/gate/chat*.c
 * engine/gate/converse*.c engine/gate/cost.c engine/gate/count.c
 * engine/gate/crc32.c engine/gate/dialect.c engine/gate/eventstream.c
 * engine/gate/inspection.c engine/gate/invoke*.c
 * engine/gate/lax.c engine/gate/neutral*.c engine/gate/reply*.c
 * engine/gate/request_translate.c engine/gate/responses*.c
 * engine/gate/routed.c engine/gate/seen.c engine/gate/sse*.c */
