/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_rig.c - a real kenaz-broker and the peers that a test plays
 *
 * Runs in: unit tests.
 *
 * The test is core, audit and gate; the provider is tests/lib/fake_provider.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/memfd.h"
#include "engine/proto/attrs.h"
#include "engine/providers/route.h"
#include "tests/lib/broker_rig.h"

/* --- playing core --------------------------------------------------- */

static void take_outcome(struct broker_rig *r, struct chan_message *m)
{
	struct body body;

	assert_int_equal(msg_transfer_done_get(m->payload, &r->outcome),
			 ERR_OK);
	assert_int_equal(span_copy_text(r->outcome.text, r->text,
					sizeof(r->text)),
			 ERR_OK);
	buf_reset(&r->log_copy);
	if (m->n_fds) {
		size_t size;

		assert_int_equal(memfd_check(m->fds[0], STREAM_BYTES, &size),
				 ERR_OK);
		assert_int_equal(body_open((struct span){0}, m->fds[0], size,
					   STREAM_BYTES, &body),
				 ERR_OK);
		assert_int_equal(buf_put_span(&r->log_copy, body.bytes),
				 ERR_OK);
		body_close(&body);
	} else {
		assert_int_equal(buf_put_span(&r->log_copy,
					      r->outcome.body_inline),
				 ERR_OK);
	}
	r->done++;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	struct broker_rig *r = context;
	struct msg_secret_result secret;

	(void)c;
	if (m->type == MSG_BROKER_READY)
		r->ready = true;
	if (m->type == MSG_TRANSFER_DONE)
		take_outcome(r, m);
	if (m->type == MSG_SECRET_RESULT) {
		assert_int_equal(msg_secret_result_get(m->payload, &secret),
				 ERR_OK);
		r->secret_error = secret.error;
		r->secrets++;
	}
	return ERR_OK;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	(void)reason;
}

static const struct chan_handler handler = {on_message, on_closed};

static void read_stream(struct broker_rig *r)
{
	uint8_t *at;
	ssize_t n;

	if (r->stream < 0)
		return;
	for (;;) {
		assert_int_equal(buf_reserve(&r->raw, 65536, &at), ERR_OK);
		n = recv(r->stream, at, 65536, MSG_DONTWAIT);
		buf_truncate(&r->raw, r->raw.len_bytes - 65536 +
					      (n > 0 ? (size_t)n : 0));
		if (n <= 0)
			return;
	}
}

static void parse_stream(struct broker_rig *r)
{
	size_t at = 0, taken;
	struct respframe f;

	while (respframe_get(span_of(r->raw.data + at, r->raw.len_bytes - at),
			     &f, &taken) == ERR_OK) {
		assert_false(r->end);
		if (f.type == RESPFRAME_HEAD) {
			assert_false(r->head);
			r->head = true;
			r->status = f.status;
			assert_int_equal(buf_put_span(&r->headers, f.headers),
					 ERR_OK);
		} else if (f.type == RESPFRAME_DATA) {
			assert_true(r->head);
			assert_int_equal(buf_put_span(&r->body, f.data),
					 ERR_OK);
		} else {
			r->end = true;
			r->end_error = f.error;
		}
		at += taken;
	}
	buf_consume(&r->raw, at);
}

static bool is_ready(void *context)
{
	return ((struct broker_rig *)context)->ready;
}

bool broker_rig_has_secret(void *context)
{
	return ((struct broker_rig *)context)->secrets > 0;
}

bool broker_rig_is_over(void *context)
{
	struct broker_rig *r = context;

	read_stream(r);
	parse_stream(r);
	return r->done > 0 && (r->stream < 0 || r->end);
}

bool broker_rig_is_done(void *context)
{
	return ((struct broker_rig *)context)->done > 0;
}

bool broker_rig_has_data(void *context)
{
	struct broker_rig *r = context;

	read_stream(r);
	parse_stream(r);
	return r->body.len_bytes > 0;
}

