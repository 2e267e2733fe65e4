/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - the log on disk: durable, recovered, refused, sealed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/audit/anchor.h"
#include "engine/audit/files.h"
#include "tests/lib/auditlog.h"

#define PAYLOAD_TEST_MAX (16u * 1024 * 1024)

static struct auditlog log_;

static int begin(void **state)
{
	(void)state;
	auditlog_make(&log_);
	return 0;
}

static int end(void **state)
{
	(void)state;
	auditlog_remove(&log_);
	return 0;
}

static void assert_event_has(uint64_t seq, const char *text)
{
	struct buf bytes;
	const char *event = "";

	buf_init(&bytes, RECORD_MAX_BYTES + 1);
	auditlog_event(&log_, seq, &bytes);
	assert_int_equal(buf_terminate(&bytes, &event), ERR_OK);
	if (!strstr(event, text))
		fail_msg("event %llu lacks %s: %s", (unsigned long long)seq,
			 text, event);
	buf_fini(&bytes);
}

static void assert_verified(void)
{
	struct verify_report report;

	if (auditlog_verify(&log_, &report) != ERR_OK)
		fail_msg("event %llu: %s", (unsigned long long)report.bad_seq,
			 report.what);
}

static void a_log_survives_its_restarts(void **state)
{
	struct store_state st;
	char first_key[256];

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	store_get_state(log_.store, &st);
	assert_true(st.created);
	assert_true(st.key_created);
	assert_int_equal(st.size, 1);
	assert_string_equal(st.origin, "kenaz.test/log");
	memcpy(first_key, st.verifier_key, sizeof(first_key));
	assert_event_has(0, "\"kind\":\"key.rotated\"");
	auditlog_add(&log_, 300, 7);
	assert_int_equal(store_size(log_.store), 301);
	auditlog_close(&log_);
	assert_verified();

	assert_int_equal(auditlog_open(&log_), ERR_OK);
	store_get_state(log_.store, &st);
	assert_false(st.created);
	assert_false(st.recovered);
	assert_int_equal(st.size, 302);
	assert_int_equal(st.epoch, 1);
	assert_string_not_equal(st.verifier_key, first_key);
	auditlog_add(&log_, 10, 10);
	auditlog_close(&log_);
	assert_verified();
}

static void the_secret_of_a_begun_epoch_is_not_on_disk(void **state)
{
	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_false(files_exists(log_.key_fd, "epoch-0.key"));
	assert_true(files_exists(log_.key_fd, "epoch-1.key"));
	auditlog_close(&log_);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_false(files_exists(log_.key_fd, "epoch-1.key"));
	assert_true(files_exists(log_.key_fd, "epoch-2.key"));
}

static void an_event_that_cannot_be_written_changes_nothing(void **state)
{
	struct store_event event = {.kind = KIND_POLICY_DENY,
				    .actor = span_text("\xff")};
	struct store_receipt receipt;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_int_equal(store_append(log_.store, &event, &receipt),
			 ERR_FORMAT);
	assert_int_equal(store_pending(log_.store), 0);
	assert_int_equal(auditlog_append(&log_, KIND_POLICY_DENY, "s", "a b",
					 "x"),
			 ERR_FORMAT);
	auditlog_add(&log_, 3, 3);
	assert_int_equal(store_append(log_.store, &event, &receipt),
			 ERR_FORMAT);
	auditlog_add(&log_, 1, 1);
	assert_int_equal(store_size(log_.store), 5);
	auditlog_close(&log_);
	assert_verified();
}

static void payload_round_trip(size_t len, bool redacted)
{
	struct store_event event = {.kind = KIND_PROMPT_SENT,
				    .session = span_text("s1"),
				    .has_payload = true,
				    .payload_name = span_text("request.body")};
	struct store_receipt receipt;
	uint8_t *bytes = malloc(len + 1);
	struct buf back;

	assert_non_null(bytes);
	randombytes_buf(bytes, len + 1);
	event.sent = span_of(bytes, len + 1);
	event.stored = redacted ? span_of(bytes + 1, len) : event.sent;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_int_equal(store_append(log_.store, &event, &receipt), ERR_OK);
	assert_int_equal(store_commit(log_.store), ERR_OK);
	buf_init_secret(&back, PAYLOAD_TEST_MAX);
	assert_int_equal(store_payload(log_.store, receipt.seq, &back), ERR_OK);
	assert_true(span_equal(buf_span(&back), event.stored));
	auditlog_close(&log_);
	assert_verified();
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	buf_reset(&back);
	assert_int_equal(store_payload(log_.store, receipt.seq, &back), ERR_OK);
	assert_true(span_equal(buf_span(&back), event.stored));
	buf_reset(&back);
	assert_int_equal(store_payload(log_.store, receipt.seq + 1, &back),
			 ERR_NOT_FOUND);
	assert_int_equal(store_payload(log_.store, 99999, &back),
			 ERR_NOT_FOUND);
	auditlog_close(&log_);
	buf_fini(&back);
	free(bytes);
}

