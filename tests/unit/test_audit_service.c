/* SPDX-License-Identifier: Apache-2.0 */
/* test_audit_service.c - kenaz-audit as core and broker see it, jailed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/files.h"
#include "engine/audit/service.h"
#include "engine/audit/source.h"
#include "engine/base/jail.h"
#include "engine/base/memfd.h"
#include "engine/proto/child.h"
#include "tests/lib/auditlog.h"

#define DEADLINE_MS    20000u
#define RELEASE_RECORD 8u /* bytes before a record's payload */

#ifdef __SANITIZE_ADDRESS__
/* Looking for leaks at exit needs system calls that the jail forbids. */
__attribute__((visibility("default"))) const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static struct auditlog dirs;

/* What core got so far. */
static struct {
	uv_loop_t loop;
	uv_timer_t deadline;
	struct chan *chan;
	int release_fd;
	pid_t pid;
	bool late, closed, ready, sealed;
	unsigned int durable, refused, pages, payloads, dumped;
	uint64_t last_seq, last_grant_seen, size, next_seq;
	bool last_page;
	int32_t error;
	char text[REASON_MAX_BYTES + 1];
	struct buf events;
	int payload_fd;
} core;

static void kenaz_audit(int fd)
{
	static const struct chan_handler handler = {service_on_message,
						    service_on_closed};
	char name[] = "kenaz-audit", *argv[] = {name, NULL};
	struct service *service = NULL;
	struct chan *chan = NULL;
	uv_loop_t loop;

	if (dup2(fd, CHAN_CHILD_FD) < 0 || uv_loop_init(&loop) != 0 ||
	    service_new(&loop, &service) != ERR_OK ||
	    child_begin(1, argv, ROLE_AUDIT, &loop, &handler, service, &chan) !=
		    ERR_OK ||
	    jail_enter(JAIL_AUDIT) != ERR_OK)
		_exit(99);
	(void)signal(SIGXFSZ, SIG_IGN);
	close(fd);
	service->core = chan;
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	_exit(98);
}

/* A release must be there before the answer that names its event. */
static void take_releases(void)
{
	uint8_t packet[PACKET_MAX_BYTES];
	struct msg_release m;
	ssize_t n;

	while ((n = recv(core.release_fd, packet, sizeof(packet),
			 MSG_DONTWAIT)) > 0) {
		struct reader r;

		reader_init(&r, span_of(packet, (size_t)n));
		while (reader_left(&r)) {
			uint32_t len = reader_get_u32(&r);

			assert_int_equal(reader_get_u16(&r), MSG_RELEASE);
			(void)reader_get_u16(&r);
			assert_int_equal(
				msg_release_get(reader_get_span(&r, len), &m),
				ERR_OK);
			core.last_grant_seen = m.grant;
			assert_int_equal(m.body_digest[0], 0xbb);
		}
	}
}

static void take_text(struct span s)
{
	assert_int_equal(span_copy_text(s, core.text, sizeof(core.text)),
			 ERR_OK);
}

static enum err on_durable(struct chan_message *cm)
{
	struct msg_audit_durable m;

