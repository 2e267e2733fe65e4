/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gateway_frames.c - what other gateways got wrong in AWS's event streams
 *
 * The second half of test_gateway_bugs.c: defects that are plain in sources.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gate/eventstream.h"
#include "tests/lib/bedrock_frames.h"
#include "tests/lib/gateway_case.h"

static void throws(const struct dialect_ops *wire,
		   const struct dialect_ops *client, enum case_way way)
{
	struct case_run c = {.name = "an exception",
			     .wire = wire,
			     .client = client,
			     .way = way};
	struct buf bytes;

	if (!case_has_frames(wire))
		return;
	case_load(wire, "no_stop", &bytes);
	bedrock_test_exception(&bytes, "throttlingException",
			       "{\"message\":\"slow down\"}");
	reply_run(case_reply(wire, client, way), buf_span(&bytes), 1, 0,
		  &c.run);
	case_say(client, buf_span(&c.run.all), c.said);
	case_fails(&c, "slow down");
	assert_non_null(
		strstr(c.run.upstream_error, "throttlingException: slow down"));
	reply_run_fini(&c.run);
	buf_fini(&bytes);
}

static void exception_frames_skipped(void **state)
{
	(void)state;
	case_every_pair(throws);
}

static void corrupts(const struct dialect_ops *wire,
		     const struct dialect_ops *client, enum case_way way)
{
	static const uint8_t huge[] = {0x7f, 0xff, 0xff, 0xff, 0, 0,
				       0,    1,    0,    0,    0, 0};
	struct buf bytes, out;
	struct reply *r;
	uint32_t frame;

	if (!case_has_frames(wire))
		return;
	case_load(wire, "calls", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	frame = (uint32_t)bytes.data[2] << 8 | bytes.data[3];
	bytes.data[frame / 2] ^= 1;
	/* Found at the frame's last byte, with nothing else to come. */
	r = case_reply(wire, client, way);
	assert_int_equal(case_feed(r, span_of(bytes.data, frame), &out),
			 ERR_FORMAT);
	assert_non_null(r->error_text);
	assert_int_equal(out.len_bytes, 0);
	reply_free(r);
	/* A length that no frame has is not waited for. */
	r = case_reply(wire, client, way);
	assert_int_equal(case_feed(r, span_of(huge, sizeof(huge)), &out),
			 ERR_FORMAT);
	assert_true(r->held_bytes < 65536);
	reply_free(r);
	buf_fini(&bytes);
	buf_fini(&out);
}

static void bad_checksums_waited_on(void **state)
{
	(void)state;
	case_every_pair(corrupts);
}

static void leaves_bytes(const struct dialect_ops *wire,
			 const struct dialect_ops *client, enum case_way way)
{
	static const uint8_t zeros[EVENTSTREAM_OVERHEAD_BYTES] = {0};
	struct buf bytes;
	size_t n;

	if (!case_has_frames(wire))
		return;
	for (n = 1; n < sizeof(zeros); n++) {
		struct case_run c = {.name = "bytes left over",
				     .wire = wire,
				     .client = client,
				     .way = way};

		case_load(wire, "calls", &bytes);
		assert_int_equal(buf_put(&bytes, zeros, n), ERR_OK);
		reply_run(case_reply(wire, client, way), buf_span(&bytes), 1, 0,
			  &c.run);
		case_say(client, buf_span(&c.run.all), c.said);
		case_fails(&c, "");
		reply_run_fini(&c.run);
		buf_fini(&bytes);
	}
}

static void lengths_read_from_too_few_bytes(void **state)
{
	(void)state;
	case_every_pair(leaves_bytes);
}

static void starts_blocks(const struct case_run *c, const void *context)
{
	case_says(c, context);
	if (c->wire->id != DIALECT_CONVERSE ||
	    c->client->id != DIALECT_ANTHROPIC)
		return;
	assert_int_equal(buf_count(&c->run.all, "event: content_block_start\n"),
			 3);
	assert_int_equal(buf_count(&c->run.all, "event: content_block_stop\n"),
			 3);
}

static void texts_without_a_block_start(void **state)
{
	(void)state;
	case_each("calls", starts_blocks, CASE_CALLS);
}

static void waits_for_usage(const struct dialect_ops *wire,
			    const struct dialect_ops *client, enum case_way way)
{
	static const char *const ends[] = {"message_delta",
					   "finish_reason\":\"",
					   "response.completed", "messageStop"};
	struct buf bytes, out;
	const uint8_t *at;
	struct reply *r;
	size_t i, len;

	if (wire->id != DIALECT_CONVERSE)
		return;
	case_load(wire, "calls", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	at = memmem(bytes.data, bytes.len_bytes, "metadata", 8);
	assert_non_null(at);
	len = (size_t)(at - bytes.data) - 30;
	r = case_reply(wire, client, way);
	assert_int_equal(case_feed(r, span_of(bytes.data, len), &out), ERR_OK);
	assert_int_equal(r->state, REPLY_OPEN);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		assert_false(buf_contains(&out, ends[i]));
	assert_int_equal(
		case_feed(r, span_of(bytes.data + len, bytes.len_bytes - len),
			  &out),
		ERR_OK);
	assert_int_equal(reply_end(r, &out), ERR_OK);
	assert_int_equal(r->summary.input_tokens, 30);
	assert_int_equal(r->summary.output_tokens, 12);
	reply_free(r);
	buf_fini(&bytes);
	buf_fini(&out);
}

static void usage_that_comes_behind_the_stop(void **state)
{
	(void)state;
	case_every_pair(waits_for_usage);
}

/* Not whole for certain, so no success; but what is there is not lost. */
static void ends_cut_short(const struct case_run *c, const void *context)
{
	const char *stop =
		c->way == CASE_TRANSLATED ? "stop=max_tokens" : "stop=other";

	(void)context;
	assert_int_equal(c->run.state, REPLY_DONE);
	if (strncmp(c->said, "text{Hel} ", 10) != 0 || !strstr(c->said, stop))
		fail_msg("dialect %d to %d, way %d: %s", (int)c->wire->id,
			 (int)c->client->id, (int)c->way, c->said);
	if (c->way == CASE_PASSED)
		assert_true(span_equal(buf_span(&c->run.all), c->bytes));
}

static void stops_that_are_no_end_of_turn(void **state)
{
	(void)state;
	case_each("guardrail", case_says, "text{Hel} stop=refusal usage=21/12");
	case_each("unknown_stop", ends_cut_short, NULL);
	case_each("malformed_output", case_fails_in_translation, "malformed");
}

/* --- errors that come once a stream has begun ------------------------------
 */

static bool has_content(const char *said)
{
	const char *at;

	for (at = strchr(said, '{'); at; at = strchr(at + 1, '{'))
		if (at[1] != '\0' && at[1] != '}' &&
		    strcmp(at + 1, " broken") != 0)
			return true;
	return false;
}

/* Nothing that was said goes unnoticed, however it comes. */
static void says_when_it_says(const struct dialect_ops *wire,
			      const struct dialect_ops *client,
			      enum case_way way)
{
	static const char *const names[] = {"calls", "thinking"};
	char said[CASE_SAID_MAX];
	struct buf bytes, out;
	struct reply *r;
	size_t n, i;

	for (n = 0; n < ARRAY_SIZE(names); n++) {
		if (!case_exists(wire, names[n]))
			continue;
		case_load(wire, names[n], &bytes);
		buf_init(&out, CASE_MAX_BYTES);
		r = case_reply(wire, client, way);
		assert_false(r->said);
		for (i = 0; i < bytes.len_bytes; i++) {
			size_t before = out.len_bytes;

			if (case_feed(r, span_of(bytes.data + i, 1), &out) !=
			    ERR_OK)
				break;
			if (r->said || out.len_bytes == before)
				continue;
			case_say(client, buf_span(&out), said);
			if (has_content(said))
				fail_msg(
					"%s, %d to %d, way %d: not noticed: %s",
					names[n], (int)wire->id,
					(int)client->id, (int)way, said);
		}
		if (!r->said)
			fail_msg("%s, %d to %d, way %d: said nothing", names[n],
				 (int)wire->id, (int)client->id, (int)way);
		reply_free(r);
		buf_fini(&bytes);
		buf_fini(&out);
	}
}

static void fails_at_start(const struct dialect_ops *wire,
			   const struct dialect_ops *client, enum case_way way)
{
	struct reply *r = case_reply(wire, client, way);
	struct buf bytes, out;

	case_load(wire, "error_at_start", &bytes);
	buf_init(&out, CASE_MAX_BYTES);
	assert_int_equal(case_feed(r, buf_span(&bytes), &out), ERR_OK);
	assert_int_equal(r->state, REPLY_FAILED);
	assert_false(r->said);
	if (r->error_status != 429)
		fail_msg("%d to %d, way %d: %u", (int)wire->id, (int)client->id,
			 (int)way, r->error_status);
	reply_free(r);
	buf_fini(&bytes);
	buf_fini(&out);
}

static void an_error_behind_an_empty_start(void **state)
{
	(void)state;
	case_every_pair(says_when_it_says);
	case_every_pair(fails_at_start);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exception_frames_skipped),
		cmocka_unit_test(bad_checksums_waited_on),
		cmocka_unit_test(lengths_read_from_too_few_bytes),
		cmocka_unit_test(texts_without_a_block_start),
		cmocka_unit_test(usage_that_comes_behind_the_stop),
		cmocka_unit_test(stops_that_are_no_end_of_turn),
		cmocka_unit_test(an_error_behind_an_empty_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
