/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_hostile.c - HTTP/2 from clients that break or bend its rules
 *
 * Raw frames into the real http*.c. After each of them another connection
 * must be served as if nothing had been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/http_rig.h"

#define END_STREAM  NGHTTP2_FLAG_END_STREAM
#define END_HEADERS NGHTTP2_FLAG_END_HEADERS
#define ANY_ERROR   (HTTP_RIG_NO_GOAWAY - 1)
/* What an idle connection may cost, the library's tables included. */
#define IDLE_MAX_BYTES (40u * 1024)

static struct http_rig rig;

static int start(void **state)
{
	(void)state;
	http_rig_start(&rig);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	http_rig_stop(&rig);
	return 0;
}

static void serves_another(void)
{
	struct h2_client c;
	struct h2_reply *r;

	rig.mode = RIG_ANSWER;
	http_rig_client(&rig, &c, false);
	r = h2_client_ask(&c, "GET", "/", NULL, span_of(NULL, 0), false);
	h2_client_finish(&c, r);
	assert_int_equal(r->status, 200);
	h2_client_fini(&c);
	http_rig_turn(&rig);
	http_rig_turn(&rig);
}

static void put_headers(struct buf *b, uint32_t stream, unsigned flags,
			const struct buf *block)
{
	h2_put_frame(b, NGHTTP2_HEADERS, flags, stream, buf_span(block));
}

/* Sends @b; the connection must end and say @error. */
static void expect_end(const struct buf *b, uint32_t error, const char *what)
{
	int fd = http_rig_raw(&rig);
	uint32_t got;

	http_rig_pour(&rig, fd, buf_span(b));
	got = http_rig_goaway(&rig, fd);
	if (got != error && (error != ANY_ERROR || got == NGHTTP2_NO_ERROR ||
			     got == HTTP_RIG_NO_GOAWAY))
		fail_msg("%s: error %u instead of %u", what, got, error);
	close(fd);
	serves_another();
}

/* --- malformed requests -----------------------------------------------------
 */

struct pair {
	const char *name, *value;
};

#define METHOD                    \
	{                         \
		":method", "POST" \
	}
#define SCHEME                    \
	{                         \
		":scheme", "http" \
	}
#define AUTHORITY                     \
	{                             \
		":authority", "kenaz" \
	}
#define PATH                            \
	{                               \
		":path", "/v1/messages" \
	}

static const struct {
	const char *what;
	struct pair pairs[8];
} malformed[] = {
	{"no method", {SCHEME, AUTHORITY, PATH}},
	{"no scheme", {METHOD, AUTHORITY, PATH}},
	{"no path", {METHOD, SCHEME, AUTHORITY}},
	{"no authority, no host", {METHOD, SCHEME, PATH}},
	{"an empty path", {METHOD, SCHEME, AUTHORITY, {":path", ""}}},
	{"a path that is none", {METHOD, SCHEME, AUTHORITY, {":path", "v1"}}},
	{"an empty method", {{":method", ""}, SCHEME, AUTHORITY, PATH}},
	{"two methods", {METHOD, METHOD, SCHEME, AUTHORITY, PATH}},
	{"two paths", {METHOD, SCHEME, AUTHORITY, PATH, PATH}},
	{"a pseudo-header last",
	 {METHOD, SCHEME, AUTHORITY, {"x-a", "b"}, PATH}},
	{"an unknown pseudo-header",
	 {METHOD, SCHEME, AUTHORITY, PATH, {":version", "2"}}},
	{"a response's", {METHOD, SCHEME, AUTHORITY, PATH, {":status", "200"}}},
	{"another protocol",
	 {{":method", "CONNECT"},
	  SCHEME,
	  AUTHORITY,
	  PATH,
	  {":protocol", "websocket"}}},
	{"CONNECT with a path", {{":method", "CONNECT"}, AUTHORITY, PATH}},
	{"upper case", {METHOD, SCHEME, AUTHORITY, PATH, {"X-A", "b"}}},
	{"connection",
	 {METHOD, SCHEME, AUTHORITY, PATH, {"connection", "close"}}},
	{"keep-alive", {METHOD, SCHEME, AUTHORITY, PATH, {"keep-alive", "1"}}},
	{"proxy-connection",
	 {METHOD, SCHEME, AUTHORITY, PATH, {"proxy-connection", "close"}}},
	{"upgrade", {METHOD, SCHEME, AUTHORITY, PATH, {"upgrade", "h2c"}}},
	{"transfer-encoding",
	 {METHOD, SCHEME, AUTHORITY, PATH, {"transfer-encoding", "chunked"}}},
	{"te", {METHOD, SCHEME, AUTHORITY, PATH, {"te", "gzip"}}},
	{"a length that is none",
	 {METHOD, SCHEME, AUTHORITY, PATH, {"content-length", "-1"}}},
	{"two lengths",
	 {METHOD,
	  SCHEME,
	  AUTHORITY,
	  PATH,
	  {"content-length", "2"},
	  {"content-length", "2"}}},
	{"a length that is not kept",
	 {METHOD, SCHEME, AUTHORITY, PATH, {"content-length", "3"}}},
};