	assert_int_equal(msg_audit_durable_get(cm->payload, &m), ERR_OK);
	take_releases();
	if (m.request >= 5000)
		assert_true(core.last_grant_seen >= m.request);
	core.durable++;
	core.last_seq = m.seq;
	assert_int_equal(m.id.len_bytes, 26);
	return ERR_OK;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *cm)
{
	struct msg_audit_refused refused;
	struct msg_audit_sealed sealed;
	struct msg_audit_ready ready;
	struct msg_audit_dumped dumped;
	struct msg_audit_page page;
	struct msg_payload payload;
	struct msg_fatal fatal;

	(void)context;
	switch ((int)cm->type) {
	case MSG_HELLO:
		chan_set_state(c, S_RUN);
		return ERR_OK;
	case MSG_AUDIT_READY:
		assert_int_equal(msg_audit_ready_get(cm->payload, &ready),
				 ERR_OK);
		core.ready = true;
		core.size = ready.size;
		take_text(ready.note);
		return ERR_OK;
	case MSG_AUDIT_DURABLE:
		return on_durable(cm);
	case MSG_AUDIT_REFUSED:
		assert_int_equal(msg_audit_refused_get(cm->payload, &refused),
				 ERR_OK);
		core.refused++;
		core.error = refused.error;
		take_text(refused.text);
		return ERR_OK;
	case MSG_AUDIT_SEALED:
		assert_int_equal(msg_audit_sealed_get(cm->payload, &sealed),
				 ERR_OK);
		core.sealed = true;
		return ERR_OK;
	case MSG_AUDIT_PAGE:
		assert_int_equal(msg_audit_page_get(cm->payload, &page),
				 ERR_OK);
		core.pages++;
		core.error = page.error;
		core.next_seq = page.next_seq;
		core.last_page = page.last != 0;
		buf_reset(&core.events);
		return buf_put_span(&core.events, page.events);
	case MSG_AUDIT_DUMPED:
		assert_int_equal(msg_audit_dumped_get(cm->payload, &dumped),
				 ERR_OK);
		core.dumped++;
		core.error = dumped.error;
		return ERR_OK;
	case MSG_PAYLOAD:
		assert_int_equal(msg_payload_get(cm->payload, &payload),
				 ERR_OK);
		core.payloads++;
		core.error = payload.error;
		take_text(payload.text);
		core.payload_fd = -1;
		if (cm->n_fds) {
			core.payload_fd = cm->fds[0];
			cm->fds[0] = -1;
		}
		return ERR_OK;
	case MSG_FATAL:
		assert_int_equal(msg_fatal_get(cm->payload, &fatal), ERR_OK);
		core.error = fatal.error;
		take_text(fatal.text);
		return ERR_OK;
	default:
		return ERR_UNSUPPORTED;
	}
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	(void)context;
	(void)reason;
	core.closed = true;
	chan_free(c);
	core.chan = NULL;
}

static void on_deadline(uv_timer_t *timer)
{
	(void)timer;
	core.late = true;
}