static void small_and_large_payloads_come_back(void **state)
{
	(void)state;
	payload_round_trip(0, false);
	payload_round_trip(100, true);
	payload_round_trip(STORE_INLINE_MAX_BYTES - 1, false);
	payload_round_trip(STORE_INLINE_MAX_BYTES + 1, false);
	payload_round_trip(3 * 1024 * 1024, true);
}

static void a_changed_payload_is_not_returned(void **state)
{
	struct store_event event = {.kind = KIND_PROMPT_SENT,
				    .has_payload = true,
				    .payload_name = span_text("request.body"),
				    .sent = span_text("hello"),
				    .stored = span_text("hello")};
	struct verify_report report;
	struct store_receipt receipt;
	struct buf back;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_int_equal(store_append(log_.store, &event, &receipt), ERR_OK);
	auditlog_close(&log_);
	auditlog_sql(&log_, "UPDATE payloads SET cipher = "
			    "CAST(x'00' || substr(cipher, 2) AS BLOB)");
	assert_int_equal(auditlog_verify(&log_, &report), ERR_INTEGRITY);
	assert_int_equal(report.bad_seq, receipt.seq);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	buf_init_secret(&back, 1000);
	assert_int_equal(store_payload(log_.store, receipt.seq, &back),
			 ERR_INTEGRITY);
	auditlog_close(&log_);
	/* A destroyed key: the log still verifies, the text is gone. */
	auditlog_sql(&log_, "DELETE FROM payload_keys");
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_int_equal(store_payload(log_.store, receipt.seq, &back),
			 ERR_NOT_FOUND);
	buf_fini(&back);
}

/* Child: commit for ever and tell the parent what is durable. */
static void commit_for_ever(int out)
{
	uint64_t size;

	if (auditlog_open(&log_) != ERR_OK)
		_exit(2);
	for (;;) {
		if (auditlog_append(&log_, KIND_PROMPT_SENT, "s1", "kenaz.n",
				    "x") != ERR_OK ||
		    auditlog_append(&log_, KIND_EGRESS_OPEN, "s1", "kenaz.n",
				    "x") != ERR_OK ||
		    store_commit(log_.store) != ERR_OK)
			_exit(3);
		size = store_size(log_.store);
		if (write(out, &size, sizeof(size)) != sizeof(size))
			_exit(4);
		(void)store_idle(log_.store, size * 1000000000u);
	}
}

