/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_responses_request.c - any body is read or refused with a reason; what
 * is rewritten or translated is a request again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/neutral_tools.h"
#include "engine/gate/responses.h"
#include "engine/proto/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect_target target = {
	.route = ROUTE_RESPONSES,
	.model = {(const uint8_t *)"up", 2},
	.stream = true,
};

static void check_attrs(const struct buf *b)
{
	struct reader r;
	struct attr a;

	reader_init(&r, buf_span(b));
	while (attrs_next(&r, &a))
		;
	assert(r.status == ERR_OK);
}

static enum err inspect(struct span body, bool *ret_amend)
{
	static struct seen seen;
	struct request_facts f;
	enum err e;

	memset(&seen, 0, sizeof(seen));
	f = (struct request_facts){.stream = false};
	buf_init(&f.features, FEATURES_MAX_BYTES);
	buf_init(&f.tools, TOOLS_MAX_BYTES);
	buf_init(&f.results, RESULTS_MAX_BYTES);
	e = responses_inspect(ROUTE_RESPONSES, body, &seen, &f);
	if (e == ERR_OK)
		assert(f.model[0] != '\0');
	else
		assert(f.error_text[0] != '\0');
	check_attrs(&f.features);
	check_attrs(&f.tools);
	check_attrs(&f.results);
	buf_fini(&f.features);
	buf_fini(&f.tools);
	buf_fini(&f.results);
	*ret_amend = f.amend;
	return e;
}

static enum err translate(struct span body, struct buf *out)
{
	struct neutral_request r;
	enum err e;

	neutral_request_init(&r);
	e = responses_read_request(ROUTE_RESPONSES, body, &r);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = responses_write_request(&r, &target, out);
	if (e != ERR_OK && e != ERR_LIMIT)
		assert(r.error_text[0] != '\0');
	neutral_request_fini(&r);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);
	struct buf out, again;
	bool amend;
	enum err e;

	buf_init(&out, 16 * size + 65536);
	buf_init(&again, 64 * size + 65536);
	e = inspect(body, &amend);
	if (e == ERR_OK) {
		assert(responses_rewrite(body, &target, &out) == ERR_OK);
		assert(inspect(buf_span(&out), &amend) == ERR_OK && !amend);
		buf_reset(&out);
	}
	if (translate(body, &out) == ERR_OK) {
		assert(inspect(buf_span(&out), &amend) == ERR_OK && !amend);
		assert(translate(buf_span(&out), &again) == ERR_OK);
	}
	buf_fini(&out);
	buf_fini(&again);
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