#define WAIT_FOR(condition)                                                    \
	do {                                                                   \
		core.late = false;                                             \
		(void)uv_timer_start(&core.deadline, on_deadline, DEADLINE_MS, \
				     0);                                       \
		while (!(condition) && !core.late)                             \
			(void)uv_run(&core.loop, UV_RUN_ONCE);                 \
		(void)uv_timer_stop(&core.deadline);                           \
		if (core.late)                                                 \
			fail_msg("timed out: %s (%s)", #condition, core.text); \
	} while (0)

static void start_process(void)
{
	static const struct chan_handler handler = {on_message, on_closed};
	int fds[2];

	memset(&core, 0, sizeof(core));
	buf_init(&core.events, 64 * 1024);
	core.release_fd = -1;
	assert_int_equal(chan_pair(fds), ERR_OK);
	core.pid = fork();
	assert_true(core.pid >= 0);
	if (core.pid == 0) {
		close(fds[0]);
		kenaz_audit(fds[1]);
	}
	close(fds[1]);
	assert_int_equal(uv_loop_init(&core.loop), 0);
	assert_int_equal(uv_timer_init(&core.loop, &core.deadline), 0);
	assert_int_equal(chan_new(&core.loop, fds[0], ROLE_CORE, ROLE_AUDIT,
				  &handler, NULL, &core.chan),
			 ERR_OK);
}

static void send_start(void)
{
	struct msg_audit_start m = {.origin = span_text("kenaz.test/service"),
				    .engine_version = span_text("test")};
	int fds[4], release[2];

	assert_int_equal(chan_pair(release), ERR_OK);
	core.release_fd = release[0];
	fds[0] = dup(dirs.log_fd);
	fds[1] = dup(dirs.key_fd);
	fds[2] = dup(dirs.anchor_fd);
	fds[3] = release[1];
	assert_int_equal(chan_send_audit_start(core.chan, &m, fds, 4), ERR_OK);
}

static void start(void)
{
	start_process();
	send_start();
	WAIT_FOR(core.ready || core.closed);
	if (!core.ready)
		fail_msg("not ready: %s", core.text);
}

/* Wait for the end of the process; its exit code. */
static int finish(void)
{
	int status = -1;

	WAIT_FOR(core.closed);
	/* The loop closes the socket a turn later. */
	(void)uv_run(&core.loop, UV_RUN_NOWAIT);
	assert_int_equal(waitpid(core.pid, &status, 0), core.pid);
	core.pid = 0;
	close(core.release_fd);
	buf_fini(&core.events);
	uv_close((uv_handle_t *)&core.deadline, NULL);
	(void)uv_run(&core.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&core.loop), 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void stop(void)
{
	struct msg_audit_stop m = {0};

	assert_int_equal(chan_send_audit_stop(core.chan, &m, NULL, 0), ERR_OK);
	assert_int_equal(finish(), 0);
}

static void append(uint64_t request, const char *kind, const char *session,
		   uint64_t grant)
{
	struct msg_audit_append m = {.request = request,
				     .kind = span_text(kind),
				     .session = span_text(session),
				     .actor = span_text("core"),
				     .grant = grant};

	memset(m.body_digest, 0xbb, sizeof(m.body_digest));
	assert_int_equal(chan_send_audit_append(core.chan, &m, NULL, 0),
			 ERR_OK);
}

static void append_payload(uint64_t request, struct span body, bool inlined)
{
	struct msg_audit_append m = {.request = request,
				     .kind = span_text("prompt.sent"),
				     .session = span_text("s1"),
				     .actor = span_text("core"),
				     .payload_name = span_text("request.body"),
				     .payload_bytes = body.len_bytes};
	int fd = -1;

	if (inlined)
		m.payload_inline = body;
	else
		assert_int_equal(memfd_from_span("body", body, &fd), ERR_OK);
	assert_int_equal(chan_send_audit_append(core.chan, &m, &fd,
						inlined ? 0 : 1),
			 ERR_OK);
}

static int begin(void **state)
{
	(void)state;
	auditlog_make(&dirs);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (core.pid > 0)
		(void)kill(core.pid, SIGKILL);
	auditlog_remove(&dirs);
	return 0;
}

static void assert_verified(uint64_t checkpoints_max)
{
	struct verify_report r;

	if (auditlog_verify(&dirs, &r) != ERR_OK)
		fail_msg("event %llu: %s", (unsigned long long)r.bad_seq,
			 r.what);
	if (checkpoints_max)
		assert_true(r.checkpoints <= checkpoints_max);
}

static void events_of_a_turn_share_a_commit_and_release_grants(void **state)
{
	unsigned int i;

	(void)state;
	start();
	assert_int_equal(core.size, 1);
	for (i = 0; i < 100; i++)
		append(5000 + i, "policy.allow", "s1", 5000 + i);
	WAIT_FOR(core.durable == 100);
	assert_int_equal(core.last_seq, 100);
	assert_int_equal(core.last_grant_seen, 5099);
	stop();
	assert_verified(5);
}

/* The broker was lost and started again: the channel is another. */
static void a_new_release_channel_replaces_the_old_one(void **state)
{
	const struct msg_audit_release m = {0};
	int release[2], old;
	char byte;

	(void)state;
	start();
	append(5000, "policy.allow", "s1", 5000);
	WAIT_FOR(core.durable == 1);
	old = core.release_fd;
	assert_int_equal(chan_pair(release), ERR_OK);
	core.release_fd = release[0];
	core.last_grant_seen = 0;
	assert_int_equal(chan_send_audit_release(core.chan, &m, &release[1], 1),
			 ERR_OK);
	append(5001, "policy.allow", "s1", 5001);
	WAIT_FOR(core.durable == 2);
	assert_int_equal(core.last_grant_seen, 5001);
	/* Nothing of it came the old way, which is closed. */
	assert_int_equal(recv(old, &byte, 1, 0), 0);
	close(old);
	/* The broker's end may be closed before the next one comes. */
	close(core.release_fd);
	append(1, "policy.allow", "s1", 7);
	WAIT_FOR(core.durable == 3);
	assert_int_equal(chan_pair(release), ERR_OK);
	core.release_fd = release[0];
	assert_int_equal(chan_send_audit_release(core.chan, &m, &release[1], 1),
			 ERR_OK);
	append(5002, "policy.allow", "s1", 5002);
	WAIT_FOR(core.durable == 4);
	assert_int_equal(core.last_grant_seen, 5002);
	stop();
	assert_verified(0);
}

static void what_cannot_be_written_is_refused_with_a_sentence(void **state)
{
	struct msg_audit_append m = {.request = 2,
				     .kind = span_text("policy.allow"),
				     .attributes = span_text("garbage"),
				     .payload_name = span_of(NULL, 0)};
	int fd;

	(void)state;
	start();
	append(1, "no.such.kind", "", 7);
	WAIT_FOR(core.refused == 1);
	assert_string_equal(core.text,
			    "the event has a malformed kind, name or text");
	assert_int_equal(chan_send_audit_append(core.chan, &m, NULL, 0),
			 ERR_OK);
	WAIT_FOR(core.refused == 2);
	/* A body that its sender could still change. */
	fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 20000), 0);
	m = (struct msg_audit_append){.request = 3,
				      .kind = span_text("prompt.sent"),
				      .payload_name = span_text("request.body"),
				      .payload_bytes = 20000};
	assert_int_equal(chan_send_audit_append(core.chan, &m, &fd, 1), ERR_OK);
	WAIT_FOR(core.refused == 3);
	assert_string_equal(core.text, "the payload is not a sealed memfd");
	/* None of it was written or released; the next event is. */
	append(4, "policy.allow", "s1", 0);
	WAIT_FOR(core.durable == 1);
	assert_int_equal(core.last_seq, 1);
	take_releases();
	assert_int_equal(core.last_grant_seen, 0);
	stop();
	assert_verified(0);
}

