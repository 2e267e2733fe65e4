/* SPDX-License-Identifier: Apache-2.0 */
/* test_verify.c - every way to tamper with a log is found and named */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/audit/anchor.h"
#include "engine/audit/dump.h"
#include "engine/audit/files.h"
#include "engine/audit/report.h"
#include "tests/lib/auditlog.h"

#define EVENTS_MAX 64u
#define NOTES_MAX  64u

/*
 * A log in memory, made with keys that the test holds: so it can do what an
 * attacker with a stolen key could.
 */
struct signer {
	struct note_key key;
	uint8_t secret[NOTE_SECRET_BYTES];
};

struct forged {
	struct buf events[EVENTS_MAX];
	size_t event_count;
	struct {
		uint64_t size;
		struct buf note;
	} notes[NOTES_MAX];
	size_t note_count;
	struct tree tree;
	struct tree_hash prev;
	struct signer signers[8];
	uint64_t epoch;
};

static struct forged f;

static struct signer make_signer(void)
{
	uint8_t public_key[NOTE_PUBLIC_BYTES];
	struct signer s;

	assert_int_equal(crypto_sign_keypair(public_key, s.secret), 0);
	assert_int_equal(note_key_make(span_text("kenaz.test/forged"),
				       public_key, &s.key),
			 ERR_OK);
	return s;
}

static void add(enum kind kind, struct span attrs)
{
	struct record r = {.seq = f.tree.size,
			   .wall_us = 1700000000000000 + (int64_t)f.tree.size,
			   .kind = kind,
			   .actor = span_text("test"),
			   .attrs = attrs};
	struct buf *out = &f.events[f.event_count++];
	struct tree_hash leaf;

	memcpy(r.prev, f.prev.bytes, DIGEST_BYTES);
	buf_init(out, RECORD_MAX_BYTES);
	assert_int_equal(record_write(&r, out), ERR_OK);
	record_leaf(buf_span(out), leaf.bytes);
	assert_int_equal(tree_append(&f.tree, &leaf), ERR_OK);
	f.prev = leaf;
}

static void add_plain(unsigned int count)
{
	while (count--)
		add(KIND_POLICY_ALLOW, span_of(NULL, 0));
}

static void checkpoint_by(const struct signer *by)
{
	struct checkpoint c = {.size = f.tree.size};
	struct buf text, *note = &f.notes[f.note_count].note;

	(void)snprintf(c.origin, sizeof(c.origin), "%s", by->key.name);
	tree_root(&f.tree, &c.root);
	buf_init(&text, NOTE_MAX_BYTES);
	buf_init(note, NOTE_MAX_BYTES);
	assert_int_equal(checkpoint_write(&c, &text), ERR_OK);
	assert_int_equal(note_sign(&by->key, by->secret, buf_span(&text), note),
			 ERR_OK);
	f.notes[f.note_count++].size = c.size;
	buf_fini(&text);
}

static void checkpoint_now(void)
{
	checkpoint_by(&f.signers[f.epoch]);
}

static void rotate_as(uint64_t number, const struct signer *now,
		      const struct signer *next)
{
	struct epoch_signer s = {.number = number, .key = now->key};
	struct buf attrs;

	buf_init(&attrs, 4096);
	assert_int_equal(epoch_attrs(&s, &next->key, &attrs), ERR_OK);
	add(KIND_KEY_ROTATED, buf_span(&attrs));
	buf_fini(&attrs);
}

static void rotate(uint64_t number)
{
	f.epoch = number;
	rotate_as(number, &f.signers[number], &f.signers[number + 1]);
}

static int begin(void **state)
{
	size_t i;

	(void)state;
	memset(&f, 0, sizeof(f));
	tree_init(&f.tree);
	for (i = 0; i < ARRAY_SIZE(f.signers); i++)
		f.signers[i] = make_signer();
	return 0;
}

static int end(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < EVENTS_MAX; i++)
		buf_fini(&f.events[i]);
	for (i = 0; i < NOTES_MAX; i++)
		buf_fini(&f.notes[i].note);
	return 0;
}

/* Three epochs of four events, a checkpoint after every second event. */
static void make_good(void)
{
	uint64_t epoch;

	for (epoch = 0; epoch < 3; epoch++) {
		rotate(epoch);
		add_plain(1);
		checkpoint_now();
		add_plain(2);
		checkpoint_now();
	}
}

