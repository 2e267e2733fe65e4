/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_broker_transport.c - a real broker and what lies between it and a
 *			     provider: time-outs, proxies, TLS, HTTP/2, AWS
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
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/base/digest.h"
#include "tests/lib/broker_rig.h"

#define AWS_KEY    "AKIDEXAMPLE000000000:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define AWS_TOKEN  "AQoDYXdzEPTwEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4"
#define PROXY_USER "corp:pa:ss word"
#define SHORT_MS   300u

static char certificates[256];

static int make_certificates(void **state)
{
	const char *arguments[] = {certificates, NULL};
	int status;
	pid_t pid;

	(void)state;
	if (digest_init() != ERR_OK ||
	    rig_temp_dir(certificates, sizeof(certificates)) != 0)
		return -1;
	pid = rig_spawn("tests/lib/make_ca.sh", arguments, NULL, 0);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int remove_certificates(void **state)
{
	(void)state;
	rig_remove_dir(certificates);
	return 0;
}

static const char *in_folder(const char *name)
{
	static char paths[4][300];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", certificates, name);
	return path;
}

static struct span url_of(char *text, size_t cap, const char *scheme,
			  const struct rig_provider *server)
{
	(void)snprintf(text, cap, "%s://127.0.0.1:%u", scheme,
		       (unsigned)server->port);
	return span_text(text);
}

/* byo at the rig's own fake provider, over plain http. */
static struct msg_provider_set plain(struct broker_rig *r, char *text,
				     size_t cap)
{
	return (struct msg_provider_set){
		.name = span_text("p"),
		.kind = span_text("byo"),
		.secret = span_text("test"),
		.endpoint = url_of(text, cap, "http", &r->provider),
		.allow_http = 1,
	};
}

static void start(struct broker_rig *r, struct rig_provider *server,
		  const char *const *arguments)
{
	assert_true(rig_server_start(server, r->dir, arguments));
}

/* One request over the network; the rig's own way wants http. */
static void run(struct broker_rig *r, const struct broker_plan *p)
{
	broker_rig_forget(r);
	broker_rig_send_grant(r, p, false);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->done, 1);
}

static void expect_ok(struct broker_rig *r)
{
	if (r->outcome.error != ERR_OK)
		fail_msg("%s: <%s>",
			 transfer_failure_name(
				 (enum transfer_failure)r->outcome.failure),
			 r->text);
}

static void expect(struct broker_rig *r, enum transfer_failure failure,
		   const char *words)
{
	if (r->outcome.failure != failure || !strstr(r->text, words))
		fail_msg("%s: <%s>, not %s: <%s>",
			 transfer_failure_name(
				 (enum transfer_failure)r->outcome.failure),
			 r->text, transfer_failure_name(failure), words);
	assert_int_equal(r->outcome.error,
			 failure >= FAILURE_TIMEOUT_CONNECT &&
					 failure <= FAILURE_TIMEOUT_TOTAL
				 ? ERR_TIMEOUT
				 : ERR_UPSTREAM);
}

/* --- time-outs ------------------------------------------------------- */