static void ask(uint64_t from, uint32_t max, bool backward, const char *session,
		const char *kind)
{
	struct msg_audit_query m = {.request = 1,
				    .from_seq = from,
				    .max_events = max,
				    .backward = backward,
				    .session = span_text(session),
				    .kind = span_text(kind)};
	unsigned int before = core.pages;

	assert_int_equal(chan_send_audit_query(core.chan, &m, NULL, 0), ERR_OK);
	WAIT_FOR(core.pages == before + 1);
	assert_int_equal(core.error, ERR_OK);
}

/* Number of events in the last page; the seqs must rise. */
static unsigned int page_count(uint64_t *ret_first)
{
	struct record_view view;
	unsigned int count = 0;
	const char *fault;
	uint64_t last = 0;
	struct reader r;

	reader_init(&r, buf_span(&core.events));
	while (reader_left(&r)) {
		struct span bytes = reader_get_lp(&r, RECORD_MAX_BYTES);

		assert_int_equal(record_read(bytes, &view, &fault), ERR_OK);
		if (count == 0)
			*ret_first = view.seq;
		else
			assert_true(view.seq > last);
		last = view.seq;
		count++;
	}
	return count;
}

static void queries_page_through_the_log(void **state)
{
	unsigned int i, seen;
	uint64_t first = 0;

	(void)state;
	start();
	for (i = 0; i < 1500; i++)
		append(i, i % 100 == 7 ? "policy.deny" : "policy.allow",
		       i % 2 ? "s1" : "s2", 0);
	WAIT_FOR(core.durable == 1500);
	ask(0, 10, false, "", "");
	assert_int_equal(page_count(&first), 10);
	assert_int_equal(first, 0);
	assert_int_equal(core.next_seq, 10);
	assert_false(core.last_page);
	/* All of it, page by page. */
	for (seen = 0, core.next_seq = 0, core.last_page = false;
	     !core.last_page;) {
		ask(core.next_seq, 1000, false, "", "");
		seen += page_count(&first);
	}
	assert_int_equal(seen, 1501);
	/* Filters look past what they do not want. */
	ask(0, 1000, false, "s1", "policy.deny");
	assert_int_equal(page_count(&first), 15);
	assert_int_equal(first, 8);
	assert_true(core.last_page);
	ask(0, 1000, false, "s2", "policy.deny");
	assert_int_equal(page_count(&first), 0);
	/* Backwards: the newest ones, oldest first in the page. */
	ask(UINT64_MAX, 5, true, "", "");
	assert_int_equal(page_count(&first), 5);
	assert_int_equal(first, 1496);
	assert_int_equal(core.next_seq, 1495);
	ask(UINT64_MAX, 3, true, "", "policy.deny");
	assert_int_equal(page_count(&first), 3);
	assert_int_equal(first, 1208);
	ask(4, 10, true, "", "");
	assert_int_equal(page_count(&first), 5);
	assert_int_equal(first, 0);
	assert_true(core.last_page);
	stop();
}

