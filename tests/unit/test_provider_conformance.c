/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_provider_conformance.c - what every provider in the tables must hold
 *
 * Runs in: make check. Each route of each kind is asked through a real broker
 * at a real server; docs/providers.md says what is checked. A new kind needs
 * no line here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/digest.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"
#include "tests/lib/broker_rig.h"

#define MODEL      "us.vendor/model-1:0"
#define RECORD_MAX 8192
#define AWS_ID     "AKIDEXAMPLE000000000"
#define AWS_KEY    AWS_ID ":wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:" KEY
#define TURN_GOOD  0
#define TURN_BUSY  1
#define TURN_AWAY  2
#define TURNS      3

struct one {
	const struct provider_kind *kind;
	const struct provider_route *row;
	const struct provider_auth_row *auth; /* NULL: the kind's own */
	int turn;
	char name[96];
};

static void last_line(const char *path, char *ret_line)
{
	FILE *f = fopen(path, "re");

	ret_line[0] = '\0';
	assert_non_null(f);
	while (fgets(ret_line, RECORD_MAX, f))
		;
	(void)fclose(f);
}

static size_t count_of(const char *text, const char *what)
{
	size_t count = 0;

	while ((text = strstr(text, what))) {
		count++;
		text += strlen(what);
	}
	return count;
}

/* Names of the headers that went out, one after the other. */
static const char *next_header(const char *at, char *ret_name, size_t cap)
{
	const char *end;

	at = at ? strstr(at, "[\"") : NULL;
	if (!at)
		return NULL;
	at += 2;
	end = strchr(at, '"');
	assert_true(end && (size_t)(end - at) < cap);
	memcpy(ret_name, at, (size_t)(end - at));
	ret_name[end - at] = '\0';
	return end;
}

static enum provider_auth auth_of(const struct one *o)
{
	return o->auth ? o->auth->auth : o->kind->auth;
}

static bool may_be_sent(const struct one *o, const char *name)
{
	static const char *const ours[] = {"host", "content-length"};
	static const char *const signature[] = {"authorization", "x-amz-date",
						"x-amz-security-token"};
	const char *header = o->auth ? o->auth->header : o->kind->auth_header;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return true;
	for (i = 0; i < ARRAY_SIZE(signature); i++)
		if (auth_of(o) == PROVIDER_AUTH_SIGV4 &&
		    strcmp(name, signature[i]) == 0)
			return true;
	for (i = 0; i < o->row->header_count; i++)
		if (strcmp(name, o->row->headers[i].name) == 0)
			return true;
	return header && strcmp(name, header) == 0;
}

/* Method and path of the table, its headers and one key; nothing else. */
static void check_request(const struct one *o, const char *record)
{
	char line[RECORD_MAX], name[128], start[64];
	const char *path, *at;

	last_line(record, line);
	(void)snprintf(start, sizeof(start), "\"line\": \"%s /",
		       o->row->method);
	if (!strstr(line, start))
		fail_msg("%s: no %s in %s", o->name, start, line);
	path = strchr(o->row->path, '{');
	if (path && !strstr(line, "/us.vendor%2Fmodel-1%3A0/"))
		fail_msg("%s: the model is not one segment: %s", o->name, line);
	if (count_of(line, KEY) != (auth_of(o) == PROVIDER_AUTH_NONE ? 0u : 1u))
		fail_msg("%s: the key is there %zu times: %s", o->name,
			 count_of(line, KEY), line);
	for (at = line; (at = next_header(at, name, sizeof(name)));)
		if (!may_be_sent(o, name))
			fail_msg("%s: header %s was sent", o->name, name);
	for (size_t i = 0; i < o->row->header_count; i++) {
		(void)snprintf(start, sizeof(start), "[\"%s\"",
			       o->row->headers[i].name);
		if (o->row->headers[i].fallback && !strstr(line, start))
			fail_msg("%s: header %s is missing", o->name,
				 o->row->headers[i].name);
	}
}

/* Only what its table lists, and never the key. */
static void check_answer(const struct one *o, struct broker_rig *r)
{
	bool has_type = false;
	struct reader reader;
	struct attr a;

	reader_init(&reader, buf_span(&r->headers));
	while (attrs_next(&reader, &a)) {
		if (!provider_forwards_response(o->kind, a.key) ||
		    span_is(a.key, "set-cookie") ||
		    span_is(a.key, "location") || span_is(a.key, "server"))
			fail_msg("%s: header %.*s was passed on", o->name,
				 (int)a.key.len_bytes,
				 (const char *)a.key.data);
		has_type = has_type || span_is(a.key, "content-type");
	}
	assert_true(has_type);
	assert_false(broker_rig_body_holds(r, KEY));
	if (auth_of(o) == PROVIDER_AUTH_NONE)
		return;
	/* A signature is no secret; the token beside it is. */
	if (auth_of(o) == PROVIDER_AUTH_SIGV4)
		return;
	assert_true(broker_rig_body_holds(r, "you said [key]"));
	assert_int_equal(r->outcome.key_echoed, 1);
}