bool broker_rig_provider_stalls(void *context)
{
	struct broker_rig *r = context;

	return rig_count_in_file(r->provider.record, "\"stall\"") > 0;
}

bool broker_rig_provider_noticed(void *context)
{
	struct broker_rig *r = context;

	return rig_count_in_file(r->provider.record, "BrokenPipeError") > 0;
}

void broker_rig_open_audit(struct broker_rig *r, int *ret_fd)
{
	int fds[2];

	assert_int_equal(chan_pair(fds), ERR_OK);
	assert_int_equal(chan_new(&r->loop, fds[0], ROLE_AUDIT, ROLE_BROKER,
				  &handler, r, &r->audit),
			 ERR_OK);
	*ret_fd = fds[1];
}

static void start_broker(struct broker_rig *r)
{
	struct msg_broker_start start = {
		.scripted_socket = span_text(r->scripted),
		.vault_backend = span_text("keyfile"),
	};
	int fds[2], start_fds[2];

	assert_int_equal(chan_pair(fds), ERR_OK);
	r->broker = rig_spawn(r->broker_path, NULL, &fds[1], 1);
	assert_true(r->broker > 0);
	close(fds[1]);
	assert_int_equal(chan_new(&r->loop, fds[0], ROLE_CORE, ROLE_BROKER,
				  &handler, r, &r->core),
			 ERR_OK);
	start_fds[0] = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(start_fds[0] >= 0);
	broker_rig_open_audit(r, &start_fds[1]);
	assert_int_equal(chan_send_broker_start(r->core, &start, start_fds, 2),
			 ERR_OK);
	assert_true(rig_wait(&r->loop, is_ready, r));
	chan_set_state(r->core, S_RUN);
}

const char *broker_rig_set_secret(struct broker_rig *r, const char *secret,
				  size_t len)
{
	static char answer[1024];
	struct msg_secret_set m = {.request = 9,
				   .name = span_text("test"),
				   .rpc_id = span_text("\"id-7\"")};
	int fds[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    fds),
			 0);
	r->secrets = 0;
	assert_int_equal(chan_send_secret_set(r->core, &m, &fds[1], 1), ERR_OK);
	assert_int_equal(write(fds[0], secret, len), (ssize_t)len);
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	assert_true(rig_wait(&r->loop, broker_rig_has_secret, r));
	n = read(fds[0], answer, sizeof(answer) - 1);
	assert_true(n > 0);
	answer[n] = '\0';
	close(fds[0]);
	return answer;
}

void broker_rig_set_provider(struct broker_rig *r, const char *scheme,
			     const char *ca_path, bool allow_http)
{
	char endpoint[64], pem[16384];
	struct msg_provider_set m = {
		.name = span_text("p"),
		.kind = span_text("byo"),
		.secret = span_text("test"),
		.allow_http = allow_http,
	};
	int fd = -1, file;
	ssize_t n;

	(void)snprintf(endpoint, sizeof(endpoint), "%s://127.0.0.1:%u", scheme,
		       (unsigned)r->provider.port);
	m.endpoint = span_text(endpoint);
	if (ca_path) {
		file = open(ca_path, O_RDONLY | O_CLOEXEC);
		n = read(file, pem, sizeof(pem));
		close(file);
		assert_true(n > 0);
		assert_int_equal(memfd_from_span("ca", span_of(pem, (size_t)n),
						 &fd),
				 ERR_OK);
	}
	assert_int_equal(chan_send_provider_set(r->core, &m,
						fd >= 0 ? &fd : NULL,
						fd >= 0 ? 1 : 0),
			 ERR_OK);
}

static int ca_memfd(const char *path)
{
	char pem[16384];
	int fd, file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(file, pem, sizeof(pem));

	close(file);
	assert_true(n > 0);
	assert_int_equal(memfd_from_span("ca", span_of(pem, (size_t)n), &fd),
			 ERR_OK);
	return fd;
}

