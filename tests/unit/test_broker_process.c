/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_broker_process.c - the real kenaz-broker between a test that plays
 * core, audit and gate, and a real HTTP server that plays the provider
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/proto/attrs.h"
#include "engine/proto/respframe.h"
#include "engine/providers/route.h"
#include "tests/lib/broker_rig.h"

/* --- tests ---------------------------------------------------------- */

static void test_plain(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {.keep = true};
	uint8_t digest[DIGEST_BYTES];
	struct attr a;

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->status, 200);
	assert_int_equal(r->outcome.http_status, 200);
	assert_int_equal(r->outcome.sent, 1);
	assert_int_equal(r->outcome.key_echoed, 0);
	assert_int_equal(r->outcome.request_bytes, strlen(BODY_PLAIN));
	assert_int_equal(r->outcome.response_bytes, r->body.len_bytes);
	digest_sha256(buf_span(&r->body), digest);
	assert_memory_equal(digest, r->outcome.response_digest, DIGEST_BYTES);
	assert_true(span_equal(buf_span(&r->log_copy), buf_span(&r->body)));
	assert_true(broker_rig_body_holds(r, "Hello from the fake provider."));
	assert_true(r->outcome.first_byte_ns > 0);
	/* allowed headers pass, others do not */
	assert_true(attrs_find(buf_span(&r->headers), "request-id", &a));
	assert_true(attrs_find(buf_span(&r->headers), "content-type", &a));
	assert_false(attrs_find(buf_span(&r->headers), "set-cookie", &a));
	assert_false(attrs_find(buf_span(&r->headers), "content-length", &a));
	/* the key went up, in its header only; the beta came along */
	assert_int_equal(rig_count_in_file(r->provider.record, KEY), 1);
	assert_int_equal(rig_count_in_file(r->provider.record,
					   "[\"x-api-key\", \"" KEY "\"]"),
			 1);
	assert_int_equal(rig_count_in_file(r->provider.record,
					   "[\"anthropic-beta\", \"b-1\"]"),
			 1);
	assert_int_equal(rig_count_in_file(r->provider.record, "expect"), 0);
	/* once more on the same connection, released before it is granted */
	p.release_first = true;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	/* and without anybody listening */
	p.no_stream = true;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_true(r->log_copy.len_bytes > 0);
	broker_rig_free(r);
}

static void test_stream_in_small_pieces(void **state)
{
	struct broker_rig *r = broker_rig_new("chunk=1", NULL);
	struct broker_plan p = {.body = BODY_STREAM};

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_true(broker_rig_body_holds(r, "event: message_start"));
	assert_true(broker_rig_body_holds(r, "event: message_stop"));
	assert_int_equal(r->log_copy.len_bytes, 0);
	broker_rig_free(r);
}

static void test_large_bodies(void **state)
{
	size_t len = 3 * 1024 * 1024;
	char *body = malloc(len);
	struct broker_rig *r = broker_rig_new("huge=5000000", NULL);
	struct broker_plan p = {.body = body, .body_bytes = len, .keep = true};

	(void)state;
	assert_non_null(body);
	memset(body, 'x', len);
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->outcome.request_bytes, len);
	assert_true(r->body.len_bytes > 5000000);
	assert_true(span_equal(buf_span(&r->log_copy), buf_span(&r->body)));
	p.max_bytes = 1000000;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_LIMIT);
	assert_true(r->body.len_bytes <= 1000000);
	broker_rig_free(r);
	free(body);
}

static void test_nothing_is_sent_without_a_release(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {.no_release = true, .timeout_ns = 300000000};

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_TIMEOUT);
	p = (struct broker_plan){.wrong_release = true};
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_INTEGRITY);
	p.release_first = true;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_INTEGRITY);
	p = (struct broker_plan){.wrong_header = true};
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_INTEGRITY);
	p = (struct broker_plan){.wrong_body = true};
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_INTEGRITY);
	assert_int_equal(r->outcome.sent, 0);
	assert_false(broker_rig_sent_to_provider(r));
	broker_rig_free(r);
}

static void test_lost_audit(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct msg_release_channel m = {0};
	struct broker_plan p = {.no_release = true};
	int fd;

	(void)state;
	broker_rig_forget(r);
	broker_rig_send_grant(r, &p, false);
	chan_free(r->audit);
	r->audit = NULL;
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->outcome.error, ERR_SEALED);
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_SEALED);
	assert_false(broker_rig_sent_to_provider(r));
	broker_rig_open_audit(r, &fd);
	assert_int_equal(chan_send_release_channel(r->core, &m, &fd, 1),
			 ERR_OK);
	assert_int_equal(chan_flush(r->core), ERR_OK);
	p.no_release = false;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	broker_rig_free(r);
}

