/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http2.c - any bytes on a connection of HTTP/2 are served or refused
 *
 * Input: one byte of switches, then what the client sends after the preface.
 * The real http*.c on a socket pair, with a handler that answers, streams or
 * waits. Switches: 1, the bytes come without a preface of ours; 2, in pieces
 * of 7; 4, the client reads nothing; 8, deadlines pass at the end.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/gate/http.h"
#include "engine/proto/attrs.h"

#define TURNS_MAX   64
#define PIECE_BYTES 7u
#define HELD_MAX    128u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With SETTINGS, whose last zero is the text's. */
static const char preface[] =
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

struct fuzz {
	uv_loop_t loop;
	struct http *http;
	struct http_request *held[HELD_MAX];
	size_t n_held, given, gone;
};

static void answer(struct http_request *r)
{
	struct buf headers, body;
	enum err e;

	buf_init(&headers, 256);
	buf_init(&body, 1u << 20);
	e = attrs_put_text(&headers, "content-type", span_text("text/plain"));
	if (e == ERR_OK)
		e = buf_printf(&body, "%zu bytes", r->body.len_bytes);
	if (e == ERR_OK)
		e = http_answer(r, r->head.refusal.status ? 400 : 200,
				buf_span(&headers), &body);
	if (e != ERR_OK)
		http_break(r);
	buf_fini(&headers);
	buf_fini(&body);
}

/* More than a window, so that some of it waits for the client. */
static void stream(struct http_request *r)
{
	static uint8_t block[100000];
	enum err e = http_begin(r, 200, span_of(NULL, 0));

	if (e == ERR_OK)
		e = http_write(r, span_of(block, sizeof(block)));
	if (e != ERR_OK)
		http_break(r);
	else
		http_end(r);
}

static void on_request(void *context, struct http_request *r)
{
	struct fuzz *f = context;

	f->given++;
	assert(r->body.len_bytes <= BODY_MAX_BYTES);
	assert(r->head.bytes <= HTTP_HEADERS_MAX_BYTES ||
	       r->head.refusal.status);
	if (r->head.refusal.status || r->target.action != HTTP_INFER)
		answer(r);
	else if (r->body.len_bytes % 3 == 0 || f->n_held == HELD_MAX)
		stream(r);
	else if (r->body.len_bytes % 3 == 1)
		http_break(r);
	else
		f->held[f->n_held++] = r;
}

static void on_drained(void *context, struct http_request *r)
{
	(void)context;
	(void)r;
}

static void on_gone(void *context, struct http_request *r, bool whole)
{
	struct fuzz *f = context;
	size_t i;

	assert(!whole || r->answered);
	f->gone++;
	for (i = 0; i < f->n_held; i++)
		if (f->held[i] == r)
			f->held[i] = NULL;
}

static void turns(struct fuzz *f, int fd, int reads)
{
	uint8_t chunk[65536];
	int i;

	for (i = 0; i < TURNS_MAX; i++) {
		ssize_t n = 0;

		(void)uv_run(&f->loop, UV_RUN_NOWAIT);
		if (reads)
			n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n <= 0 && i >= 3)
			return;
	}
}

static void send_all(struct fuzz *f, int fd, const uint8_t *data, size_t size,
		     uint8_t switches)
{
	while (size) {
		size_t len =
			switches & 2 && size > PIECE_BYTES ? PIECE_BYTES : size;
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
		turns(f, fd, !(switches & 4));
		if (n <= 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const forwarded[] = {"anthropic-beta", NULL};
	static const struct http_handler handler = {on_request, on_drained,
						    on_gone};
	static struct fuzz f;
	int pair[2];
	size_t i;

	if (size == 0)
		return 0;
	memset(&f, 0, sizeof(f));
	assert(uv_loop_init(&f.loop) == 0);
	assert(http_new(&f.loop, forwarded, &handler, &f, &f.http) == ERR_OK);
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	if (http_add(f.http, pair[1]) != ERR_OK)
		abort();
	if (!(data[0] & 1))
		send_all(&f, pair[0], (const uint8_t *)preface, sizeof(preface),
			 0);
	send_all(&f, pair[0], data + 1, size - 1, data[0]);
	for (i = 0; i < f.n_held; i++)
		if (f.held[i])
			answer(f.held[i]);
	turns(&f, pair[0], 1);
	if (data[0] & 8) {
		http_tick(f.http, uv_hrtime() + HTTP_STALL_MAX_NS);
		turns(&f, pair[0], 1);
		http_tick(f.http, uv_hrtime() + 2 * HTTP_STALL_MAX_NS);
	}
	close(pair[0]);
	turns(&f, -1, 0);
	http_free(f.http);
	(void)uv_run(&f.loop, UV_RUN_DEFAULT);
	assert(uv_loop_close(&f.loop) == 0);
	assert(f.given == f.gone);
	return 0;
}

/* sources: engine/gate/http.c engine/gate/http_door.c engine/gate/http1.c
 * engine/gate/http2.c engine/gate/http2_stream.c engine/gate/http_head.c
 * engine/proto/attrs.c engine/base/buf.c engine/base/text.c
 * engine/base/err.c engine/base/log.c */