static void put_block(struct buf *block, const struct pair *pairs)
{
	buf_reset(block);
	for (; pairs->name; pairs++)
		h2_put_header(block, pairs->name, pairs->value);
}

/* Whether RST_STREAM of a stream with this error is among the frames. */
static bool is_reset(const struct buf *in, uint32_t stream, uint8_t error)
{
	const uint8_t frame[13] = {0, 0, 4,    NGHTTP2_RST_STREAM, 0,
				   0, 0, 0,    (uint8_t)stream,    0,
				   0, 0, error};

	return in->len_bytes &&
	       memmem(in->data, in->len_bytes, frame, sizeof(frame));
}

static void read_some(int fd, struct buf *in)
{
	uint8_t chunk[65536];
	unsigned i;

	for (i = 0; i < 4; i++) {
		ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);

		http_rig_turn(&rig);
		if (n > 0)
			assert_int_equal(buf_put(in, chunk, (size_t)n), ERR_OK);
	}
}

static void malformed_requests_are_reset_unseen(void **state)
{
	int fd = http_rig_raw(&rig);
	struct buf block, b, in;
	uint32_t stream = 1;
	size_t i;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 65536);
	buf_init(&in, 1u << 20);
	for (i = 0; i < ARRAY_SIZE(malformed); i++, stream += 2) {
		put_block(&block, malformed[i].pairs);
		buf_reset(&b);
		put_headers(&b, stream, END_HEADERS, &block);
		h2_put_frame(&b, NGHTTP2_DATA, END_STREAM, stream,
			     span_text("{}"));
		http_rig_pour(&rig, fd, buf_span(&b));
		read_some(fd, &in);
		if (!is_reset(&in, stream, NGHTTP2_PROTOCOL_ERROR))
			fail_msg("%s: not reset", malformed[i].what);
		if (rig.given)
			fail_msg("%s: seen", malformed[i].what);
	}
	/* The connection itself lives. */
	buf_reset(&block);
	buf_reset(&b);
	h2_put_request(&block, "GET", "/");
	put_headers(&b, stream, END_STREAM | END_HEADERS, &block);
	http_rig_pour(&rig, fd, buf_span(&b));
	assert_int_equal(rig.given, 1);
	close(fd);
	buf_fini(&block);
	buf_fini(&b);
	buf_fini(&in);
	serves_another();
}

/* Those are let through by the library, and left out: refused here. */
static void malformed_headers_are_refused(void **state)
{
	static const struct pair bad[] = {{"x a", "b"},
					  {"x-a", "b\r\nc: d"},
					  {"x-\xc3\xa9", "b"},
					  {"x-a", "b\x7f"},
					  {"(", "b"}};
	int fd = http_rig_raw(&rig);
	struct buf block, b;
	uint32_t stream = 1;
	size_t i;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 65536);
	for (i = 0; i < ARRAY_SIZE(bad); i++, stream += 2) {
		buf_reset(&block);
		buf_reset(&b);
		h2_put_request(&block, "GET", "/");
		h2_put_header(&block, bad[i].name, bad[i].value);
		put_headers(&b, stream, END_STREAM | END_HEADERS, &block);
		http_rig_pour(&rig, fd, buf_span(&b));
		assert_int_equal(rig.given, i + 1);
		if (rig.last_status != 400)
			fail_msg("%zu: status %u", i, rig.last_status);
	}
	/* A scheme that nobody here speaks. */
	buf_reset(&block);
	buf_reset(&b);
	h2_put_header(&block, ":method", "GET");
	h2_put_header(&block, ":scheme", "ftp");
	h2_put_header(&block, ":authority", "kenaz");
	h2_put_header(&block, ":path", "/");
	put_headers(&b, stream, END_STREAM | END_HEADERS, &block);
	http_rig_pour(&rig, fd, buf_span(&b));
	assert_int_equal(rig.last_status, 400);
	close(fd);
	buf_fini(&block);
	buf_fini(&b);
	serves_another();
}