static void append_start(uint64_t request, const char *kind,
			 const char *session, const char *key,
			 const char *value)
{
	struct msg_audit_append m = {.request = request,
				     .kind = span_text(kind),
				     .session = span_text(session),
				     .actor = span_text("core")};
	struct buf attrs;

	buf_init(&attrs, 1024);
	assert_int_equal(attrs_put_text(&attrs, key, span_text(value)), ERR_OK);
	m.attributes = buf_span(&attrs);
	assert_int_equal(chan_send_audit_append(core.chan, &m, NULL, 0),
			 ERR_OK);
	buf_fini(&attrs);
}

static unsigned int count_by_image(const char *image, bool backward)
{
	struct msg_audit_query m = {.request = 1,
				    .from_seq = backward ? UINT64_MAX : 0,
				    .max_events = 1000,
				    .backward = backward,
				    .image = span_text(image)};
	unsigned int before = core.pages;
	uint64_t first;

	assert_int_equal(chan_send_audit_query(core.chan, &m, NULL, 0), ERR_OK);
	WAIT_FOR(core.pages == before + 1);
	assert_int_equal(core.error, ERR_OK);
	assert_true(core.last_page);
	return page_count(&first);
}

/* What ran on an image: all events of its sessions, found from either end. */
static void events_are_found_by_image(void **state)
{
	unsigned int i;

	(void)state;
	start();
	append_start(0, "vm.start", "s1", "kenaz.image.name", "mini");
	append_start(1, "vm.start", "s2", "kenaz.image.manifest",
		     "00112233445566778899");
	/* It waited for its session: only session.start names that. */
	append_start(2, "session.start", "s3", "kenaz.vm.fingerprint",
		     "ffeeddccbbaa99887766");
	append_start(3, "prompt.sent", "s4", "kenaz.image.name", "mini");
	for (i = 4; i < 604; i++)
		append(i, "policy.allow", i % 4 ? "s4" : "s1", 0);
	append(i, "session.end", "s2", 0);
	WAIT_FOR(core.durable == 605);
	assert_int_equal(count_by_image("mini", false), 151);
	assert_int_equal(count_by_image("mini", true), 151);
	assert_int_equal(count_by_image("00112233", false), 2);
	assert_int_equal(count_by_image("ffeeddccbbaa99887766", true), 1);
	assert_int_equal(count_by_image("0011223", false), 0);
	assert_int_equal(count_by_image("min", false), 0);
	assert_int_equal(count_by_image("1122334455", false), 0);
	stop();
}