static struct verify_report verdict(const struct buf *anchor)
{
	struct verify_report report;
	size_t i, n = 0;
	struct verify v;
	enum err e = ERR_OK;

	verify_init(&v);
	if (anchor)
		e = verify_anchor(&v, buf_span(anchor));
	for (i = 0; e == ERR_OK && i < f.event_count; i++) {
		e = verify_event(&v, NULL, buf_span(&f.events[i]));
		while (e == ERR_OK && n < f.note_count &&
		       f.notes[n].size <= i + 1) {
			e = verify_checkpoint(&v, f.notes[n].size,
					      buf_span(&f.notes[n].note));
			n++;
		}
	}
	for (; e == ERR_OK && n < f.note_count; n++)
		e = verify_checkpoint(&v, f.notes[n].size,
				      buf_span(&f.notes[n].note));
	if (e == ERR_OK)
		e = verify_finish(&v);
	assert_int_equal(e == ERR_OK, v.report.ok);
	report = v.report;
	verify_fini(&v);
	return report;
}

static void assert_good(const struct buf *anchor)
{
	struct verify_report r = verdict(anchor);

	if (!r.ok)
		fail_msg("event %llu: %s", (unsigned long long)r.bad_seq,
			 r.what);
}

static void assert_bad(const struct buf *anchor, uint64_t seq, const char *what)
{
	struct verify_report r = verdict(anchor);

	if (r.ok || r.bad_seq != seq || !strstr(r.what, what))
		fail_msg("expected \"%s\" at %llu, found \"%s\" at %llu", what,
			 (unsigned long long)seq, r.what,
			 (unsigned long long)r.bad_seq);
}

static void a_good_log_is_verified(void **state)
{
	struct verify_report r;

	(void)state;
	make_good();
	assert_good(NULL);
	assert_good(&f.notes[0].note);
	assert_good(&f.notes[5].note);
	r = verdict(&f.notes[5].note);
	assert_int_equal(r.events, 12);
	assert_int_equal(r.checkpoints, 6);
	assert_int_equal(r.epochs, 3);
	assert_string_equal(r.origin, "kenaz.test/forged");
}

static void every_changed_bit_is_found(void **state)
{
	size_t at, bit;

	(void)state;
	make_good();
	for (at = 0; at < f.events[5].len_bytes; at += 3) {
		for (bit = 0; bit < 8; bit += 3) {
			f.events[5].data[at] ^= (uint8_t)(1u << bit);
			assert_false(verdict(NULL).ok);
			f.events[5].data[at] ^= (uint8_t)(1u << bit);
		}
	}
	for (at = 0; at < f.notes[2].note.len_bytes; at++) {
		f.notes[2].note.data[at] ^= 1;
		assert_false(verdict(NULL).ok);
		f.notes[2].note.data[at] ^= 1;
	}
	assert_good(NULL);
}

static void a_swapped_pair_is_found(void **state)
{
	struct buf swap;

	(void)state;
	make_good();
	swap = f.events[2];
	f.events[2] = f.events[3];
	f.events[3] = swap;
	assert_bad(NULL, 2, "carries number 3");
}

static void an_inserted_event_is_found(void **state)
{
	(void)state;
	make_good();
	memmove(&f.events[7], &f.events[6],
		(f.event_count - 6) * sizeof(f.events[0]));
	buf_init(&f.events[6], RECORD_MAX_BYTES);
	assert_int_equal(buf_put_span(&f.events[6], buf_span(&f.events[7])),
			 ERR_OK);
	f.event_count++;
	assert_bad(NULL, 7, "one was inserted");
}

static void a_removed_event_is_found(void **state)
{
	(void)state;
	make_good();
	buf_fini(&f.events[6]);
	memmove(&f.events[6], &f.events[7],
		(f.event_count - 7) * sizeof(f.events[0]));
	f.event_count--;
	memset(&f.events[f.event_count], 0, sizeof(f.events[0]));
	assert_bad(NULL, 6, "carries number 7");
}

static void an_event_of_another_chain_is_found(void **state)
{
	(void)state;
	rotate(0);
	add_plain(1);
	memset(&f.prev, 7, sizeof(f.prev));
	add_plain(1);
	checkpoint_now();
	assert_bad(NULL, 2, "(prev)");
}