/* --- broken framing ---------------------------------------------------------
 */

static void broken_frames_end_the_connection(void **state)
{
	static const uint8_t update[4] = {0x7f, 0xff, 0xff, 0xff};
	static const uint8_t window[6] = {0, 4, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t frame_size[6] = {0, 5, 0, 0, 0, 1};
	static const uint8_t push[6] = {0, 2, 0, 0, 0, 2};
	static uint8_t zeros[20000];
	const struct {
		const char *what;
		unsigned type, flags;
		uint32_t stream;
		struct span payload;
		uint32_t error;
	} bad[] = {
		{"DATA of no stream", NGHTTP2_DATA, 0, 0, span_text("x"),
		 NGHTTP2_PROTOCOL_ERROR},
		{"DATA of an idle stream", NGHTTP2_DATA, 0, 9, span_text("x"),
		 NGHTTP2_PROTOCOL_ERROR},
		{"HEADERS of no stream", NGHTTP2_HEADERS, END_HEADERS, 0,
		 span_text(""), NGHTTP2_PROTOCOL_ERROR},
		{"HEADERS of a server's stream", NGHTTP2_HEADERS, END_HEADERS,
		 2, span_text(""), NGHTTP2_PROTOCOL_ERROR},
		{"garbage for HPACK", NGHTTP2_HEADERS, END_HEADERS, 1,
		 span_of("\xff\xff\xff\xff\xff\xff\xff\xff", 8),
		 NGHTTP2_COMPRESSION_ERROR},
		{"an index that is not there", NGHTTP2_HEADERS, END_HEADERS, 1,
		 span_of("\xfe", 1), NGHTTP2_COMPRESSION_ERROR},
		{"a table that is too large", NGHTTP2_HEADERS, END_HEADERS, 1,
		 span_of("\x3f\xe1\xff\x03", 4), NGHTTP2_COMPRESSION_ERROR},
		{"too much padding", NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1,
		 span_of("\xff", 1), NGHTTP2_PROTOCOL_ERROR},
		{"PUSH_PROMISE", NGHTTP2_PUSH_PROMISE, END_HEADERS, 1,
		 span_of(zeros, 4), NGHTTP2_PROTOCOL_ERROR},
		{"SETTINGS of no size", NGHTTP2_SETTINGS, 0, 0,
		 span_of(zeros, 5), NGHTTP2_FRAME_SIZE_ERROR},
		{"SETTINGS of a stream", NGHTTP2_SETTINGS, 0, 1,
		 span_of(zeros, 6), NGHTTP2_PROTOCOL_ERROR},
		{"SETTINGS with a window too large", NGHTTP2_SETTINGS, 0, 0,
		 span_of(window, 6), NGHTTP2_FLOW_CONTROL_ERROR},
		{"SETTINGS with a frame too small", NGHTTP2_SETTINGS, 0, 0,
		 span_of(frame_size, 6), NGHTTP2_PROTOCOL_ERROR},
		{"SETTINGS with a push that is no boolean", NGHTTP2_SETTINGS, 0,
		 0, span_of(push, 6), NGHTTP2_PROTOCOL_ERROR},
		{"SETTINGS of very many", NGHTTP2_SETTINGS, 0, 0,
		 span_of(zeros, 6 * 100), ANY_ERROR},
		{"PING of no size", NGHTTP2_PING, 0, 0, span_of(zeros, 7),
		 NGHTTP2_FRAME_SIZE_ERROR},
		{"a window that overflows", NGHTTP2_WINDOW_UPDATE, 0, 0,
		 span_of(update, 4), NGHTTP2_FLOW_CONTROL_ERROR},
		{"a window of nothing", NGHTTP2_WINDOW_UPDATE, 0, 0,
		 span_of(zeros, 4), NGHTTP2_PROTOCOL_ERROR},
		{"RST_STREAM of an idle stream", NGHTTP2_RST_STREAM, 0, 7,
		 span_of(zeros, 4), NGHTTP2_PROTOCOL_ERROR},
		{"CONTINUATION of nothing", NGHTTP2_CONTINUATION, END_HEADERS,
		 1, span_text(""), NGHTTP2_PROTOCOL_ERROR},
		{"a frame too large", NGHTTP2_DATA, 0, 1, span_of(zeros, 20000),
		 NGHTTP2_FRAME_SIZE_ERROR},
	};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 65536);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		buf_reset(&b);
		h2_put_frame(&b, bad[i].type, bad[i].flags, bad[i].stream,
			     bad[i].payload);
		expect_end(&b, bad[i].error, bad[i].what);
	}
	buf_fini(&b);
}