static void ask(const struct one *o, struct broker_rig *r, const char *record)
{
	struct broker_plan p = {.body = BODY_PLAIN, .keep = true};

	if (!o->row->has_body) {
		p.body = "";
		p.body_bytes = 0;
	}
	broker_rig_forget(r);
	broker_rig_send_grant(r, &p, false);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	check_request(o, record);
	if (o->turn == TURN_AWAY) {
		assert_int_equal(r->outcome.failure, FAILURE_PROTOCOL);
		assert_false(r->head);
		return;
	}
	if (r->outcome.error != ERR_OK)
		fail_msg("%s: %s", o->name, r->text);
	assert_int_equal(r->status, o->turn == TURN_GOOD ? 200 : 429);
	assert_int_equal(r->outcome.failure,
			 o->turn == TURN_GOOD ? FAILURE_NONE : FAILURE_HTTP);
	assert_int_equal(r->outcome.retry_after_ms,
			 o->turn == TURN_GOOD ? 0 : 3000);
	check_answer(o, r);
}

static void configure(const struct one *o, struct broker_rig *r,
		      const char *endpoint)
{
	bool region = o->kind->capabilities & PROVIDER_HAS_REGION;
	struct msg_provider_set m = {
		.name = span_text("p"),
		.kind = span_text(o->kind->name),
		.endpoint = span_text(endpoint),
		.secret = span_text(auth_of(o) == PROVIDER_AUTH_SIGV4 ? "aws"
								      : "test"),
		.allow_http = 1,
		.auth = span_text(o->auth ? o->auth->name : ""),
		.region = span_text(region ? "us-east-1" : ""),
		.dialects = ~0u,
	};

	broker_rig_configure(r, &m, NULL, o->row->route,
			     o->row->model ? o->row->model : MODEL);
}

static void ask_by_turns(struct one *o, struct broker_rig *r,
			 const char *endpoint, const char *record)
{
	(void)snprintf(o->name, sizeof(o->name), "%s, %s, %s", o->kind->name,
		       route_name(o->row->route),
		       o->auth ? o->auth->name : "its own key");
	configure(o, r, endpoint);
	for (o->turn = TURN_GOOD; o->turn < TURNS; o->turn++)
		ask(o, r, record);
}

static void test_every_route_of_every_kind(void **state)
{
	const char *const any[] = {"tests/lib/fake_upstream.py", "any", NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	const struct provider_kind *kind;
	struct rig_provider server;
	char endpoint[64];
	size_t asked = 0;

	(void)state;
	assert_true(rig_server_start(&server, r->dir, any));
	(void)snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u",
		       (unsigned)server.port);
	broker_rig_set_secret_named(r, "aws", AWS_KEY);
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		if (kind->transport == PROVIDER_TRANSPORT_EMBEDDED)
			continue;
		for (size_t i = 0; i < kind->route_count; i++) {
			struct one o = {.kind = kind, .row = &kind->routes[i]};

			/* Of two rows that both fit, the first one serves. */
			if (provider_route(kind, ~0u, o.row->route,
					   span_text(o.row->model ? o.row->model
								  : MODEL)) !=
			    o.row)
				continue;
			ask_by_turns(&o, r, endpoint, server.record);
			asked++;
		}
	}
	assert_true(asked > 20);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

static void test_every_way_of_authentication(void **state)
{
	const char *const any[] = {"tests/lib/fake_upstream.py", "any", NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	const struct provider_kind *kind;
	struct rig_provider server;
	char endpoint[64];

	(void)state;
	assert_true(rig_server_start(&server, r->dir, any));
	(void)snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u",
		       (unsigned)server.port);
	broker_rig_set_secret_named(r, "aws", AWS_KEY);
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		for (size_t i = 0; kind->auths && kind->auths[i]; i++) {
			struct one o = {.kind = kind,
					.row = &kind->routes[0],
					.auth = provider_auth_find(
						span_text(kind->auths[i]))};

			assert_non_null(o.auth);
			ask_by_turns(&o, r, endpoint, server.record);
		}
	}
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* What the tables promise to each other. */
static void test_tables(void **state)
{
	const struct provider_kind *kind;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		const struct provider_route *list =
			provider_route(kind, ~0u, ROUTE_MODELS, span_text(""));
		bool lists = kind->capabilities & PROVIDER_CAN_LIST;

		assert_true(text_is_name(span_text(kind->name), 32));
		assert_true(kind->about[0] != '\0');
		assert_int_equal(lists, list != NULL);
		assert_true(
			provider_forwards_response(kind,
						   span_text("content-type")));
		assert_false(
			provider_forwards_response(kind,
						   span_text("set-cookie")));
		assert_false(provider_forwards_response(kind,
							span_text("location")));
		for (size_t i = 0; i < kind->model_count; i++) {
			const struct provider_model *m = &kind->models[i];

			assert_ptr_equal(provider_model(kind,
							span_text(m->name)),
					 m);
			assert_int_equal(m->input_uusd == 0,
					 m->output_uusd == 0);
			assert_true(m->input_uusd <= 1000000000u &&
				    m->output_uusd <= 1000000000u);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_every_route_of_every_kind),
		cmocka_unit_test(test_every_way_of_authentication),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