static void test_provider_refusals(void **state)
{
	struct broker_rig *r = broker_rig_new("status=429;retry-after=7", NULL);
	struct broker_plan p = {0};
	struct attr a;

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->status, 429);
	assert_int_equal(r->outcome.failure, FAILURE_HTTP);
	assert_int_equal(r->outcome.retry_after_ms, 7000);
	assert_true(attrs_find(buf_span(&r->headers), "retry-after", &a));
	assert_true(span_is(a.text, "7"));
	assert_true(broker_rig_body_holds(r, "rate_limit_error"));
	broker_rig_free(r);
}

static void expect_failure(const char *behave, const char *body, bool has_head,
			   enum err error, enum transfer_failure failure)
{
	struct broker_rig *r = broker_rig_new(behave, NULL);
	struct broker_plan p = {.body = body};

	broker_rig_run(r, &p);
	if (r->outcome.error != error)
		fail_msg("%s: %d %s", behave, r->outcome.error, r->text);
	assert_int_equal(r->outcome.failure, failure);
	assert_int_equal(r->head, has_head);
	assert_int_equal(r->outcome.sent, 1);
	/* one attempt is one attempt */
	assert_int_equal(rig_count_in_file(r->provider.record,
					   "\"event\": \"request\""),
			 1);
	broker_rig_free(r);
}

static void test_misbehaviour(void **state)
{
	(void)state;
	expect_failure("redirect=https://elsewhere.example/", NULL, false,
		       ERR_UPSTREAM, FAILURE_PROTOCOL);
	expect_failure("truncate=20", NULL, true, ERR_UPSTREAM, FAILURE_RESET);
	expect_failure("truncate=200", BODY_STREAM, true, ERR_UPSTREAM,
		       FAILURE_RESET);
	expect_failure("garbage", NULL, false, ERR_UPSTREAM, FAILURE_PROTOCOL);
	expect_failure("gzip", NULL, false, ERR_UPSTREAM, FAILURE_PROTOCOL);
	expect_failure("headers=900", NULL, false, ERR_LIMIT,
		       FAILURE_TOO_LARGE);
}

static void test_stall_times_out(void **state)
{
	struct broker_rig *r = broker_rig_new("stall=before", NULL);
	struct broker_plan p = {.timeout_ns = 500000000};

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_TIMEOUT);
	assert_int_equal(r->outcome.failure, FAILURE_TIMEOUT_TOTAL);
	assert_true(rig_wait(&r->loop, broker_rig_provider_noticed, r));
	broker_rig_free(r);
}

static void test_key_echo(void **state)
{
	struct broker_rig *r = broker_rig_new("echo=body;echo-split=3", NULL);
	struct broker_plan p = {.keep = true};

	(void)state;
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->outcome.key_echoed, 1);
	assert_true(broker_rig_body_holds(r, "before [key] after"));
	assert_false(broker_rig_body_holds(r, KEY));
	assert_true(span_equal(buf_span(&r->log_copy), buf_span(&r->body)));
	broker_rig_free(r);
	r = broker_rig_new("echo=header", NULL);
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.key_echoed, 1);
	assert_null(memmem(r->headers.data, r->headers.len_bytes, KEY,
			   strlen(KEY)));
	assert_non_null(
		memmem(r->headers.data, r->headers.len_bytes, "<[key]>", 7));
	broker_rig_free(r);
}

static void test_cancel(void **state)
{
	struct broker_rig *r = broker_rig_new("stall=middle", NULL);
	struct msg_grant_cancel m;
	struct broker_plan p = {.body = BODY_STREAM};

	(void)state;
	broker_rig_send_grant(r, &p, false);
	assert_true(rig_wait(&r->loop, broker_rig_has_data, r));
	assert_true(rig_wait(&r->loop, broker_rig_provider_stalls, r));
	assert_false(broker_rig_provider_noticed(r));
	m.grant = r->last_grant;
	assert_int_equal(chan_send_grant_cancel(r->core, &m, NULL, 0), ERR_OK);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->outcome.error, ERR_CANCELLED);
	assert_int_equal(r->outcome.failure, FAILURE_LOCAL);
	assert_int_equal(r->outcome.http_status, 200);
	assert_true(r->outcome.response_bytes > 0);
	assert_true(rig_wait(&r->loop, broker_rig_provider_noticed, r));
	broker_rig_free(r);
}