static void test_each_timeout_has_its_words(void **state)
{
	static const struct {
		const char *behave, *body;
		struct msg_provider_set set;
		uint64_t grant_ns;
		enum transfer_failure failure;
		const char *words;
	} rows[] = {
		{"stall=before",
		 NULL,
		 {.first_byte_timeout_ms = SHORT_MS},
		 0,
		 FAILURE_TIMEOUT_FIRST_BYTE,
		 "did not answer within 0.3 s (first_byte_timeout_s)"},
		{"stall=headers",
		 BODY_STREAM,
		 {.idle_timeout_ms = SHORT_MS},
		 0,
		 FAILURE_TIMEOUT_IDLE,
		 "sent nothing more within 0.3 s (idle_timeout_s)"},
		{"stall=middle",
		 BODY_STREAM,
		 {.idle_timeout_ms = SHORT_MS},
		 0,
		 FAILURE_TIMEOUT_IDLE,
		 "(idle_timeout_s)"},
		{"deltas=500;gap-ms=20",
		 BODY_STREAM,
		 {.total_timeout_ms = SHORT_MS},
		 0,
		 FAILURE_TIMEOUT_TOTAL,
		 "was not over within 0.3 s (total_timeout_s)"},
		{"deltas=500;gap-ms=20",
		 BODY_STREAM,
		 {.total_timeout_ms = 60000},
		 SHORT_MS * 1000000ull,
		 FAILURE_TIMEOUT_TOTAL,
		 "(limits.request_s)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct broker_rig *r = broker_rig_new(rows[i].behave, NULL);
		struct broker_plan p = {.body = rows[i].body,
					.timeout_ns = rows[i].grant_ns};
		struct msg_provider_set m = rows[i].set;
		char url[64];

		m.name = span_text("p");
		m.kind = span_text("byo");
		m.secret = span_text("test");
		m.endpoint = url_of(url, sizeof(url), "http", &r->provider);
		m.allow_http = 1;
		broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
		run(r, &p);
		expect(r, rows[i].failure, rows[i].words);
		assert_int_equal(r->outcome.sent, 1);
		broker_rig_free(r);
	}
}

static void test_connect_timeout(void **state)
{
	const char *const silent[] = {"tests/lib/fake_upstream.py", "silent",
				      NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct msg_provider_set m;
	struct rig_provider server;
	char url[64];

	(void)state;
	start(r, &server, silent);
	m = plain(r, url, sizeof(url));
	/* TCP connects; TLS never does */
	m.endpoint = url_of(url, sizeof(url), "https", &server);
	m.allow_http = 0;
	m.connect_timeout_ms = SHORT_MS;
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	run(r, &p);
	expect(r, FAILURE_TIMEOUT_CONNECT,
	       "not be connected within 0.3 s (connect_timeout_s)");
	assert_int_equal(r->outcome.sent, 0);
	rig_provider_stop(&server);
	run(r, &p);
	expect(r, FAILURE_CONNECT, "cannot be connected");
	assert_int_equal(r->outcome.sent, 0);
	broker_rig_free(r);
}

/* --- connections ------------------------------------------------------ */

static size_t peers_of(const char *record)
{
	char line[1024], last[32] = "";
	FILE *f = fopen(record, "re");
	size_t count = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "\"peer\": ");

		if (!at || strncmp(at, last, 14) == 0)
			continue;
		(void)snprintf(last, sizeof(last), "%.14s", at);
		count++;
	}
	(void)fclose(f);
	return count;
}

static void test_connections_are_used_again(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};

	(void)state;
	for (int i = 0; i < 5; i++) {
		broker_rig_run(r, &p);
		assert_int_equal(r->outcome.error, ERR_OK);
	}
	assert_int_equal(peers_of(r->provider.record), 1);
	broker_rig_free(r);
}

static void set_tls(struct broker_rig *r, const struct rig_provider *server,
		    uint8_t http_version, const char *ca)
{
	char url[64];
	struct msg_provider_set m = {
		.name = span_text("p"),
		.kind = span_text("byo"),
		.secret = span_text("test"),
		.endpoint = url_of(url, sizeof(url), "https", server),
		.http_version = http_version,
	};
	static char kept[64];

	memcpy(kept, url, sizeof(kept));
	m.endpoint = span_text(kept);
	broker_rig_configure(r, &m, in_folder(ca), ROUTE_MESSAGES, "");
}