static void a_preface_without_settings_ends_the_connection(void **state)
{
	int fd = http_rig_connect(&rig);

	(void)state;
	http_rig_pour(&rig, fd, span_text(H2_PREFACE "GET / HTTP/1.1\r\n\r\n"));
	assert_int_not_equal(http_rig_goaway(&rig, fd), HTTP_RIG_NO_GOAWAY);
	close(fd);
	serves_another();
}

/*
 * A stream's number never goes back (RFC 9113, section 5.1.1). The library
 * leaves out the request and goes on, because it forgets closed streams.
 */
static void a_stream_from_the_past_is_not_served(void **state)
{
	int fd = http_rig_raw(&rig);
	struct buf block, b;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 65536);
	h2_put_request(&block, "GET", "/");
	put_headers(&b, 5, END_STREAM | END_HEADERS, &block);
	put_headers(&b, 3, END_STREAM | END_HEADERS, &block);
	put_headers(&b, 5, END_STREAM | END_HEADERS, &block);
	http_rig_pour(&rig, fd, buf_span(&b));
	assert_int_equal(rig.given, 1);
	close(fd);
	buf_fini(&block);
	buf_fini(&b);
	serves_another();
}

/* --- floods -----------------------------------------------------------------
 */

enum flood {
	FLOOD_PING,
	FLOOD_SETTINGS,
	FLOOD_PRIORITY,
	FLOOD_UNKNOWN,
	FLOOD_UPDATE,
	FLOOD_EMPTY_DATA,
	FLOOD_PADDING,
	FLOOD_OLD_DATA,
	FLOOD_COUNT,
};

static void put_flood(struct buf *b, enum flood kind, size_t count)
{
	static const uint8_t zeros[16], one[4] = {0, 0, 0, 1}, padding[8] = {7};
	const struct {
		unsigned type, flags;
		uint32_t stream;
		struct span payload;
	} kinds[FLOOD_COUNT] = {
		[FLOOD_PING] = {NGHTTP2_PING, 0, 0, span_of(zeros, 8)},
		[FLOOD_SETTINGS] = {NGHTTP2_SETTINGS, 0, 0, span_text("")},
		[FLOOD_PRIORITY] = {NGHTTP2_PRIORITY, 0, 3, span_of(zeros, 5)},
		[FLOOD_UNKNOWN] = {0xee, 0, 0, span_of(zeros, 16)},
		[FLOOD_UPDATE] = {NGHTTP2_WINDOW_UPDATE, 0, 0, span_of(one, 4)},
		[FLOOD_EMPTY_DATA] = {NGHTTP2_DATA, 0, 1, span_text("")},
		[FLOOD_PADDING] = {NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1,
				   span_of(padding, 8)},
		/* The first stream is refused and gone by then. */
		[FLOOD_OLD_DATA] = {NGHTTP2_DATA, 0, 1, span_text("")},
	};

	while (count--)
		h2_put_frame(b, kinds[kind].type, kinds[kind].flags,
			     kinds[kind].stream, kinds[kind].payload);
}

static void frames_for_nothing_end_the_connection(void **state)
{
	struct buf block, b;
	int kind;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 4u << 20);
	for (kind = 0; kind < FLOOD_COUNT; kind++) {
		buf_reset(&b);
		buf_reset(&block);
		h2_put_request(&block, "POST",
			       kind == FLOOD_OLD_DATA ? "/none"
						      : "/v1/messages");
		put_headers(&b, 1, END_HEADERS, &block);
		/* The client reads all answers: that is no excuse. */
		put_flood(&b, (enum flood)kind, 3 * HTTP2_CHATTER_MAX);
		expect_end(&b, NGHTTP2_ENHANCE_YOUR_CALM, "a flood");
	}
	/* What any client does is no flood. */
	buf_reset(&b);
	buf_reset(&block);
	h2_put_request(&block, "POST", "/v1/messages");
	put_headers(&b, 1, END_HEADERS, &block);
	put_flood(&b, FLOOD_PING, HTTP2_ACKS_MAX / 2);
	{
		int fd = http_rig_raw(&rig);
		unsigned i, before = rig.given;

		for (i = 0; i < 10; i++) {
			http_rig_pour(&rig, fd, buf_span(&b));
			buf_reset(&b);
			put_flood(&b, FLOOD_PING, HTTP2_CHATTER_PER_SECOND / 2);
			http_tick(rig.http,
				  uv_hrtime() + i * UINT64_C(1000000000));
		}
		buf_reset(&b);
		h2_put_frame(&b, NGHTTP2_DATA, END_STREAM, 1, span_text("{}"));
		http_rig_pour(&rig, fd, buf_span(&b));
		assert_int_equal(rig.given, before + 1);
		close(fd);
		http_rig_turn(&rig);
	}
	buf_fini(&block);
	buf_fini(&b);
	serves_another();
}