/* Any provider "p"; later grants are for this route and model. */
void broker_rig_configure(struct broker_rig *r,
			  const struct msg_provider_set *m, const char *ca_path,
			  enum route route, const char *model)
{
	int fd = ca_path ? ca_memfd(ca_path) : -1;

	r->target = (struct route_target){
		.kind = provider_find(m->kind),
		.endpoint = m->endpoint,
		.region = m->region,
		.plain_http = m->allow_http != 0,
		.dialects = m->dialects,
		.api_version = m->api_version,
	};
	r->route = route;
	r->model = model;
	assert_int_equal(chan_send_provider_set(r->core, m,
						fd >= 0 ? &fd : NULL,
						fd >= 0 ? 1 : 0),
			 ERR_OK);
}

void broker_rig_set_secret_named(struct broker_rig *r, const char *name,
				 const char *secret)
{
	struct msg_secret_set m = {.request = 10,
				   .name = span_text(name),
				   .rpc_id = span_text("1")};
	char line[1024];
	size_t len;
	int fds[2];

	len = (size_t)snprintf(line, sizeof(line), "%s\n", secret);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    fds),
			 0);
	r->secrets = 0;
	assert_int_equal(chan_send_secret_set(r->core, &m, &fds[1], 1), ERR_OK);
	assert_int_equal(write(fds[0], line, len), (ssize_t)len);
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	assert_true(rig_wait(&r->loop, broker_rig_has_secret, r));
	assert_int_equal(r->secret_error, ERR_OK);
	close(fds[0]);
}

struct broker_rig *broker_rig_new(const char *behave, const char *tls_pem)
{
	struct broker_rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	if (rig_program_path("kenaz-broker", r->broker_path,
			     sizeof(r->broker_path)) != 0) {
		print_message("kenaz-broker is not built\n");
		free(r);
		skip();
	}
	r->stream = -1;
	buf_init(&r->raw, STREAM_BYTES);
	buf_init(&r->body, STREAM_BYTES);
	buf_init(&r->headers, 65536);
	buf_init(&r->log_copy, STREAM_BYTES);
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_int_equal(rig_temp_dir(r->dir, sizeof(r->dir)), 0);
	(void)snprintf(r->scripted, sizeof(r->scripted), "%s/s", r->dir);
	assert_true(rig_provider_start(&r->provider, r->dir, behave, tls_pem));
	start_broker(r);
	(void)broker_rig_set_secret(r, KEY "\n", sizeof(KEY));
	assert_int_equal(r->secret_error, ERR_OK);
	if (!tls_pem)
		broker_rig_set_provider(r, "http", NULL, true);
	return r;
}

void broker_rig_free(struct broker_rig *r)
{
	chan_free(r->core);
	chan_free(r->audit);
	rig_kill(r->broker);
	rig_provider_stop(&r->provider);
	if (r->stream >= 0)
		close(r->stream);
	while (uv_run(&r->loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&r->loop), 0);
	buf_fini(&r->raw);
	buf_fini(&r->body);
	buf_fini(&r->headers);
	buf_fini(&r->log_copy);
	rig_remove_dir(r->dir);
	free(r);
}

/* --- one request ---------------------------------------------------- */

/* As core does it. */
static void header_digest(struct broker_rig *r, bool tls,
			  uint8_t ret[DIGEST_BYTES])
{
	struct route_header beta = {span_text("anthropic-beta"),
				    span_text("b-1")};
	struct route_target target = {.kind = provider_find(span_text("byo")),
				      .plain_http = !tls};
	struct route_values values = {.headers = &beta, .header_count = 1};
	struct route_request request;
	char endpoint[64];

	(void)snprintf(endpoint, sizeof(endpoint), "%s://127.0.0.1:%u",
		       tls ? "https" : "http", (unsigned)r->provider.port);
	target.endpoint = span_text(endpoint);
	if (r->target.kind) {
		target = r->target;
		values.model = span_text(r->model);
	}
	assert_int_equal(route_build(&target,
				     r->target.kind ? r->route : ROUTE_MESSAGES,
				     &values, &request),
			 ERR_OK);
	assert_int_equal(route_header_digest(&request, ret), ERR_OK);
}