static void test_http2(void **state)
{
	const char *const h2[] = {"tests/lib/fake_upstream.py", "h2", "--tls",
				  in_folder("server.pem"), NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {.keep = true};
	struct rig_provider server;

	(void)state;
	start(r, &server, h2);
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.pem");
	for (int i = 0; i < 3; i++) {
		run(r, &p);
		assert_int_equal(r->outcome.error, ERR_OK);
		assert_int_equal(r->outcome.http_status, 200);
		assert_true(broker_rig_body_holds(r, "hello"));
	}
	assert_int_equal(rig_count_in_file(server.record, "\"http2\""), 3);
	assert_int_equal(rig_count_in_file(server.record, "\"connection\": 1"),
			 3);
	assert_int_equal(rig_count_in_file(server.record, KEY), 3);
	/* the same server, told to speak the old version */
	set_tls(r, &server, HTTP_VERSION_1_1, "ca.pem");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(rig_count_in_file(server.record, "\"http1\""), 1);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

static void test_http2_connections_end(void **state)
{
	const char *const goaway[] = {"tests/lib/fake_upstream.py",
				      "h2",
				      "--tls",
				      in_folder("server.pem"),
				      "--goaway",
				      "1",
				      NULL};
	const char *const reset[] = {
		"tests/lib/fake_upstream.py", "h2",      "--tls",
		in_folder("server.pem"),      "--reset", NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct rig_provider server;

	(void)state;
	start(r, &server, goaway);
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.pem");
	for (int i = 0; i < 3; i++) {
		run(r, &p);
		expect_ok(r);
	}
	assert_int_equal(rig_count_in_file(server.record, "\"http2\""), 3);
	assert_int_equal(rig_count_in_file(server.record, "\"connection\": 3"),
			 1);
	rig_provider_stop(&server);
	start(r, &server, reset);
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.pem");
	run(r, &p);
	expect(r, FAILURE_RESET, "broke HTTP/2");
	/* one attempt is one attempt */
	assert_int_equal(rig_count_in_file(server.record, "\"http2\""), 1);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* Sessions share connections; one that does not read must not stop others. */
static void test_a_slow_reader_stops_nobody_else(void **state)
{
	const char *const h2[] = {"tests/lib/fake_upstream.py",
				  "h2",
				  "--tls",
				  in_folder("server.pem"),
				  "--large",
				  "16777216",
				  NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {.keep = true};
	struct rig_provider server;
	int slow;

	(void)state;
	start(r, &server, h2);
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.pem");
	broker_rig_forget(r);
	broker_rig_send_grant(r, &p, false);
	assert_true(rig_wait(&r->loop, broker_rig_has_data, r));
	slow = r->stream;
	r->stream = -1;
	for (int i = 0; i < 5; i++) {
		run(r, &p);
		expect_ok(r);
		assert_true(broker_rig_body_holds(r, "hello"));
	}
	(void)close(slow);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* How often a text lies in a program's memory; -1: it cannot be looked at. */
static long count_in_memory(pid_t pid, const char *text)
{
	static char piece[1 << 20];
	unsigned long from, to;
	char path[64], line[512];
	FILE *maps;
	long count = 0;
	int mem;

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (mem < 0 || !maps)
		return -1;
	while (fgets(line, sizeof(line), maps)) {
		char *end;

		from = strtoul(line, &end, 16);
		to = strtoul(end + 1, &end, 16);
		while (end[1] == 'r' && from < to) {
			size_t want = to - from < sizeof(piece) ? to - from
								: sizeof(piece);
			ssize_t n = pread(mem, piece, want, (off_t)from);
			char *at = piece;

			while (n > 0 &&
			       (at = memmem(at, (size_t)(piece + n - at), text,
					    strlen(text)))) {
				count++;
				at++;
			}
			if (n <= 0 || from + (size_t)n >= to)
				break;
			from += (size_t)n - strlen(text);
		}
	}
	(void)fclose(maps);
	(void)close(mem);
	return count;
}

/* A connection of HTTP/2 keeps its headers; what was freed is overwritten. */
static void test_a_removed_key_is_nowhere(void **state)
{
	const char *const h2[] = {"tests/lib/fake_upstream.py", "h2", "--tls",
				  in_folder("server.pem"), NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct msg_secret_remove remove = {.request = 11,
					   .name = span_text("test")};
	struct broker_plan p = {0};
	struct rig_provider server;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	/* What it frees stays as it was. */
	broker_rig_free(r);
	skip();
#endif
	if (count_in_memory(r->broker, KEY) < 0) {
		broker_rig_free(r);
		skip();
	}
	for (int turn = 0; turn < 2; turn++) {
		start(r, &server, h2);
		set_tls(r, &server, turn ? HTTP_VERSION_1_1 : HTTP_VERSION_AUTO,
			"ca.pem");
		for (int i = 0; i < 3; i++) {
			run(r, &p);
			expect_ok(r);
		}
		assert_true(count_in_memory(r->broker, KEY) > 0);
		r->secrets = 0;
		assert_int_equal(chan_send_secret_remove(r->core, &remove, NULL,
							 0),
				 ERR_OK);
		assert_true(rig_wait(&r->loop, broker_rig_has_secret, r));
		assert_int_equal(r->secret_error, ERR_OK);
		assert_int_equal(count_in_memory(r->broker, KEY), 0);
		run(r, &p);
		assert_int_equal(r->outcome.error, ERR_NOT_FOUND);
		broker_rig_set_secret_named(r, "test", KEY);
		run(r, &p);
		expect_ok(r);
		rig_provider_stop(&server);
	}
	broker_rig_free(r);
}

static void test_private_ca(void **state)
{
	const char *const h2[] = {"tests/lib/fake_upstream.py", "h2", "--tls",
				  in_folder("server.pem"), NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct rig_provider server;

	(void)state;
	start(r, &server, h2);
	set_tls(r, &server, HTTP_VERSION_AUTO, "other.pem");
	run(r, &p);
	expect(r, FAILURE_TLS, "not trusted");
	assert_int_equal(r->outcome.sent, 0);
	/* a key is no certificate */
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.key");
	run(r, &p);
	assert_int_equal(r->outcome.failure, FAILURE_TLS);
	assert_int_equal(rig_count_in_file(server.record, KEY), 0);
	set_tls(r, &server, HTTP_VERSION_AUTO, "ca.pem");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* --- proxies ---------------------------------------------------------- */

static void test_proxy(void **state)
{
	const char *const proxy[] = {"tests/lib/fake_upstream.py", "proxy",
				     "--user", PROXY_USER, NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct rig_provider server;
	struct msg_provider_set m;
	char url[64], proxy_url[64];

	(void)state;
	start(r, &server, proxy);
	m = plain(r, url, sizeof(url));
	m.proxy = url_of(proxy_url, sizeof(proxy_url), "http", &server);
	m.proxy_secret = span_text("corp");
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_NOT_FOUND);
	assert_non_null(strstr(r->text, "the secret 'corp' is not set"));
	broker_rig_set_secret_named(r, "corp", "no colon");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_CONFIG);
	assert_non_null(strstr(r->text, "USER:PASSWORD"));
	assert_int_equal(rig_count_in_file(server.record, "connect"), 0);

	broker_rig_set_secret_named(r, "corp", PROXY_USER);
	for (int i = 0; i < 2; i++) {
		run(r, &p);
		assert_int_equal(r->outcome.error, ERR_OK);
		assert_int_equal(r->outcome.sent, 1);
		assert_int_equal(r->status, 200);
	}
	/* one tunnel; no answer of the proxy's is taken for the provider's */
	assert_int_equal(rig_count_in_file(server.record, "\"CONNECT 127"), 1);
	assert_null(
		memmem(r->headers.data, r->headers.len_bytes, "x-proxy", 7));
	/* neither sees the other's secret */
	assert_int_equal(rig_count_in_file(server.record, KEY), 0);
	assert_int_equal(rig_count_in_file(server.record, "anthropic"), 0);
	assert_int_equal(rig_count_in_file(r->provider.record, "proxy"), 0);
	assert_int_equal(rig_count_in_file(r->provider.record, KEY), 2);

	broker_rig_set_secret_named(r, "corp", "corp:wrong");
	m.endpoint = span_text("http://localhost:9");
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	run(r, &p);
	expect(r, FAILURE_CONNECT, "the proxy refused the connection");
	assert_int_equal(r->outcome.sent, 0);
	assert_int_equal(r->outcome.retry_after_ms, 0);
	rig_provider_stop(&server);
	run(r, &p);
	expect(r, FAILURE_CONNECT, "");
	broker_rig_free(r);
}

static void test_proxy_refuses(void **state)
{
	const char *const refusing[] = {"tests/lib/fake_upstream.py", "proxy",
					"--refuse", "503", NULL};
	const char *const hanging[] = {"tests/lib/fake_upstream.py", "proxy",
				       "--hang", NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct rig_provider server;
	struct msg_provider_set m;
	char url[64], proxy_url[64];

	(void)state;
	start(r, &server, refusing);
	m = plain(r, url, sizeof(url));
	m.proxy = url_of(proxy_url, sizeof(proxy_url), "http", &server);
	m.connect_timeout_ms = SHORT_MS;
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	run(r, &p);
	expect(r, FAILURE_CONNECT, "the proxy refused the connection");
	assert_int_equal(r->outcome.http_status, 0);
	assert_int_equal(r->outcome.sent, 0);
	rig_provider_stop(&server);
	start(r, &server, hanging);
	m.proxy = url_of(proxy_url, sizeof(proxy_url), "http", &server);
	broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
	run(r, &p);
	expect(r, FAILURE_TIMEOUT_CONNECT, "(connect_timeout_s)");
	assert_int_equal(r->outcome.sent, 0);
	assert_false(broker_rig_sent_to_provider(r));
	rig_provider_stop(&server);
	broker_rig_free(r);
}

static void test_tls_through_a_proxy(void **state)
{
	const char *const proxy[] = {"tests/lib/fake_upstream.py", "proxy",
				     NULL};
	const char *const h2[] = {"tests/lib/fake_upstream.py", "h2", "--tls",
				  in_folder("server.pem"), NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct rig_provider server, between;
	struct msg_provider_set m;
	char url[64], proxy_url[64];

	(void)state;
	start(r, &server, h2);
	start(r, &between, proxy);
	m = plain(r, url, sizeof(url));
	m.allow_http = 0;
	m.endpoint = url_of(url, sizeof(url), "https", &server);
	m.proxy = url_of(proxy_url, sizeof(proxy_url), "http", &between);
	broker_rig_configure(r, &m, in_folder("ca.pem"), ROUTE_MESSAGES, "");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(rig_count_in_file(server.record, "\"http2\""), 1);
	assert_int_equal(rig_count_in_file(between.record, KEY), 0);
	rig_provider_stop(&between);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

/* --- keys ------------------------------------------------------------- */

static void test_a_redirect_gets_nothing(void **state)
{
	const char *const other[] = {"tests/lib/fake_provider.py", NULL};
	struct broker_rig *r;
	struct broker_plan p = {0};
	struct rig_provider elsewhere;
	char folder[256], behave[128], url[64];

	(void)state;
	assert_int_equal(rig_temp_dir(folder, sizeof(folder)), 0);
	assert_true(rig_server_start(&elsewhere, folder, other));
	(void)url_of(url, sizeof(url), "http", &elsewhere);
	(void)snprintf(behave, sizeof(behave), "redirect=%s/v1/messages", url);
	r = broker_rig_new(behave, NULL);
	broker_rig_run(r, &p);
	expect(r, FAILURE_PROTOCOL, "redirects are not followed");
	assert_int_equal(rig_count_in_file(elsewhere.record, "event"), 0);
	rig_provider_stop(&elsewhere);
	broker_rig_free(r);
	rig_remove_dir(folder);
}

static void test_ways_of_authentication(void **state)
{
	static const struct {
		const char *auth, *header;
	} rows[] = {
		{"", "[\"x-api-key\", \"" KEY "\"]"},
		{"x-api-key", "[\"x-api-key\", \"" KEY "\"]"},
		{"api-key", "[\"api-key\", \"" KEY "\"]"},
		{"bearer", "[\"authorization\", \"Bearer " KEY "\"]"},
		{"none", NULL},
	};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char url[64];
		struct msg_provider_set m = plain(r, url, sizeof(url));
		size_t before = rig_count_in_file(r->provider.record, KEY);

		m.auth = span_text(rows[i].auth);
		broker_rig_configure(r, &m, NULL, ROUTE_MESSAGES, "");
		run(r, &p);
		assert_int_equal(r->outcome.error, ERR_OK);
		assert_int_equal(rig_count_in_file(r->provider.record, KEY),
				 before + (rows[i].header ? 1 : 0));
		if (rows[i].header)
			assert_true(rig_count_in_file(r->provider.record,
						      rows[i].header) > 0);
	}
	broker_rig_free(r);
}

static void test_aws_signatures(void **state)
{
	static const struct {
		enum route route;
		const char *model, *service;
	} rows[] = {
		{ROUTE_INVOKE, "anthropic.claude-x-v1:0", "/bedrock/aws4"},
		{ROUTE_CONVERSE_STREAM,
		 "arn:aws:bedrock:us-east-1:1:inference-profile/us.m",
		 "/bedrock/aws4"},
		{ROUTE_MESSAGES, "anthropic.claude-x", "/bedrock-mantle/aws4"},
	};
	const char *const aws[] = {"tests/lib/fake_upstream.py", "aws", NULL};
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {.keep = true};
	struct rig_provider server;
	struct msg_provider_set m = {.name = span_text("p"),
				     .kind = span_text("bedrock"),
				     .secret = span_text("aws"),
				     .region = span_text("us-east-1"),
				     .auth = span_text("sigv4"),
				     .allow_http = 1};
	char url[64];

	(void)state;
	start(r, &server, aws);
	m.endpoint = url_of(url, sizeof(url), "http", &server);
	broker_rig_set_secret_named(r, "aws", "one-part-only");
	broker_rig_configure(r, &m, NULL, ROUTE_INVOKE, "m");
	run(r, &p);
	assert_int_equal(r->outcome.error, ERR_CONFIG);
	assert_non_null(strstr(r->text, "ACCESS_KEY_ID:SECRET_ACCESS_KEY"));
	for (int token = 0; token < 2; token++) {
		broker_rig_set_secret_named(r, "aws",
					    token ? AWS_KEY ":" AWS_TOKEN
						  : AWS_KEY);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			broker_rig_configure(r, &m, NULL, rows[i].route,
					     rows[i].model);
			run(r, &p);
			assert_int_equal(r->outcome.error, ERR_OK);
			if (r->status != 200)
				fail_msg("%.*s", (int)r->body.len_bytes,
					 (const char *)r->body.data);
			assert_true(rig_count_in_file(server.record,
						      rows[i].service) > 0);
		}
	}
	assert_int_equal(rig_count_in_file(server.record,
					   "x-amz-security-token"),
			 3 * 2); /* the header, and its name in the list */
	assert_int_equal(rig_count_in_file(server.record, "wJalrXUtn"), 0);
	rig_provider_stop(&server);
	broker_rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_timeout_has_its_words),
		cmocka_unit_test(test_connect_timeout),
		cmocka_unit_test(test_connections_are_used_again),
		cmocka_unit_test(test_http2),
		cmocka_unit_test(test_http2_connections_end),
		cmocka_unit_test(test_a_slow_reader_stops_nobody_else),
		cmocka_unit_test(test_a_removed_key_is_nowhere),
		cmocka_unit_test(test_private_ca),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_proxy_refuses),
		cmocka_unit_test(test_tls_through_a_proxy),
		cmocka_unit_test(test_a_redirect_gets_nothing),
		cmocka_unit_test(test_ways_of_authentication),
		cmocka_unit_test(test_aws_signatures),
	};

	return cmocka_run_group_tests(tests, make_certificates,
				      remove_certificates);
}