/* CVE-2023-44487: each reset makes room for another stream. */
static void rapid_resets_end_the_connection(void **state)
{
	static const uint8_t cancel[4] = {0, 0, 0, NGHTTP2_CANCEL};
	unsigned answered;

	(void)state;
	for (answered = 0; answered < 2; answered++) {
		struct buf block, b;
		uint32_t i;

		buf_init(&block, 4096);
		buf_init(&b, 16u << 20);
		rig.mode = RIG_HOLD;
		h2_put_request(&block, "POST", "/v1/messages");
		for (i = 0; i < 4 * HTTP2_RESETS_MAX; i++) {
			put_headers(&b, 2 * i + 1,
				    END_HEADERS | (answered ? END_STREAM : 0),
				    &block);
			h2_put_frame(&b, NGHTTP2_RST_STREAM, 0, 2 * i + 1,
				     span_of(cancel, 4));
		}
		expect_end(&b, ANY_ERROR, "rapid resets");
		assert_true(rig.n_held <= HTTP2_RESETS_MAX + 2);
		rig.n_held = 0;
		buf_fini(&block);
		buf_fini(&b);
	}
}

/* CVE-2025-8671: the server is made to reset. */
static void requests_that_must_be_reset_end_the_connection(void **state)
{
	static const uint8_t zero[4];
	unsigned kind;

	(void)state;
	for (kind = 0; kind < 2; kind++) {
		struct buf block, b;
		uint32_t i;

		buf_init(&block, 4096);
		buf_init(&b, 16u << 20);
		rig.mode = RIG_HOLD;
		if (kind == 0)
			h2_put_header(&block, "x-a", "b");
		h2_put_request(&block, "POST", "/v1/messages");
		for (i = 0; i < 4 * HTTP2_RESETS_MAX; i++) {
			put_headers(&b, 2 * i + 1, END_HEADERS, &block);
			/* A window of nothing is an error of the stream. */
			if (kind == 1)
				h2_put_frame(&b, NGHTTP2_WINDOW_UPDATE, 0,
					     2 * i + 1, span_of(zero, 4));
		}
		expect_end(&b, ANY_ERROR, "resets that were provoked");
		assert_int_equal(rig.n_held, 0);
		buf_fini(&block);
		buf_fini(&b);
	}
}

static void continuations_without_end_end_the_connection(void **state)
{
	struct buf block, b;
	unsigned i;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 1u << 20);
	h2_put_request(&block, "GET", "/");
	put_headers(&b, 1, END_STREAM, &block);
	buf_reset(&block);
	for (i = 0; i < 3 * HTTP2_CONTINUATIONS_MAX; i++)
		h2_put_frame(&b, NGHTTP2_CONTINUATION, 0, 1, span_text(""));
	expect_end(&b, ANY_ERROR, "CONTINUATION");
	assert_int_equal(rig.last_status, 0);
	buf_fini(&block);
	buf_fini(&b);
}

/* Sixteen KiB of one-byte references to a header of four. */
static void a_bomb_of_headers_ends_the_connection(void **state)
{
	static char value[3900];
	struct buf block, b;
	unsigned i;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	buf_init(&block, 65536);
	buf_init(&b, 1u << 20);
	h2_put_request(&block, "GET", "/");
	/* Literal, into the table. */
	h2_put_header(&block, "x-a", value);
	block.data[block.len_bytes - sizeof(value) + 1 - 8] = 0x40;
	for (i = 0; i < 10000; i++)
		assert_int_equal(buf_put_u8(&block, 0x80 | 62), ERR_OK);
	put_headers(&b, 1, END_STREAM | END_HEADERS, &block);
	expect_end(&b, NGHTTP2_ENHANCE_YOUR_CALM, "a bomb");
	buf_fini(&block);
	buf_fini(&b);
}

