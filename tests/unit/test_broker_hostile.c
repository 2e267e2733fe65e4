/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_broker_hostile.c - a real broker and a provider that breaks HTTP
 *
 * Runs in: make check. Every server is real and on loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/base/digest.h"
#include "tests/lib/broker_rig.h"

#define LARGE_BYTES (8u * 1024 * 1024)
#define MOST_BYTES  (1u * 1024 * 1024)

static int prepare(void **state)
{
	(void)state;
	return digest_init() == ERR_OK ? 0 : -1;
}

static struct broker_rig *begin(struct rig_provider *server)
{
	static const char *const hostile[] = {"tests/lib/hostile_upstream.py",
					      NULL};
	static char url[64];
	struct broker_rig *r = broker_rig_new("", NULL);
	struct msg_provider_set m = {
		.name = span_text("p"),
		.kind = span_text("byo"),
		.secret = span_text("test"),
		.allow_http = 1,
		.first_byte_timeout_ms = 2000,
		.idle_timeout_ms = 2000,
	};

	assert_true(rig_server_start(server, r->dir, hostile));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u",
		       (unsigned)server->port);
	m.endpoint = span_text(url);
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	return r;
}

static void run(struct broker_rig *r, const char *how)
{
	char body[64];
	struct broker_plan p = {.body = body,
				.keep = true,
				.max_bytes = MOST_BYTES};

	(void)snprintf(body, sizeof(body), "{\"model\":\"%s\"}", how);
	broker_rig_forget(r);
	broker_rig_send_grant(r, &p, false);
	if (!rig_wait(&r->loop, broker_rig_is_over, r))
		fail_msg("%s: no end", how);
	assert_int_equal(r->done, 1);
}

static void test_every_breach_ends_one_request_alone(void **state)
{
	static const struct {
		const char *how;
		enum transfer_failure failure;
		const char *words;
	} rows[] = {
		{"informed", FAILURE_TOO_LARGE, "headers are too large"},
		{"one-header", FAILURE_COUNT, ""},
		{"headers", FAILURE_TOO_LARGE, "headers are too large"},
		{"trailers", FAILURE_TOO_LARGE, "headers are too large"},
		{"extension", FAILURE_TIMEOUT_IDLE, "idle_timeout_s"},
		{"no-head", FAILURE_PROTOCOL, ""},
		{"br", FAILURE_PROTOCOL, "compressed"},
		{"chunk-size", FAILURE_RESET, ""},
		{"chunk-sign", FAILURE_RESET, ""},
		{"short", FAILURE_RESET, "cut off"},
		{"reason-key", FAILURE_PROTOCOL, ""},
		{"header-key", FAILURE_COUNT, ""},
		{"endless", FAILURE_TOO_LARGE, "larger than allowed"},
	};
	struct rig_provider server;
	struct broker_rig *r = begin(&server);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		run(r, rows[i].how);
		if (r->outcome.error == ERR_OK ||
		    (rows[i].failure != FAILURE_COUNT &&
		     r->outcome.failure != rows[i].failure) ||
		    !strstr(r->text, rows[i].words))
			fail_msg("%s: %s <%s>", rows[i].how,
				 transfer_failure_name(
					 (enum transfer_failure)
						 r->outcome.failure),
				 r->text);
		assert_null(strstr(r->text, KEY));
		if (r->headers.len_bytes)
			assert_null(memmem(r->headers.data,
					   r->headers.len_bytes, KEY,
					   strlen(KEY)));
		assert_false(broker_rig_body_holds(r, KEY));
		run(r, "good");
		assert_int_equal(r->outcome.error, ERR_OK);
		assert_true(broker_rig_body_holds(r, "hello"));
	}
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* What one connection still held is not the next request's answer. */
static void test_a_second_answer_is_nobodys(void **state)
{
	struct rig_provider server;
	struct broker_rig *r = begin(&server);

	(void)state;
	for (int i = 0; i < 5; i++) {
		run(r, "more");
		assert_int_equal(r->outcome.error, ERR_OK);
		assert_false(broker_rig_body_holds(r, "stolen"));
		run(r, "good");
		assert_false(broker_rig_body_holds(r, "stolen"));
		run(r, "lengths");
		assert_false(broker_rig_body_holds(r, "stolen"));
	}
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/*
 * A refusal counts, also before all of the request was sent. A server that
 * lingers gets it through; of one that resets the connection (an odd length)
 * it may come too late, and is a broken connection then.
 */
static void test_an_early_answer_arrives(void **state)
{
	struct rig_provider server;
	struct broker_rig *r = begin(&server);
	char *body = malloc(LARGE_BYTES);
	struct broker_plan p = {.body = body,
				.body_bytes = LARGE_BYTES,
				.keep = true};

	(void)state;
	assert_non_null(body);
	memset(body, ' ', LARGE_BYTES);
	memcpy(body, "{\"model\":\"early\"", 16);
	for (int i = 0; i < 10; i++) {
		p.body_bytes = LARGE_BYTES - (size_t)(i % 2);
		broker_rig_forget(r);
		broker_rig_send_grant(r, &p, false);
		assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
		if (i % 2 && r->outcome.failure == FAILURE_RESET)
			continue;
		if (r->outcome.http_status != 413 ||
		    r->outcome.failure != FAILURE_HTTP)
			fail_msg("%u %s: %s", r->outcome.http_status,
				 transfer_failure_name(
					 (enum transfer_failure)
						 r->outcome.failure),
				 r->text);
		assert_true(broker_rig_body_holds(r, "too large for us"));
	}
	free(body);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_breach_ends_one_request_alone),
		cmocka_unit_test(test_a_second_answer_is_nobodys),
		cmocka_unit_test(test_an_early_answer_arrives),
	};

	return cmocka_run_group_tests(tests, prepare, NULL);
}
