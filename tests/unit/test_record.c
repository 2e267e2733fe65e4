/* SPDX-License-Identifier: Apache-2.0 */
/* test_record.c - the bytes of events: written, read back, every rejection */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/audit/record.h"
#include "engine/base/text.h"

#define ZEROS                             \
	"0000000000000000000000000000000" \
	"000000000000000000000000000000000"
#define HEAD                                                            \
	"{\"v\":1,\"seq\":7,\"id\":\"01ARYZ6S410000000000000000\","     \
	"\"time\":\"2016-07-30T22:36:16.385001Z\",\"session\":\"s1\","  \
	"\"actor\":\"core\",\"kind\":\"egress.open\",\"prev\":\"" ZEROS \
	"\",\"policy\":\"\","
#define FORM "{\"bytes\":3,\"hmac\":\"" ZEROS "\"}"
#define PAYLOAD                                                         \
	"{\"name\":\"request\",\"cipher\":\"" ZEROS "\",\"sent\":" FORM \
	",\"stored\":" FORM "}"

static struct record plain(void)
{
	return (struct record){.seq = 7,
			       .wall_us = 1469918176385001,
			       .kind = KIND_EGRESS_OPEN,
			       .session = span_text("s1"),
			       .actor = span_text("core")};
}

static void assert_written(const struct record *r, const char *expected)
{
	struct record_view view;
	const char *text = NULL, *fault = NULL;
	struct buf out, again;

	buf_init(&out, RECORD_MAX_BYTES + 1);
	buf_init(&again, RECORD_MAX_BYTES);
	assert_int_equal(record_write(r, &out), ERR_OK);
	if (expected) {
		assert_int_equal(buf_terminate(&out, &text), ERR_OK);
		assert_string_equal(text, expected);
	}
	assert_int_equal(record_read(buf_span(&out), &view, &fault), ERR_OK);
	assert_true(view.seq == r->seq);
	assert_true(view.wall_us == r->wall_us);
	assert_int_equal(record_rewrite(&view, &again), ERR_OK);
	assert_true(span_equal(buf_span(&out), buf_span(&again)));
	buf_fini(&out);
	buf_fini(&again);
}

static enum err written(const struct record *r)
{
	struct buf out;
	enum err e;

	buf_init(&out, RECORD_MAX_BYTES);
	e = record_write(r, &out);
	buf_fini(&out);
	return e;
}

static void the_writer_has_one_spelling(void **state)
{
	struct record_payload payload = {.name = span_text("request"),
					 .sent_bytes = 3,
					 .stored_bytes = 3};
	struct span items[] = {span_text("a"), span_text("\"")};
	struct record r = plain();
	struct buf attrs;

	(void)state;
	assert_written(&r, HEAD "\"attrs\":{},\"payload\":[]}");
	buf_init(&attrs, 4096);
	assert_int_equal(attrs_put_text(&attrs, "kenaz.host",
					span_text("a\n\x01\x1f\xc3\xa9\\")),
			 ERR_OK);
	assert_int_equal(attrs_put_u64(&attrs, "n", CANON_INT_MAX), ERR_OK);
	assert_int_equal(attrs_put_u64(&attrs, "big", UINT64_MAX), ERR_OK);
	assert_int_equal(attrs_put_i64(&attrs, "neg", -CANON_INT_MAX), ERR_OK);
	assert_int_equal(attrs_put_i64(&attrs, "min", INT64_MIN), ERR_OK);
	assert_int_equal(attrs_put_bool(&attrs, "yes", true), ERR_OK);
	assert_int_equal(attrs_put_bool(&attrs, "no", false), ERR_OK);
	assert_int_equal(attrs_put_list(&attrs, "list", items, 2), ERR_OK);
	assert_int_equal(attrs_put_list(&attrs, "none", NULL, 0), ERR_OK);
	r.attrs = buf_span(&attrs);
	r.payloads = &payload;
	r.payload_count = 1;
	assert_written(&r, HEAD "\"attrs\":{\"kenaz.host\":\"a\\n\\u0001\\u001f"
				"\xc3\xa9\\\\\",\"n\":9007199254740991,"
				"\"big\":\"18446744073709551615\","
				"\"neg\":-9007199254740991,"
				"\"min\":\"-9223372036854775808\","
				"\"yes\":true,\"no\":false,"
				"\"list\":[\"a\",\"\\\"\"],\"none\":[]},"
				"\"payload\":[" PAYLOAD "]}");
	buf_fini(&attrs);
}