/* Requests whose answers are not read: what is queued has an end. */
static void a_client_that_only_writes_is_not_read_for_ever(void **state)
{
	struct buf block, b;
	struct mallinfo2 before = mallinfo2(), after;
	int fd = http_rig_raw(&rig);
	uint32_t i;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 64u << 20);
	h2_put_request(&block, "GET", "/none");
	for (i = 0; i < 200000; i++)
		put_headers(&b, 2 * i + 1, END_STREAM | END_HEADERS, &block);
	before = mallinfo2();
	http_rig_pour(&rig, fd, buf_span(&b));
	after = mallinfo2();
	if (after.uordblks > before.uordblks + 2 * HTTP2_MEMORY_MAX_BYTES)
		fail_msg("%zu bytes", after.uordblks - before.uordblks);
	assert_true(rig.given < 200000);
	close(fd);
	http_rig_turn(&rig);
	http_rig_turn(&rig);
	buf_fini(&block);
	buf_fini(&b);
	serves_another();
}

/* --- limits of connections --------------------------------------------------
 */

static void connections_have_a_limit_and_a_price(void **state)
{
	struct mallinfo2 before, after;
	int fds[HTTP2_CONNECTIONS_MAX], over[2];
	size_t each;
	unsigned i;

	(void)state;
	serves_another();
	before = mallinfo2();
	for (i = 0; i < HTTP2_CONNECTIONS_MAX; i++)
		fds[i] = http_rig_raw(&rig);
	after = mallinfo2();
	each = (after.uordblks - before.uordblks + after.hblkhd -
		before.hblkhd) /
	       HTTP2_CONNECTIONS_MAX;
	print_message("%zu bytes each\n", each);
	assert_true(each < IDLE_MAX_BYTES);
	/* One more of this kind is closed; another kind is not. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, over), 0);
	http_rig_send(over[0], span_text(H2_PREFACE));
	assert_int_equal(http_add(rig.http, over[1]), ERR_LIMIT);
	assert_true(http_rig_at_end(&rig, over[0]));
	close(over[0]);
	for (i = 0; i < HTTP2_CONNECTIONS_MAX; i++)
		close(fds[i]);
	http_rig_turn(&rig);
	http_rig_turn(&rig);
	serves_another();
}

static void all_connections_together_have_a_limit(void **state)
{
	static int fds[HTTP_CONNECTIONS_MAX];
	int pair[2];
	unsigned i;

	(void)state;
	for (i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		fds[i] = http_rig_connect(&rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(http_add(rig.http, pair[1]), ERR_LIMIT);
	assert_true(http_rig_at_end(&rig, pair[0]));
	close(pair[0]);
	for (i = 0; i < HTTP_CONNECTIONS_MAX; i++)
		close(fds[i]);
	http_rig_turn(&rig);
	http_rig_turn(&rig);
	serves_another();
}

/* 64 streams times 18 connections are more than one gate serves. */
static void requests_of_all_connections_have_a_limit(void **state)
{
	int fds[HTTP_CONNECTIONS_MAX / HTTP2_STREAMS_MAX + 2];
	struct buf block, b;
	unsigned i;

	(void)state;
	buf_init(&block, 4096);
	buf_init(&b, 1u << 20);
	rig.mode = RIG_HOLD;
	h2_put_request(&block, "POST", "/v1/messages");
	for (i = 0; i < HTTP2_STREAMS_MAX; i++)
		put_headers(&b, 2 * i + 1, END_STREAM | END_HEADERS, &block);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = http_rig_raw(&rig);
		http_rig_pour(&rig, fds[i], buf_span(&b));
	}
	assert_int_equal(rig.n_held, HTTP_CONNECTIONS_MAX);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	for (i = 0; i < 4; i++)
		http_rig_turn(&rig);
	assert_int_equal(rig.gone, HTTP_CONNECTIONS_MAX);
	buf_fini(&block);
	buf_fini(&b);
	serves_another();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(malformed_requests_are_reset_unseen),
		TEST(malformed_headers_are_refused),
		TEST(broken_frames_end_the_connection),
		TEST(a_preface_without_settings_ends_the_connection),
		TEST(a_stream_from_the_past_is_not_served),
		TEST(frames_for_nothing_end_the_connection),
		TEST(rapid_resets_end_the_connection),
		TEST(requests_that_must_be_reset_end_the_connection),
		TEST(continuations_without_end_end_the_connection),
		TEST(a_bomb_of_headers_ends_the_connection),
		TEST(a_client_that_only_writes_is_not_read_for_ever),
		TEST(connections_have_a_limit_and_a_price),
		TEST(all_connections_together_have_a_limit),
		TEST(requests_of_all_connections_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