static void test_gate_hangs_up(void **state)
{
	struct broker_rig *r = broker_rig_new("stall=middle", NULL);
	struct broker_plan p = {.body = BODY_STREAM};

	(void)state;
	broker_rig_send_grant(r, &p, false);
	assert_true(rig_wait(&r->loop, broker_rig_has_data, r));
	close(r->stream);
	r->stream = -1;
	assert_true(rig_wait(&r->loop, broker_rig_is_done, r));
	assert_int_equal(r->outcome.error, ERR_CANCELLED);
	assert_true(rig_wait(&r->loop, broker_rig_provider_noticed, r));
	broker_rig_free(r);
}

static void test_slow_gate_stops_the_provider(void **state)
{
	struct broker_rig *r = broker_rig_new("huge=12000000", NULL);
	struct broker_plan p = {0};

	(void)state;
	broker_rig_send_grant(r, &p, false);
	assert_true(rig_wait(&r->loop, broker_rig_provider_got_it, r));
	assert_int_equal(r->done, 0);
	/* nobody reads: the answer does not fit into all buffers together */
	assert_int_equal(rig_count_in_file(r->provider.record,
					   "\"outcome\": \"ok\""),
			 0);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_true(r->body.len_bytes > 12000000);
	broker_rig_free(r);
}

static void make_certificates(char *dir, size_t cap)
{
	const char *arguments[] = {dir, NULL};
	int status;
	pid_t pid;

	assert_int_equal(rig_temp_dir(dir, cap), 0);
	pid = rig_spawn("tests/lib/make_ca.sh", arguments, NULL, 0);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void run_tls(struct broker_rig *r, const struct broker_plan *p,
		    const char *dir, const char *ca)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, ca ? ca : "");
	broker_rig_set_provider(r, "https", ca ? path : NULL, false);
	broker_rig_forget(r);
	broker_rig_send_grant(r, p, true);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
}

static void test_tls(void **state)
{
	char dir[256], pem[512];
	struct broker_plan p = {0};
	struct broker_rig *r;

	(void)state;
	make_certificates(dir, sizeof(dir));
	(void)snprintf(pem, sizeof(pem), "%s/server.pem", dir);
	r = broker_rig_new("", pem);
	/* a certificate that another CA signed */
	run_tls(r, &p, dir, "other.pem");
	assert_int_equal(r->outcome.error, ERR_UPSTREAM);
	assert_non_null(strstr(r->text, "not trusted"));
	assert_int_equal(r->outcome.failure, FAILURE_TLS);
	/* the system's certificates do not know it either */
	run_tls(r, &p, dir, NULL);
	assert_int_equal(r->outcome.error, ERR_UPSTREAM);
	assert_int_equal(r->outcome.sent, 0);
	assert_false(broker_rig_sent_to_provider(r));
	run_tls(r, &p, dir, "ca.pem");
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(r->status, 200);
	broker_rig_free(r);
	rig_remove_dir(dir);
}

/* nginx in front of the fake provider speaks HTTP/2. */
static pid_t start_nginx(struct broker_rig *r, const char *dir)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	char path[512], prefix[512];
	const char *arguments[] = {"-p", prefix, "-c", path, NULL};
	FILE *f;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	(void)snprintf(prefix, sizeof(prefix), "%s", dir);
	(void)snprintf(path, sizeof(path), "%s/nginx.conf", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(f,
		      "daemon off; master_process off; pid %s/pid;\n"
		      "error_log %s/error.log; events {}\n"
		      "http { access_log off; server {\n"
		      "listen 127.0.0.1:%u ssl http2;\n"
		      "client_body_temp_path %s; proxy_temp_path %s;\n"
		      "ssl_certificate %s/server.pem;\n"
		      "ssl_certificate_key %s/server.pem;\n"
		      "location / { proxy_pass http://127.0.0.1:%u;\n"
		      "proxy_http_version 1.1; proxy_buffering off; } } }\n",
		      dir, dir, (unsigned)ntohs(in.sin_port), dir, dir, dir,
		      dir, (unsigned)r->provider.port);
	assert_int_equal(fclose(f), 0);
	r->provider.port = ntohs(in.sin_port);
	return rig_spawn("/usr/sbin/nginx", arguments, NULL, 0);
}