static void read_payload(uint64_t seq, struct span expected)
{
	struct msg_payload_read m = {.request = 1,
				     .seq = seq,
				     .actor = span_text("user:auditor")};
	unsigned int before = core.payloads;
	struct body body = {0};

	assert_int_equal(chan_send_payload_read(core.chan, &m, NULL, 0),
			 ERR_OK);
	WAIT_FOR(core.payloads == before + 1);
	assert_int_equal(core.error, ERR_OK);
	assert_int_equal(body_open(span_of(NULL, 0), core.payload_fd,
				   expected.len_bytes, expected.len_bytes,
				   &body),
			 ERR_OK);
	assert_true(span_equal(body.bytes, expected));
	body_close(&body);
	close(core.payload_fd);
}

static void a_payload_is_read_after_the_log_says_so(void **state)
{
	static uint8_t big[100000];
	struct msg_payload_read m = {.request = 9, .seq = 0};
	uint64_t first = 0;

	(void)state;
	randombytes_buf(big, sizeof(big));
	start();
	append_payload(1, span_text("small body"), true);
	append_payload(2, span_of(big, sizeof(big)), false);
	WAIT_FOR(core.durable == 2);
	read_payload(1, span_text("small body"));
	read_payload(2, span_of(big, sizeof(big)));
	ask(0, 100, false, "s1", "payload.read");
	assert_int_equal(page_count(&first), 2);
	assert_int_equal(first, 3);
	assert_int_equal(chan_send_payload_read(core.chan, &m, NULL, 0),
			 ERR_OK);
	WAIT_FOR(core.payloads == 3);
	assert_int_equal(core.error, ERR_NOT_FOUND);
	stop();
	assert_verified(0);
}

static void a_dump_of_a_running_log_is_verified(void **state)
{
	struct msg_audit_dump m = {.request = 1};
	struct verify v;
	struct buf why;
	int fds[2], status = -1;
	unsigned int i;
	pid_t reader;

	(void)state;
	start();
	for (i = 0; i < 900; i++)
		append(i, "policy.allow", "s1", 0);
	append_payload(900, span_text("body"), true);
	WAIT_FOR(core.durable == 901);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    fds),
			 0);
	reader = fork();
	if (reader == 0) {
		close(fds[0]);
		buf_init(&why, 1024);
		verify_init(&v);
		if (source_stream(fds[1], &v, &why) != ERR_OK ||
		    verify_finish(&v) != ERR_OK || v.report.events != 902 ||
		    v.report.payloads != 1)
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(chan_send_audit_dump(core.chan, &m, fds, 1), ERR_OK);
	/* Appends go on meanwhile. */
	append(1000, "policy.allow", "s1", 0);
	WAIT_FOR(core.dumped == 1 && core.durable == 902);
	assert_int_equal(core.error, ERR_OK);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
	stop();
}

static void a_dump_that_nobody_reads_harms_nobody(void **state)
{
	struct msg_audit_dump m = {.request = 1};
	unsigned int i;
	int fds[2];

	(void)state;
	start();
	for (i = 0; i < 2000; i++)
		append(i, "policy.allow", "s1", 0);
	WAIT_FOR(core.durable == 2000);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(chan_send_audit_dump(core.chan, &m, fds + 1, 1),
			 ERR_OK);
	append(1, "policy.allow", "s1", 0);
	WAIT_FOR(core.durable == 2001);
	assert_int_equal(core.dumped, 0);
	close(fds[0]);
	WAIT_FOR(core.dumped == 1);
	assert_int_equal(core.error, ERR_CLOSED);
	stop();
}