static void kill_nine_loses_nothing_that_was_durable(void **state)
{
	uint64_t acked = 0, size;
	struct store_state st;
	int pipe_fds[2], i, round;
	pid_t pid;

	(void)state;
	for (round = 0; round < 4; round++) {
		assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			commit_for_ever(pipe_fds[1]);
		close(pipe_fds[1]);
		for (i = 0; i < 20 + 13 * round; i++) {
			assert_int_equal(read(pipe_fds[0], &size, sizeof(size)),
					 sizeof(size));
			acked = size;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		while (read(pipe_fds[0], &size, sizeof(size)) == sizeof(size))
			acked = size;
		close(pipe_fds[0]);
		assert_int_equal(waitpid(pid, NULL, 0), pid);

		assert_int_equal(auditlog_open(&log_), ERR_OK);
		store_get_state(log_.store, &st);
		assert_true(st.recovered);
		assert_true(st.size >= acked + 2);
		assert_true(st.dangling > 0);
		assert_event_has(st.size - 1, "\"kind\":\"log.recovered\"");
		assert_event_has(st.size - 1, "outcome unknown");
		auditlog_close(&log_);
		assert_verified();
	}
}

static void what_has_no_outcome_is_named(void **state)
{
	struct store_state st;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_SESSION_START, "open-s",
					 NULL, NULL),
			 ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_SESSION_START, "done-s",
					 NULL, NULL),
			 ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_TOOL_INVOKED, "open-s",
					 "gen_ai.tool.call.id", "call-1"),
			 ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_TOOL_INVOKED, "open-s",
					 "gen_ai.tool.call.id", "call-2"),
			 ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_TOOL_COMPLETED, "open-s",
					 "gen_ai.tool.call.id", "call-2"),
			 ERR_OK);
	assert_int_equal(auditlog_append(&log_, KIND_SESSION_END, "done-s",
					 NULL, NULL),
			 ERR_OK);
	auditlog_close(&log_);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	store_get_state(log_.store, &st);
	assert_int_equal(st.dangling, 2);
	assert_event_has(st.size - 1, "\"kenaz.recovered.unknown\":2");
	assert_event_has(st.size - 1,
			 "[\"3 tool.invoked open-s: outcome unknown\"]");
	assert_event_has(st.size - 1,
			 "\"kenaz.recovered.sessions\":[\"open-s\"]");
	/* Still open after one more restart of audit alone ... */
	auditlog_close(&log_);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	store_get_state(log_.store, &st);
	assert_int_equal(st.dangling, 1);
	/* ... but not once the engine itself began anew. */
	assert_int_equal(auditlog_append(&log_, KIND_ENGINE_START, "", NULL,
					 NULL),
			 ERR_OK);
	auditlog_close(&log_);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	store_get_state(log_.store, &st);
	assert_int_equal(st.dangling, 0);
	assert_false(st.recovered);
	auditlog_close(&log_);
	assert_verified();
}

static void a_log_behind_its_anchor_is_refused(void **state)
{
	struct store_state st;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 5, 1);
	auditlog_close(&log_);
	auditlog_copy(&log_, "log/" DB_FILE, "old.db");
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 5, 1);
	auditlog_close(&log_);
	auditlog_copy(&log_, "old.db", "log/" DB_FILE);
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	assert_non_null(strstr(log_.why, "cut or rolled back"));
	/* Nor is a log that is simply gone. */
	assert_int_equal(files_remove(log_.log_fd, DB_FILE), ERR_OK);
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	assert_non_null(strstr(log_.why, "it is gone"));
	/* The operator's override: a new origin that names the old head. */
	auditlog_copy(&log_, "old.db", "log/" DB_FILE);
	log_.new_origin = true;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	log_.new_origin = false;
	store_get_state(log_.store, &st);
	assert_string_not_equal(st.origin, "kenaz.test/log");
	assert_event_has(0, "\"kenaz.abandoned.origin\":\"kenaz.test/log\"");
	assert_event_has(0, "\"kenaz.abandoned.size\":12");
	auditlog_add(&log_, 3, 1);
	auditlog_close(&log_);
	assert_verified();
	assert_int_equal(auditlog_open(&log_), ERR_OK);
}

static void a_rewritten_log_is_refused(void **state)
{
	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 20, 4);
	auditlog_close(&log_);
	auditlog_copy(&log_, "log/" DB_FILE, "good.db");
	auditlog_sql(&log_, "UPDATE events SET leaf = x'"
			    "00000000000000000000000000000000"
			    "00000000000000000000000000000000' WHERE seq = 3");
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	auditlog_copy(&log_, "good.db", "log/" DB_FILE);
	auditlog_sql(&log_, "DELETE FROM events WHERE seq = 3");
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	assert_non_null(strstr(log_.why, "missing"));
	auditlog_copy(&log_, "good.db", "log/" DB_FILE);
	auditlog_sql(&log_, "DELETE FROM checkpoints WHERE size = 21");
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	auditlog_copy(&log_, "good.db", "log/" DB_FILE);
	auditlog_sql(&log_, "UPDATE events SET bytes = CAST(replace(CAST(bytes "
			    "AS TEXT), 'event 7', 'event 8') AS BLOB)");
	assert_int_equal(auditlog_open(&log_), ERR_INTEGRITY);
	assert_non_null(strstr(log_.why, "event 8 is damaged"));
	auditlog_copy(&log_, "good.db", "log/" DB_FILE);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
}