static void random_records_come_back_the_same(void **state)
{
	static const char *const keys[] = {"a", "B.c", "gen_ai.request.model",
					   "k-1", "z9"};
	struct record r = plain();
	unsigned int round, i, k;
	uint8_t bytes[64];
	struct buf attrs;

	(void)state;
	buf_init(&attrs, RECORD_CALLER_MAX_BYTES);
	for (round = 0; round < 2000; round++) {
		buf_reset(&attrs);
		for (i = 0; i < ARRAY_SIZE(keys); i++) {
			for (k = 0; k < sizeof(bytes); k++)
				bytes[k] = (uint8_t)(rand() % 0x80);
			assert_int_equal(attrs_put_text(&attrs, keys[i],
							span_of(bytes,
								(size_t)rand() %
									64)),
					 ERR_OK);
		}
		assert_int_equal(attrs_put_i64(&attrs, "i",
					       (int64_t)rand() * rand()),
				 ERR_OK);
		r.attrs = buf_span(&attrs);
		r.seq = (uint64_t)rand();
		r.wall_us = (int64_t)rand() * 1000000 + rand() % 1000000;
		r.kind = (enum kind)((unsigned int)rand() % KIND_COUNT);
		for (k = 0; k < sizeof(r.random); k++)
			r.random[k] = (uint8_t)rand();
		for (k = 0; k < sizeof(r.prev); k++)
			r.prev[k] = (uint8_t)rand();
		assert_written(&r, NULL);
	}
	buf_fini(&attrs);
}