void broker_rig_send_release(struct broker_rig *r, const struct msg_grant *g,
			     bool wrong)
{
	struct msg_release m = {.grant = g->grant};

	memcpy(m.header_digest, g->header_digest, DIGEST_BYTES);
	memcpy(m.body_digest, g->body_digest, DIGEST_BYTES);
	if (wrong)
		m.body_digest[31] ^= 1;
	assert_int_equal(chan_send_release(r->audit, &m, NULL, 0), ERR_OK);
	assert_int_equal(chan_flush(r->audit), ERR_OK);
}

void broker_rig_send_grant(struct broker_rig *r, const struct broker_plan *p,
			   bool tls)
{
	struct msg_grant g = {.grant = ++r->last_grant,
			      .provider = span_text("p"),
			      .route = r->target.kind ? (uint16_t)r->route
						      : ROUTE_MESSAGES,
			      .model = span_text(r->model),
			      .has_stream = !p->no_stream,
			      .keep_body = p->keep,
			      .total_timeout_ns = p->timeout_ns,
			      .response_max_bytes = p->max_bytes};
	struct span body = p->body_bytes
				   ? span_of(p->body, p->body_bytes)
				   : span_text(p->body ? p->body : BODY_PLAIN);
	struct buf headers;
	int fds[2], pair[2];
	size_t n = 0;

	buf_init(&headers, 1024);
	assert_int_equal(attrs_put_text(&headers, "anthropic-beta",
					span_text("b-1")),
			 ERR_OK);
	g.headers = buf_span(&headers);
	header_digest(r, tls, g.header_digest);
	digest_sha256(body, g.body_digest);
	if (p->wrong_header)
		g.header_digest[0] ^= 1;
	if (p->wrong_body)
		g.body_digest[0] ^= 1;
	g.body_bytes = body.len_bytes;
	if (!p->no_stream) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC,
					    0, pair),
				 0);
		r->stream = pair[0];
		fds[n++] = pair[1];
	}
	if (body.len_bytes > BODY_INLINE_MAX_BYTES)
		assert_int_equal(memfd_from_span("body", body, &fds[n++]),
				 ERR_OK);
	else
		g.body_inline = body;
	r->granted = g;
	if (p->release_first)
		broker_rig_send_release(r, &g, p->wrong_release);
	assert_int_equal(chan_send_grant(r->core, &g, fds, n), ERR_OK);
	assert_int_equal(chan_flush(r->core), ERR_OK);
	if (!p->no_release && !p->release_first)
		broker_rig_send_release(r, &g, p->wrong_release);
	buf_fini(&headers);
}

void broker_rig_forget(struct broker_rig *r)
{
	if (r->stream >= 0)
		close(r->stream);
	r->stream = -1;
	r->done = 0;
	r->head = r->end = false;
	r->status = 0;
	buf_reset(&r->raw);
	buf_reset(&r->body);
	buf_reset(&r->headers);
}

void broker_rig_run(struct broker_rig *r, const struct broker_plan *p)
{
	broker_rig_forget(r);
	broker_rig_send_grant(r, p, false);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->done, 1);
	if (!p->no_stream)
		assert_int_equal(r->end_error, r->outcome.error);
}

bool broker_rig_sent_to_provider(struct broker_rig *r)
{
	return rig_count_in_file(r->provider.record, "\"event\": \"request\"") >
	       0;
}

bool broker_rig_provider_got_it(void *context)
{
	return broker_rig_sent_to_provider(context);
}

bool broker_rig_body_holds(struct broker_rig *r, const char *text)
{
	return r->body.len_bytes &&
	       memmem(r->body.data, r->body.len_bytes, text, strlen(text));
}