static void a_second_engine_is_refused(void **state)
{
	struct auditlog second;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 3, 1);
	second = log_;
	/* Locks are per process: the other one must be another process. */
	if (fork() == 0)
		_exit(auditlog_open(&second) == ERR_STATE ? 0 : 1);
	int status = 1;
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	auditlog_add(&log_, 3, 1);
}

static void a_newer_state_is_refused(void **state)
{
	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_close(&log_);
	auditlog_sql(&log_, "INSERT INTO schema(version) VALUES(2)");
	assert_int_equal(auditlog_open(&log_), ERR_VERSION);
	assert_non_null(strstr(log_.why, "schema 2"));
}

static void a_key_that_others_may_read_is_refused(void **state)
{
	char path[128];

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_close(&log_);
	(void)snprintf(path, sizeof(path), "%s/key/log.key", log_.dir);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(auditlog_open(&log_), ERR_PERMISSION);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_close(&log_);
	/* Lost, it is not silently made anew: the log could not go on. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(auditlog_open(&log_), ERR_NOT_FOUND);
	assert_int_equal(auditlog_open(&log_), ERR_NOT_FOUND);
}

static void a_start_cut_short_between_its_steps_goes_on(void **state)
{
	struct buf empty;

	(void)state;
	/* The database was made, its first epoch was not. */
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_close(&log_);
	assert_int_equal(files_remove(log_.anchor_fd, ANCHOR_FILE), ERR_OK);
	auditlog_sql(&log_, "DELETE FROM events; DELETE FROM meta;"
			    "DELETE FROM checkpoints");
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 3, 1);
	auditlog_close(&log_);
	/* The next key was made, its epoch's predecessor did not begin. */
	buf_init(&empty, 100);
	assert_int_equal(files_replace(log_.key_fd, "epoch-2.key",
				       buf_span(&empty)),
			 ERR_OK);
	/* A used key was not yet destroyed. */
	assert_int_equal(files_replace(log_.key_fd, "epoch-0.key",
				       buf_span(&empty)),
			 ERR_OK);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_close(&log_);
	assert_verified();
}

static void full_bundles_are_copied_out(void **state)
{
	struct buf bundle, event;
	uint64_t now_ns = 1;

	(void)state;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 600, 100);
	while (store_idle(log_.store, now_ns))
		now_ns += ANCHOR_INTERVAL_NS;
	buf_init(&bundle, 20 * 1024 * 1024);
	buf_init(&event, RECORD_MAX_BYTES);
	assert_int_equal(files_read(log_.log_fd, "tile/entries/001", false,
				    &bundle),
			 ERR_OK);
	auditlog_event(&log_, 256, &event);
	assert_int_equal(bundle.data[0] << 8 | bundle.data[1], event.len_bytes);
	assert_memory_equal(bundle.data + 2, event.data, event.len_bytes);
	assert_false(files_exists(log_.log_fd, "tile/entries/002"));
	buf_fini(&bundle);
	buf_fini(&event);
}

static void the_anchor_follows_at_most_once_a_second(void **state)
{
	struct checkpoint c;
	struct buf note;

	(void)state;
	buf_init(&note, NOTE_MAX_BYTES);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	(void)store_idle(log_.store, 10 * ANCHOR_INTERVAL_NS);
	auditlog_add(&log_, 5, 5);
	assert_true(store_idle(log_.store, 10 * ANCHOR_INTERVAL_NS + 1));
	assert_int_equal(anchor_read(log_.anchor_fd, &note, &c), ERR_OK);
	assert_int_equal(c.size, 1);
	assert_false(store_idle(log_.store, 11 * ANCHOR_INTERVAL_NS + 1));
	buf_reset(&note);
	assert_int_equal(anchor_read(log_.anchor_fd, &note, &c), ERR_OK);
	assert_int_equal(c.size, 6);
	buf_fini(&note);
}