static void the_writer_refuses_what_it_must(void **state)
{
	struct record_payload payloads[RECORD_PAYLOADS_MAX + 1];
	struct record r;
	struct buf attrs;
	char key[8] = "k00";
	static char big[RECORD_CALLER_MAX_BYTES];
	size_t i;

	(void)state;
	buf_init(&attrs, 2 * RECORD_CALLER_MAX_BYTES);
	memset(big, 1, sizeof(big));
	r = plain();
	r.kind = KIND_COUNT;
	assert_int_equal(written(&r), ERR_RANGE);
	r = plain();
	r.seq = (uint64_t)CANON_INT_MAX + 1;
	assert_int_equal(written(&r), ERR_RANGE);
	r = plain();
	r.wall_us = -1;
	assert_int_equal(written(&r), ERR_RANGE);
	r = plain();
	r.session = span_of(big, RECORD_SESSION_MAX_BYTES + 1);
	assert_int_equal(written(&r), ERR_LIMIT);
	r = plain();
	r.actor = span_of(big, RECORD_ACTOR_MAX_BYTES + 1);
	assert_int_equal(written(&r), ERR_LIMIT);
	r = plain();
	r.policy = span_of(big, RECORD_POLICY_MAX_BYTES + 1);
	assert_int_equal(written(&r), ERR_LIMIT);
	r = plain();
	r.actor = span_of("\xff", 1);
	assert_int_equal(written(&r), ERR_FORMAT);
	r = plain();
	r.payload_count = RECORD_PAYLOADS_MAX + 1;
	r.payloads = payloads;
	assert_int_equal(written(&r), ERR_LIMIT);
	r = plain();
	payloads[0] = (struct record_payload){.name = span_text("No")};
	r.payload_count = 1;
	r.payloads = payloads;
	assert_int_equal(written(&r), ERR_FORMAT);

	/* Callers' fields in all. */
	assert_int_equal(attrs_put_text(&attrs, "k",
					span_of(big, sizeof(big) - 1)),
			 ERR_OK);
	r = plain();
	r.attrs = buf_span(&attrs);
	assert_int_equal(written(&r), ERR_LIMIT);
	/* Within callers' limit, but too long once spelled out. */
	buf_reset(&attrs);
	assert_int_equal(attrs_put_text(&attrs, "k", span_of(big, 12000)),
			 ERR_OK);
	r.attrs = buf_span(&attrs);
	assert_int_equal(written(&r), ERR_LIMIT);
	/* A key twice, a bad key, too many keys, a broken list. */
	buf_reset(&attrs);
	assert_int_equal(attrs_put_bool(&attrs, "k", true), ERR_OK);
	assert_int_equal(attrs_put_bool(&attrs, "k", true), ERR_OK);
	r.attrs = buf_span(&attrs);
	assert_int_equal(written(&r), ERR_EXISTS);
	buf_reset(&attrs);
	assert_int_equal(attrs_put_bool(&attrs, "a b", true), ERR_OK);
	r.attrs = buf_span(&attrs);
	assert_int_equal(written(&r), ERR_FORMAT);
	buf_reset(&attrs);
	for (i = 0; i <= RECORD_ATTRS_MAX; i++) {
		key[1] = (char)('0' + i / 10);
		key[2] = (char)('0' + i % 10);
		assert_int_equal(attrs_put_bool(&attrs, key, true), ERR_OK);
	}
	r.attrs = buf_span(&attrs);
	assert_int_equal(written(&r), ERR_LIMIT);
	r.attrs = span_of("\x01\xff", 2);
	assert_int_not_equal(written(&r), ERR_OK);
	buf_fini(&attrs);
}

static enum err read_text(const char *text)
{
	struct record_view view;
	const char *fault = NULL;
	enum err e = record_read(span_text(text), &view, &fault);

	assert_true(e == ERR_OK || fault);
	return e;
}

static void the_reader_accepts_only_the_writers_spelling(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		" " HEAD "\"attrs\":{},\"payload\":[]}",
		HEAD "\"attrs\":{},\"payload\":[]}\n",
		HEAD "\"attrs\":{},\"payload\":[]",
		HEAD "\"attrs\": {},\"payload\":[]}",
		HEAD "\"payload\":[],\"attrs\":{}}",
		HEAD "\"attrs\":{},\"payload\":[],\"x\":1}",
		HEAD "\"attrs\":{\"a\":1,\"a\":1},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":1,},\"payload\":[]}",
		HEAD "\"attrs\":{,\"a\":1},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":01},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":-0},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":1.0},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":1e3},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":9007199254740992},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":null},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":{}},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":[1]},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":[\"x\",]},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":True},\"payload\":[]}",
		HEAD "\"attrs\":{\"\":1},\"payload\":[]}",
		HEAD "\"attrs\":{\"a b\":1},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\\/\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\\u0041\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\\u000a\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\\u001F\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\\u\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\x01\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\xc0\x80\"},\"payload\":[]}",
		HEAD "\"attrs\":{\"a\":\"\xed\xa0\x80\"},\"payload\":[]}",
		HEAD "\"attrs\":{},\"payload\":[" PAYLOAD ",]}",
		HEAD "\"attrs\":{},\"payload\":[{\"name\":\"request\"}]}",
	};
	/* One change each to an event that is right. */
	static const struct {
		const char *from, *to;
	} edits[] = {
		{"\"v\":1", "\"v\":2"},
		{"\"seq\":7", "\"seq\":07"},
		{"\"seq\":7", "\"seq\":-7"},
		{"\"seq\":7", "\"seq\":\"7\""},
		{"01ARYZ", "01aryz"},
		{"01ARYZ6S41", "01ARYZ6S42"}, /* not the event's time */
		{"07-30T", "02-30T"},
		{"egress.open", "egress open"},
		{"egress.open", ""},
		{"\"session\"", "\"actor\""},
		{"\"prev\":\"00", "\"prev\":\"0"},
		{"\"prev\":\"00", "\"prev\":\"0G"},
		{"\"prev\":\"00", "\"prev\":\"0A"},
	};
	const char *good =
		HEAD "\"attrs\":{\"a\":[\"x\"]},\"payload\":[" PAYLOAD "]}";
	char text[1024];
	size_t i, at;

	(void)state;
	assert_int_equal(read_text(good), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(read_text(bad[i]), ERR_FORMAT);
	for (i = 0; i < ARRAY_SIZE(edits); i++) {
		const char *hit = strstr(good, edits[i].from);

		assert_non_null(hit);
		at = (size_t)(hit - good);
		memcpy(text, good, at);
		(void)snprintf(text + at, sizeof(text) - at, "%s%s",
			       edits[i].to, hit + strlen(edits[i].from));
		assert_int_equal(read_text(text), ERR_FORMAT);
	}
	/* Cut anywhere. */
	for (i = 0; i < strlen(good); i++) {
		struct record_view view;
		const char *fault = NULL;

		assert_int_equal(record_read(span_of(good, i), &view, &fault),
				 ERR_FORMAT);
	}
}