static void a_killed_audit_names_what_has_no_outcome(void **state)
{
	uint64_t first = 0;

	(void)state;
	start();
	append(1, "prompt.sent", "s1", 0);
	WAIT_FOR(core.durable == 1);
	assert_int_equal(kill(core.pid, SIGKILL), 0);
	assert_int_equal(finish(), 128);
	start();
	assert_non_null(strstr(core.text, "not closed cleanly"));
	ask(0, 10, false, "", "log.recovered");
	assert_int_equal(page_count(&first), 1);
	stop();
	assert_verified(0);
}

static void a_log_behind_its_anchor_ends_the_start(void **state)
{
	(void)state;
	start();
	append(1, "policy.allow", "", 0);
	WAIT_FOR(core.durable == 1);
	stop();
	assert_int_equal(files_remove(dirs.log_fd, DB_FILE), ERR_OK);
	start_process();
	send_start();
	assert_int_equal(finish(), 1);
	assert_int_equal(core.error, ERR_INTEGRITY);
	assert_non_null(strstr(core.text, "its anchor says that it had 2"));
	assert_non_null(strstr(core.text, "--new-origin"));
}

static void when_core_goes_the_log_is_closed(void **state)
{
	(void)state;
	start();
	append(1, "policy.allow", "", 0);
	WAIT_FOR(core.durable == 1);
	chan_close(core.chan);
	assert_int_equal(finish(), 0);
	assert_verified(0);
}

/* Child: limits its own files, then is kenaz-audit. */
static void a_write_error_refuses_everything(void **state)
{
	static char big[40000];
	struct msg_audit_append m = {.request = 1,
				     .kind = span_text("policy.allow"),
				     .grant = 1};
	char command[64];
	struct buf attrs;
	unsigned int i;

	(void)state;
	start();
	(void)snprintf(command, sizeof(command), "%d", (int)core.pid);
	if (fork() == 0) {
		execlp("prlimit", "prlimit", "--pid", command,
		       "--fsize=20480:20480", NULL);
		_exit(127);
	}
	int status = -1;
	assert_true(waitpid(-1, &status, 0) > 0);
	if (status != 0)
		skip();
	memset(big, 'x', sizeof(big) - 1);
	buf_init(&attrs, EVENT_FIELDS_MAX_BYTES);
	assert_int_equal(attrs_put_text(&attrs, "kenaz.x", span_text(big)),
			 ERR_OK);
	m.attributes = buf_span(&attrs);
	memset(m.body_digest, 0xbb, sizeof(m.body_digest));
	for (i = 0; i < 3; i++) {
		assert_int_equal(chan_send_audit_append(core.chan, &m, NULL, 0),
				 ERR_OK);
		WAIT_FOR(core.refused == i + 1);
		assert_int_equal(core.error, ERR_SEALED);
		assert_non_null(
			strstr(core.text, "the audit log cannot be written"));
	}
	assert_true(core.sealed);
	take_releases();
	assert_int_equal(core.last_grant_seen, 0);
	/* What is there can still be read. */
	ask(0, 10, false, "", "");
	stop();
	buf_fini(&attrs);
	start();
	append(1, "policy.allow", "", 0);
	WAIT_FOR(core.durable == 1);
	stop();
	assert_verified(0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(events_of_a_turn_share_a_commit_and_release_grants),
		T(a_new_release_channel_replaces_the_old_one),
		T(what_cannot_be_written_is_refused_with_a_sentence),
		T(queries_page_through_the_log),
		T(events_are_found_by_image),
		T(a_payload_is_read_after_the_log_says_so),
		T(a_dump_of_a_running_log_is_verified),
		T(a_dump_that_nobody_reads_harms_nobody),
		T(a_killed_audit_names_what_has_no_outcome),
		T(a_log_behind_its_anchor_ends_the_start),
		T(when_core_goes_the_log_is_closed),
		T(a_write_error_refuses_everything),
	};

	if (digest_init() != ERR_OK || sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