/* Fill until sealed; the child's exit code says what went wrong. */
static int fill_until_sealed(void)
{
	static char value[8000];
	uint64_t durable = 0;
	const char *sentence = NULL;
	enum err e = ERR_OK;
	int i;

	memset(value, 'x', sizeof(value) - 1);
	for (i = 0; i < 100000 && e == ERR_OK; i++) {
		durable = store_size(log_.store);
		e = auditlog_append(&log_, KIND_POLICY_ALLOW, "s1", "kenaz.v",
				    value);
		if (e == ERR_OK)
			e = store_commit(log_.store);
	}
	if (e != ERR_SEALED)
		return 10;
	if (!store_is_sealed(log_.store, NULL, &sentence) ||
	    !strstr(sentence, "the audit log cannot be written"))
		return 11;
	if (store_size(log_.store) != durable)
		return 12;
	if (auditlog_append(&log_, KIND_POLICY_ALLOW, "s1", NULL, NULL) !=
	    ERR_SEALED)
		return 13;
	auditlog_close(&log_);
	return 0;
}

static int run_child(int (*body)(void))
{
	int status = 1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int with_file_limit(void)
{
	struct rlimit limit = {1024 * 1024, 1024 * 1024};

	(void)signal(SIGXFSZ, SIG_IGN);
	if (auditlog_open(&log_) != ERR_OK ||
	    setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 20;
	return fill_until_sealed();
}

static void a_write_error_seals_the_engine(void **state)
{
	(void)state;
	assert_int_equal(run_child(with_file_limit), 0);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 3, 1);
	auditlog_close(&log_);
	assert_verified();
}

#define SMALL_DISK "/tmp/kenaz-small-disk"

static int on_full_disk(void)
{
	struct auditlog kept = log_;
	int rc;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    (mkdir(SMALL_DISK, 0700) != 0 && access(SMALL_DISK, W_OK) != 0) ||
	    mount("tmpfs", SMALL_DISK, "tmpfs", 0, "size=2m") != 0)
		return 77;
	auditlog_make_in(&log_, SMALL_DISK);
	if (auditlog_open(&log_) != ERR_OK)
		return 20;
	rc = fill_until_sealed();
	if (rc != 0)
		return rc;
	/* Still full: it does not start, and says why. */
	if (auditlog_open(&log_) == ERR_OK || !log_.why[0])
		return 21;
	/* Room again: it starts, nothing durable was lost. */
	if (mount(NULL, SMALL_DISK, NULL, MS_REMOUNT, "size=16m") != 0)
		return 77;
	if (auditlog_open(&log_) != ERR_OK)
		return 22;
	auditlog_add(&log_, 3, 1);
	auditlog_close(&log_);
	assert_verified();
	/* Read-only: neither does it start, nor does it go on. */
	if (auditlog_open(&log_) != ERR_OK)
		return 23;
	auditlog_close(&log_);
	if (mount(NULL, SMALL_DISK, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
		return 77;
	if (auditlog_open(&log_) == ERR_OK || !strstr(log_.why, "Read-only"))
		return 24;
	log_ = kept;
	return 0;
}

static void a_full_or_read_only_disk_seals_the_engine(void **state)
{
	int rc = run_child(on_full_disk);

	(void)state;
	if (rc == 77)
		skip();
	assert_int_equal(rc, 0);
}

static void the_wal_is_copied_back_when_it_grows(void **state)
{
	(void)state;
	log_.wal_max_bytes = 64 * 1024;
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 500, 5);
	assert_true(db_wal_bytes(store_db(log_.store)) < 256 * 1024);
	auditlog_close(&log_);
	assert_false(files_exists(log_.log_fd, DB_FILE "-wal"));
	assert_verified();
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_log_survives_its_restarts),
		T(the_secret_of_a_begun_epoch_is_not_on_disk),
		T(an_event_that_cannot_be_written_changes_nothing),
		T(small_and_large_payloads_come_back),
		T(a_changed_payload_is_not_returned),
		T(kill_nine_loses_nothing_that_was_durable),
		T(what_has_no_outcome_is_named),
		T(a_log_behind_its_anchor_is_refused),
		T(a_rewritten_log_is_refused),
		T(a_second_engine_is_refused),
		T(a_newer_state_is_refused),
		T(a_key_that_others_may_read_is_refused),
		T(a_start_cut_short_between_its_steps_goes_on),
		T(full_bundles_are_copied_out),
		T(the_anchor_follows_at_most_once_a_second),
		T(a_write_error_seals_the_engine),
		T(a_full_or_read_only_disk_seals_the_engine),
		T(the_wal_is_copied_back_when_it_grows),
	};

	if (digest_init() != ERR_OK || sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
