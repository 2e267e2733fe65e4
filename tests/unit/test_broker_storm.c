/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_broker_storm.c - many requests at once, each with its own misfortune
 *
 * Runs in: make check.
 *
 * Every grant has to end exactly once, whatever the provider does, whoever
 * cancels or hangs up, and the broker has to be of use afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/proto/attrs.h"
#include "engine/providers/route.h"
#include "tests/lib/broker_rig.h"

#define REQUESTS      240u
#define AT_ONCE       48u
#define FIRST_GRANT   1000u
#define TIMEOUT_NS    400000000ull
#define STORM_WAIT_MS 120000u

/* Behaviour, and what the test does meanwhile. */
static const struct {
	const char *behave;
	bool cancel, hang_up, no_release, do_not_read;
} fates[] = {
	{.behave = "fake:text=hello"},
	{.behave = "fake:chunk=7"},
	{.behave = "fake:truncate=50"},
	{.behave = "fake:status=500"},
	{.behave = "fake:redirect=https://x.example/"},
	{.behave = "fake:garbage"},
	{.behave = "fake:stall=before"},
	{.behave = "fake:stall=middle", .cancel = true},
	{.behave = "fake:stall=headers", .hang_up = true},
	{.behave = "fake:huge=900000", .hang_up = true},
	{.behave = "fake:huge=900000", .do_not_read = true},
	{.behave = "fake:error-event"},
	{.behave = "fake:echo=body;echo-split=2"},
	{.behave = "fake:text=never", .no_release = true},
	{.behave = "fake:text=never", .no_release = true, .cancel = true},
	{.behave = "fake:text=hello", .cancel = true},
};

struct storm {
	struct broker_rig *rig;
	unsigned started, ended;
	int streams[REQUESTS];
};

static struct storm storm;

static void begin(unsigned n)
{
	size_t fate = n % ARRAY_SIZE(fates);
	struct broker_rig *r = storm.rig;
	struct route_header beta = {span_text("anthropic-beta"),
				    span_text(fates[fate].behave)};
	struct route_target target = {.kind = provider_find(span_text("byo")),
				      .plain_http = true};
	struct route_values values = {.headers = &beta, .header_count = 1};
	struct msg_grant g = {.grant = FIRST_GRANT + n,
			      .provider = span_text("p"),
			      .route = ROUTE_MESSAGES,
			      .has_stream = 1,
			      .keep_body = n % 3 == 0,
			      .total_timeout_ns = TIMEOUT_NS,
			      .body_inline = span_text(BODY_STREAM)};
	struct route_request request;
	struct buf headers;
	char endpoint[64];
	int pair[2];

	(void)snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u",
		       (unsigned)r->provider.port);
	target.endpoint = span_text(endpoint);
	assert_int_equal(route_build(&target, ROUTE_MESSAGES, &values,
				     &request),
			 ERR_OK);
	assert_int_equal(route_header_digest(&request, g.header_digest),
			 ERR_OK);
	digest_sha256(g.body_inline, g.body_digest);
	g.body_bytes = g.body_inline.len_bytes;
	buf_init(&headers, 1024);
	assert_int_equal(attrs_put_text(&headers, "anthropic-beta", beta.value),
			 ERR_OK);
	g.headers = buf_span(&headers);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	storm.streams[n] = pair[0];
	assert_int_equal(chan_send_grant(r->core, &g, &pair[1], 1), ERR_OK);
	if (!fates[fate].no_release)
		broker_rig_send_release(r, &g, n % 29 == 0);
	if (fates[fate].cancel) {
		struct msg_grant_cancel m = {.grant = g.grant};

		assert_int_equal(chan_send_grant_cancel(r->core, &m, NULL, 0),
				 ERR_OK);
	}
	if (fates[fate].hang_up && n % 2) {
		close(storm.streams[n]);
		storm.streams[n] = -1;
	}
	buf_fini(&headers);
}

static void read_some(unsigned n)
{
	size_t fate = n % ARRAY_SIZE(fates);
	char data[65536];

	if (storm.streams[n] < 0 || fates[fate].do_not_read)
		return;
	while (recv(storm.streams[n], data, sizeof(data), MSG_DONTWAIT) > 0)
		if (fates[fate].hang_up)
			break;
	if (fates[fate].hang_up) {
		close(storm.streams[n]);
		storm.streams[n] = -1;
	}
}

static bool storm_is_over(void *context)
{
	unsigned n;

	(void)context;
	storm.ended = storm.rig->done;
	while (storm.started < REQUESTS &&
	       storm.started - storm.ended < AT_ONCE)
		begin(storm.started++);
	for (n = 0; n < storm.started; n++)
		read_some(n);
	return storm.ended >= REQUESTS;
}

static void test_storm(void **state)
{
	struct broker_plan p = {0};
	unsigned n, rounds;

	(void)state;
	storm.rig = broker_rig_new("", NULL);
	for (n = 0; n < REQUESTS; n++)
		storm.streams[n] = -1;
	for (rounds = 0; rounds < STORM_WAIT_MS / RIG_DEADLINE_MS; rounds++)
		if (rig_wait(&storm.rig->loop, storm_is_over, &storm))
			break;
	assert_int_equal(storm.rig->done, REQUESTS);
	for (n = 0; n < REQUESTS; n++)
		if (storm.streams[n] >= 0)
			close(storm.streams[n]);
	/* no late second report, and still alive */
	assert_int_equal(storm.rig->done, REQUESTS);
	broker_rig_run(storm.rig, &p);
	assert_int_equal(storm.rig->outcome.error, ERR_OK);
	broker_rig_free(storm.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
