/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_neutral_anthropic.c - a request that was translated reads as the same
 * request, and is the same when it is written again
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/gate/anthropic_neutral.h"
#include "engine/gate/neutral_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err again(struct span body, const char *model, bool *ret_changed,
		      struct buf *out)
{
	const struct dialect_target t = {.model = span_text(model)};
	struct neutral_request r;
	enum err e;

	neutral_request_init(&r);
	e = anthropic_read_request(ROUTE_MESSAGES, body, &r);
	if (e == ERR_OK)
		e = neutral_settle_names(&r);
	if (e == ERR_OK)
		e = anthropic_write_request(&r, &t, out);
	assert(e == ERR_OK || e == ERR_LIMIT || e == ERR_MEMORY ||
	       r.error_text[0]);
	*ret_changed = r.dropped_count || r.names;
	neutral_request_fini(&r);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const models[] = {"claude-sonnet-4-5", "claude-x",
					     "local"};
	const char *model = models[size % ARRAY_SIZE(models)];
	struct buf first, second;
	bool changed;

	buf_init(&first, 64 * size + 65536);
	buf_init(&second, 64 * size + 65536);
	if (again(span_of(data, size), model, &changed, &first) == ERR_OK) {
		assert(again(buf_span(&first), model, &changed, &second) ==
		       ERR_OK);
		assert(!changed);
		assert(span_equal(buf_span(&first), buf_span(&second)));
	}
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}

/* sources: engine/gate/anthropic_content.c engine/gate/anthropic_request.c
 * engine/gate/anthropic_tools.c engine/gate/anthropic_wire.c
 * engine/gate/neutral.c engine/gate/neutral_names.c
 * engine/gate/neutral_tools.c engine/base/json.c engine/base/json_text.c
 * engine/base/jsonw.c engine/base/buf.c engine/base/text.c
 * engine/gate/anthropic_plan.c */