static bool listens(void *context)
{
	struct broker_rig *r = context;
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	in.sin_port = htons(r->provider.port);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ok = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0;
	close(fd);
	return ok;
}

static void test_http2(void **state)
{
	struct broker_plan p = {.body = BODY_STREAM};
	char dir[256];
	struct broker_rig *r;
	pid_t nginx;

	(void)state;
	if (access("/usr/sbin/nginx", X_OK) != 0) {
		print_message("nginx is not installed\n");
		skip();
	}
	make_certificates(dir, sizeof(dir));
	r = broker_rig_new("huge=6000000;deltas=100", NULL);
	nginx = start_nginx(r, dir);
	assert_true(rig_wait(&r->loop, listens, r));
	run_tls(r, &p, dir, "ca.pem");
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_true(r->body.len_bytes > 6000000);
	assert_true(broker_rig_body_holds(r, "message_stop"));
	/* nobody reads for a while, then the client hangs up */
	broker_rig_forget(r);
	broker_rig_send_grant(r, &p, true);
	assert_true(rig_wait(&r->loop, broker_rig_has_data, r));
	close(r->stream);
	r->stream = -1;
	assert_true(rig_wait(&r->loop, broker_rig_is_done, r));
	assert_int_equal(r->outcome.error, ERR_CANCELLED);
	/* the connection is still good for another one */
	run_tls(r, &p, dir, "ca.pem");
	assert_int_equal(r->outcome.error, ERR_OK);
	rig_kill(nginx);
	broker_rig_free(r);
	rig_remove_dir(dir);
}

static void test_plain_http_needs_permission(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct msg_provider_set m = {.name = span_text("q"),
				     .kind = span_text("byo"),
				     .endpoint = span_text("http://127.0.0.1")};
	struct msg_grant g = {.grant = 77,
			      .provider = span_text("q"),
			      .route = ROUTE_MESSAGES};

	(void)state;
	assert_int_equal(chan_send_provider_set(r->core, &m, NULL, 0), ERR_OK);
	assert_int_equal(chan_send_grant(r->core, &g, NULL, 0), ERR_OK);
	assert_true(rig_wait(&r->loop, broker_rig_is_done, r));
	assert_int_equal(r->outcome.error, ERR_NOT_FOUND);
	broker_rig_free(r);
}

static pid_t start_scripted(struct broker_rig *r, int *ret_channel)
{
	static const char *const arguments[] = {"--listen-fd", "4", NULL};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[4096];
	int fds[2], pass[2];
	pid_t pid;

	if (rig_program_path("kenaz-scripted", path, sizeof(path)) != 0)
		return -1;
	assert_true(strlen(r->scripted) < sizeof(address.sun_path));
	memcpy(address.sun_path, r->scripted, strlen(r->scripted));
	assert_int_equal(chan_pair(fds), ERR_OK);
	*ret_channel = fds[0];
	pass[0] = fds[1];
	pass[1] =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(pass[1], (struct sockaddr *)&address,
			      sizeof(address)),
			 0);
	assert_int_equal(listen(pass[1], 64), 0);
	pid = rig_spawn(path, arguments, pass, 2);
	close(pass[0]);
	close(pass[1]);
	return pid;
}

static void test_scripted(void **state)
{
	static const char body[] =
		"{\"model\":\"kenaz-scripted\",\"stream\":true,\"messages\":"
		"[{\"role\":\"user\",\"content\":\"scenario: long\"}]}";
	struct broker_rig *r = broker_rig_new("", NULL);
	struct msg_provider_set set = {.name = span_text("p"),
				       .kind = span_text("scripted")};
	struct route_target target = {
		.kind = provider_find(span_text("scripted"))};
	struct msg_grant g = {.grant = 1,
			      .provider = span_text("p"),
			      .route = ROUTE_MESSAGES,
			      .has_stream = 1,
			      .body_bytes = sizeof(body) - 1,
			      .body_inline = span_text(body)};
	struct route_values none = {0};
	struct route_request request;
	int channel = -1, pair[2];
	struct attr a;
	pid_t pid = start_scripted(r, &channel);

	(void)state;
	if (pid < 0) {
		broker_rig_free(r);
		skip();
	}
	assert_int_equal(route_build(&target, ROUTE_MESSAGES, &none, &request),
			 ERR_OK);
	assert_int_equal(route_header_digest(&request, g.header_digest),
			 ERR_OK);
	digest_sha256(span_text(body), g.body_digest);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    pair),
			 0);
	r->stream = pair[0];
	assert_int_equal(chan_send_provider_set(r->core, &set, NULL, 0),
			 ERR_OK);
	assert_int_equal(chan_send_grant(r->core, &g, &pair[1], 1), ERR_OK);
	broker_rig_send_release(r, &g, false);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	if (r->outcome.error != ERR_OK)
		fail_msg("%s", r->text);
	assert_true(attrs_find(buf_span(&r->headers), "x-kenaz-scripted", &a));
	assert_true(r->body.len_bytes > 200 * 1024);
	assert_true(broker_rig_body_holds(r, "message_stop"));
	close(channel);
	rig_kill(pid);
	broker_rig_free(r);
}