static void a_cut_tail_is_found_with_an_anchor_only(void **state)
{
	struct verify_report r;
	struct buf text;

	(void)state;
	make_good();
	f.event_count = 10;
	f.note_count = 5;
	assert_good(NULL);
	r = verdict(NULL);
	buf_init(&text, REPORT_MAX_BYTES);
	assert_int_equal(report_text(&r, false, &text), ERR_OK);
	assert_int_equal(buf_put_u8(&text, 0), ERR_OK);
	assert_non_null(strstr((char *)text.data, "not detectable"));
	buf_fini(&text);
	assert_bad(&f.notes[5].note, 10, "cut or rolled back");
	f.event_count = EVENTS_MAX; /* for end() */
}

static void a_tail_without_its_checkpoint_is_found(void **state)
{
	(void)state;
	make_good();
	f.note_count--;
	assert_bad(NULL, 10, "the last checkpoint is missing");
}

static void a_checkpoint_beyond_the_log_is_found(void **state)
{
	(void)state;
	make_good();
	f.event_count = 10;
	assert_bad(NULL, 10, "there are 12 events; here are 10");
	f.event_count = 12;
	f.notes[5].size = 13;
	assert_bad(NULL, 12, "there are 13 events");
}

static void a_checkpoint_of_other_events_is_found(void **state)
{
	struct buf note;

	(void)state;
	make_good();
	note = f.notes[4].note;
	f.notes[4].note = f.notes[5].note;
	assert_bad(NULL, 9, "not of these events");
	f.notes[4].note = note;
}

/* The forgery that journald accepted: old events under a newer key. */
static void a_newer_key_cannot_sign_for_an_older_epoch(void **state)
{
	(void)state;
	rotate(0);
	add_plain(1);
	checkpoint_by(&f.signers[1]);
	rotate(1);
	add_plain(1);
	checkpoint_now();
	assert_bad(NULL, 1, "another key than that of its epoch 0");
}

static void an_older_key_cannot_sign_for_a_newer_epoch(void **state)
{
	(void)state;
	rotate(0);
	checkpoint_now();
	rotate(1);
	add_plain(1);
	checkpoint_by(&f.signers[0]);
	assert_bad(NULL, 2, "another key than that of its epoch 1");
}

static void an_epoch_must_end_with_its_own_checkpoint(void **state)
{
	(void)state;
	rotate(0);
	add_plain(1);
	checkpoint_now();
	add_plain(1); /* forged with the next epoch's key only */
	rotate(1);
	checkpoint_now();
	assert_bad(NULL, 2, "epoch 0 ends without a checkpoint");
}

static void a_dropped_epoch_is_found(void **state)
{
	(void)state;
	rotate(0);
	checkpoint_now();
	rotate_as(2, &f.signers[1], &f.signers[2]);
	checkpoint_by(&f.signers[1]);
	assert_bad(NULL, 1, "one was left out");
}

static void an_epoch_with_another_key_is_found(void **state)
{
	(void)state;
	rotate(0);
	checkpoint_now();
	rotate_as(1, &f.signers[5], &f.signers[6]);
	checkpoint_by(&f.signers[5]);
	assert_bad(NULL, 1, "announced");
}

static void a_log_must_begin_with_an_epoch(void **state)
{
	(void)state;
	add_plain(1);
	checkpoint_now();
	assert_bad(NULL, 0, "does not begin with key.rotated");
}

static void a_rewritten_log_does_not_fit_its_anchor(void **state)
{
	struct buf anchor;

	(void)state;
	make_good();
	anchor = f.notes[3].note;
	memset(&f.notes[3].note, 0, sizeof(anchor));
	(void)end(NULL);
	memset(f.events, 0, sizeof(f.events));
	memset(f.notes, 0, sizeof(f.notes));
	f.event_count = 0;
	f.note_count = 0;
	tree_init(&f.tree);
	memset(&f.prev, 0, sizeof(f.prev));
	/* The whole history again, with all keys, but not the same. */
	rotate(0);
	add(KIND_POLICY_DENY, span_of(NULL, 0));
	checkpoint_now();
	add_plain(2);
	checkpoint_now();
	rotate(1);
	add_plain(6);
	checkpoint_now();
	assert_good(NULL);
	assert_bad(&anchor, 7, "was rewritten");
	buf_fini(&anchor);
}

