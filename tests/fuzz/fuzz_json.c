/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_json.c - the tokenizer never reads outside, and its spans agree
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/json.h"
#include "engine/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const struct json *j, json_ref at)
{
	struct span raw = json_raw(j, at);
	struct buf out;
	struct json again;
	uint64_t u;
	int64_t i;

	assert(raw.data >= j->text.data);
	assert(raw.data + raw.len_bytes <= j->text.data + j->text.len_bytes);
	buf_init(&out, j->text.len_bytes + 1);
	if (json_is(j, at, JSON_STRING)) {
		assert(json_string(j, at, &out) == ERR_OK);
		assert(text_is_utf8(buf_span(&out)));
	}
	buf_reset(&out);
	if (json_key(j, at, &out) == ERR_OK)
		assert(text_is_utf8(buf_span(&out)));
	buf_fini(&out);
	if (json_is(j, at, JSON_NUMBER)) {
		(void)!json_uint(j, at, 0, UINT64_MAX, &u);
		(void)!json_int(j, at, INT64_MIN, INT64_MAX, &i);
	}
	/* A value's own bytes are a document with the same number of values. */
	json_init(&again);
	assert(json_parse(&again, raw, NULL) == ERR_OK);
	assert(again.len_tokens == j->tokens[at].next - at);
	json_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json j;
	uint32_t i, children = 0;

	json_init(&j);
	if (json_parse(&j, span_of(data, size), NULL) == ERR_OK) {
		assert(text_is_utf8(span_of(data, size)));
		for (i = 0; i < j.len_tokens && i < 64; i++)
			check_value(&j, i);
		for (i = 0; i < j.len_tokens; i++)
			JSON_EACH (&j, item, i)
				children++;
		assert(children + 1 == j.len_tokens);
	} else {
		assert(j.error_text && j.error_at_bytes <= size);
	}
	json_fini(&j);
	return 0;
}

/* sources: engine/base/json.c engine/base/json_text.c engine/base/buf.c
 * engine/base/text.c */