static void test_secrets(void **state)
{
	static char big[9000];
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan p = {0};
	struct msg_secret_remove m = {.request = 1, .name = span_text("test")};

	(void)state;
	assert_string_equal(broker_rig_set_secret(r, KEY "\n", sizeof(KEY)),
			    "{\"jsonrpc\":\"2.0\",\"id\":\"id-7\",\"result\":{"
			    "\"name\":\"test\",\"version\":2}}\n");
	assert_non_null(strstr(broker_rig_set_secret(r, "\n", 1), "\"error\""));
	assert_int_equal(r->secret_error, ERR_SHORT);
	assert_non_null(
		strstr(broker_rig_set_secret(r, "a\nb\n", 4), "\"format\""));
	/* The client died while it sent the key. */
	assert_non_null(
		strstr(broker_rig_set_secret(r, KEY, strlen(KEY)), "cut off"));
	assert_int_equal(r->secret_error, ERR_CLOSED);
	assert_non_null(strstr(broker_rig_set_secret(r, "", 0), "cut off"));
	memset(big, 'a', sizeof(big));
	big[8193] = '\n';
	assert_non_null(
		strstr(broker_rig_set_secret(r, big, 8194), "\"limit\""));
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	r->secrets = 0;
	assert_int_equal(chan_send_secret_remove(r->core, &m, NULL, 0), ERR_OK);
	assert_true(rig_wait(&r->loop, broker_rig_has_secret, r));
	assert_int_equal(r->secret_error, ERR_OK);
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_NOT_FOUND);
	assert_non_null(strstr(r->text, "kenaz secret set test"));
	broker_rig_free(r);
}

#define SECOND_KEY "sk-test-cdcdcdcd-9876543210-f00d"

/* What was granted keeps its key; what is granted next has the new one. */
static void test_rotation_under_way(void **state)
{
	struct broker_rig *r = broker_rig_new("", NULL);
	struct broker_plan held = {.no_release = true}, p = {0};

	(void)state;
	broker_rig_forget(r);
	broker_rig_send_grant(r, &held, false);
	assert_non_null(strstr(broker_rig_set_secret(r, SECOND_KEY "\n",
						     sizeof(SECOND_KEY)),
			       "\"version\":2"));
	broker_rig_send_release(r, &r->granted, false);
	assert_true(rig_wait(&r->loop, broker_rig_is_over, r));
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(rig_count_in_file(r->provider.record, KEY), 1);
	assert_int_equal(rig_count_in_file(r->provider.record, SECOND_KEY), 0);
	broker_rig_run(r, &p);
	assert_int_equal(r->outcome.error, ERR_OK);
	assert_int_equal(rig_count_in_file(r->provider.record, KEY), 1);
	assert_int_equal(rig_count_in_file(r->provider.record, SECOND_KEY), 1);
	broker_rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_stream_in_small_pieces),
		cmocka_unit_test(test_large_bodies),
		cmocka_unit_test(test_nothing_is_sent_without_a_release),
		cmocka_unit_test(test_lost_audit),
		cmocka_unit_test(test_provider_refusals),
		cmocka_unit_test(test_misbehaviour),
		cmocka_unit_test(test_stall_times_out),
		cmocka_unit_test(test_key_echo),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_gate_hangs_up),
		cmocka_unit_test(test_slow_gate_stops_the_provider),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_http2),
		cmocka_unit_test(test_plain_http_needs_permission),
		cmocka_unit_test(test_scripted),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_rotation_under_way),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