static void an_anchor_of_another_log_is_found(void **state)
{
	static const char other[] =
		"kenaz.test/other\n3\n"
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n"
		"\xe2\x80\x94 kenaz.test/other AAAAAAA=\n";
	struct buf anchor;

	(void)state;
	make_good();
	buf_init(&anchor, 1000);
	assert_int_equal(buf_put_text(&anchor, "nonsense"), ERR_OK);
	assert_bad(&anchor, 0, "no signed checkpoint");
	buf_reset(&anchor);
	assert_int_equal(buf_put_text(&anchor, other), ERR_OK);
	assert_false(verdict(&anchor).ok);
	buf_fini(&anchor);
}

static void an_empty_log_is_not_verified(void **state)
{
	(void)state;
	assert_bad(NULL, 0, "no events");
}

static void a_payload_must_be_the_committed_one(void **state)
{
	uint8_t digest[DIGEST_BYTES] = {1};
	struct verify v;

	(void)state;
	make_good();
	verify_init(&v);
	assert_int_equal(verify_event(&v, NULL, buf_span(&f.events[0])),
			 ERR_OK);
	assert_int_equal(verify_payload(&v, 0, 0, digest), ERR_INTEGRITY);
	assert_non_null(strstr(v.report.what, "does not speak of"));
	verify_fini(&v);
}

/* --- stored logs: what a person with sqlite3 at hand could do ---------- */
static struct auditlog log_;

static int begin_stored(void **state)
{
	(void)state;
	auditlog_make(&log_);
	assert_int_equal(auditlog_open(&log_), ERR_OK);
	auditlog_add(&log_, 40, 5);
	auditlog_close(&log_);
	return 0;
}

static int end_stored(void **state)
{
	(void)state;
	auditlog_remove(&log_);
	return 0;
}

static void sql_tampering_is_found(void **state)
{
	static const struct {
		const char *sql;
		uint64_t seq;
	} cases[] = {
		{"UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT),"
		 "'event 20', 'event 21') AS BLOB) WHERE seq = 21",
		 21},
		{"UPDATE events SET seq = 1000 WHERE seq = 7;"
		 "UPDATE events SET seq = 7 WHERE seq = 8;"
		 "UPDATE events SET seq = 8 WHERE seq = 1000",
		 7},
		{"DELETE FROM events WHERE seq = 12", 12},
		{"DELETE FROM events WHERE seq > 30;"
		 "DELETE FROM checkpoints WHERE size > 31",
		 31},
		{"DELETE FROM checkpoints WHERE size = 41", 36},
		{"INSERT INTO events SELECT 41, leaf, bytes FROM events "
		 "WHERE seq = 40",
		 41},
		{"UPDATE events SET leaf = (SELECT leaf FROM events "
		 "WHERE seq = 3) WHERE seq = 4",
		 4},
		{"INSERT INTO checkpoints SELECT 8, note FROM checkpoints "
		 "WHERE size = 6",
		 7},
		{"INSERT INTO payloads VALUES(8, NULL, 0, 1, x'00')", 1},
	};
	struct verify_report r;
	size_t i;

	(void)state;
	auditlog_copy(&log_, "log/" DB_FILE, "good.db");
	assert_int_equal(auditlog_verify(&log_, &r), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		auditlog_copy(&log_, "good.db", "log/" DB_FILE);
		auditlog_sql(&log_, cases[i].sql);
		if (auditlog_verify(&log_, &r) != ERR_INTEGRITY ||
		    r.bad_seq != cases[i].seq)
			fail_msg("%s: %llu: %s", cases[i].sql,
				 (unsigned long long)r.bad_seq, r.what);
	}
}

/* --- dumps --------------------------------------------------------------- */
static enum err on_header(void *context, uint64_t from, uint64_t size,
			  struct span origin)
{
	(void)context;
	(void)from;
	(void)size;
	(void)origin;
	return ERR_OK;
}

static enum err on_note(void *context, struct span note)
{
	return verify_anchor(context, note);
}

static enum err on_event(void *context, struct span bytes)
{
	return verify_event(context, NULL, bytes);
}

static enum err on_payload(void *context, const struct walk_payload *p)
{
	return verify_payload(context, p->seq, p->part, p->digest);
}

static enum err on_checkpoint(void *context, uint64_t size, struct span note)
{
	return verify_checkpoint(context, size, note);
}