static void long_events_are_refused(void **state)
{
	static char big[RECORD_MAX_BYTES + 1];
	struct record_view view;
	const char *fault = NULL;

	(void)state;
	assert_int_equal(record_read(span_of(big, sizeof(big)), &view, &fault),
			 ERR_LIMIT);
}

static void attributes_can_be_walked(void **state)
{
	static const char event[] =
		HEAD "\"attrs\":{\"t\":\"x\\n\",\"n\":-5,\"l\":[\"a\",\"b\"],"
		     "\"f\":false},\"payload\":[]}";
	struct record_value v;
	struct record_view view;
	const char *fault = NULL;
	struct span item;
	struct canon c;
	struct buf out;

	(void)state;
	assert_int_equal(record_read(span_text(event), &view, &fault), ERR_OK);
	assert_true(record_attr_find(&view, "t", &v));
	assert_int_equal(v.type, ATTR_TEXT);
	buf_init(&out, 100);
	assert_int_equal(canon_unescape(v.text, &out), ERR_OK);
	assert_true(span_is(buf_span(&out), "x\n"));
	buf_fini(&out);
	assert_true(record_attr_find(&view, "n", &v));
	assert_int_equal(v.i64, -5);
	assert_true(record_attr_find(&view, "f", &v));
	assert_false(v.flag);
	assert_true(record_attr_find(&view, "l", &v));
	canon_init(&c, v.text);
	assert_true(record_list_next(&c, &item));
	assert_true(span_is(item, "a"));
	assert_true(record_list_next(&c, &item));
	assert_true(span_is(item, "b"));
	assert_false(record_list_next(&c, &item));
	assert_false(record_attr_find(&view, "zz", &v));
}

static void the_leaf_is_rfc6962s(void **state)
{
	uint8_t leaf[DIGEST_BYTES], expected[DIGEST_BYTES];

	(void)state;
	record_leaf(span_text("abc"), leaf);
	digest_sha256(span_of("\0abc", 4), expected);
	assert_memory_equal(leaf, expected, DIGEST_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_writer_has_one_spelling),
		cmocka_unit_test(random_records_come_back_the_same),
		cmocka_unit_test(the_writer_refuses_what_it_must),
		cmocka_unit_test(the_reader_accepts_only_the_writers_spelling),
		cmocka_unit_test(long_events_are_refused),
		cmocka_unit_test(attributes_can_be_walked),
		cmocka_unit_test(the_leaf_is_rfc6962s),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