static const struct dump_handler dump_handler = {on_header, on_note, on_event,
						 on_payload, on_checkpoint};

static void make_dump(struct buf *out)
{
	struct dump_writer w;
	size_t i, n = 0;

	assert_int_equal(dump_writer_init(&w), ERR_OK);
	assert_int_equal(dump_put_header(&w, 0, f.event_count,
					 "kenaz.test/forged", out),
			 ERR_OK);
	assert_int_equal(dump_put_anchor(&w, buf_span(&f.notes[4].note), out),
			 ERR_OK);
	for (i = 0; i < f.event_count; i++) {
		assert_int_equal(dump_put_event(&w, buf_span(&f.events[i]),
						out),
				 ERR_OK);
		while (n < f.note_count && f.notes[n].size == i + 1) {
			assert_int_equal(
				dump_put_checkpoint(&w, i + 1,
						    buf_span(&f.notes[n].note),
						    out),
				ERR_OK);
			n++;
		}
	}
	assert_int_equal(dump_put_end(&w, out), ERR_OK);
	dump_writer_fini(&w);
}

static enum err read_dump(struct span dump, size_t step)
{
	struct dump_reader r;
	struct verify v;
	size_t at, n;
	enum err e;

	verify_init(&v);
	assert_int_equal(dump_reader_init(&r), ERR_OK);
	e = ERR_OK;
	for (at = 0; e == ERR_OK && at < dump.len_bytes; at += n) {
		n = dump.len_bytes - at < step ? dump.len_bytes - at : step;
		e = dump_reader_feed(&r, span_of(dump.data + at, n),
				     &dump_handler, &v);
	}
	if (e == ERR_OK)
		e = dump_reader_finish(&r);
	if (e == ERR_OK)
		e = verify_finish(&v);
	dump_reader_fini(&r);
	verify_fini(&v);
	return e;
}

static void a_dump_can_be_verified(void **state)
{
	struct buf dump;
	size_t at;

	(void)state;
	make_good();
	buf_init(&dump, 1024 * 1024);
	make_dump(&dump);
	assert_int_equal(read_dump(buf_span(&dump), dump.len_bytes), ERR_OK);
	assert_int_equal(read_dump(buf_span(&dump), 1), ERR_OK);
	assert_int_equal(read_dump(buf_span(&dump), 37), ERR_OK);
	/* Cut anywhere, changed anywhere, with something behind it. */
	for (at = 0; at < dump.len_bytes; at += 11)
		assert_int_not_equal(read_dump(span_of(dump.data, at), 4096),
				     ERR_OK);
	for (at = 0; at < dump.len_bytes; at += 5) {
		dump.data[at] ^= 0x10;
		assert_int_not_equal(read_dump(buf_span(&dump), 4096), ERR_OK);
		dump.data[at] ^= 0x10;
	}
	assert_int_equal(buf_put_u8(&dump, 0), ERR_OK);
	assert_int_equal(read_dump(buf_span(&dump), 4096), ERR_FORMAT);
	buf_fini(&dump);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define S(name) cmocka_unit_test_setup_teardown(name, begin_stored, end_stored)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_good_log_is_verified),
		T(every_changed_bit_is_found),
		T(a_swapped_pair_is_found),
		T(an_inserted_event_is_found),
		T(a_removed_event_is_found),
		T(an_event_of_another_chain_is_found),
		T(a_cut_tail_is_found_with_an_anchor_only),
		T(a_tail_without_its_checkpoint_is_found),
		T(a_checkpoint_beyond_the_log_is_found),
		T(a_checkpoint_of_other_events_is_found),
		T(a_newer_key_cannot_sign_for_an_older_epoch),
		T(an_older_key_cannot_sign_for_a_newer_epoch),
		T(an_epoch_must_end_with_its_own_checkpoint),
		T(a_dropped_epoch_is_found),
		T(an_epoch_with_another_key_is_found),
		T(a_log_must_begin_with_an_epoch),
		T(a_rewritten_log_does_not_fit_its_anchor),
		T(an_anchor_of_another_log_is_found),
		T(an_empty_log_is_not_verified),
		T(a_payload_must_be_the_committed_one),
		S(sql_tampering_is_found),
		T(a_dump_can_be_verified),
	};

	if (digest_init() != ERR_OK || sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
