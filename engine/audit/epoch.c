/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoch.c - one signing key for each start, and the rule that binds them
 *
 * Runs in: kenaz-audit; the ledger also in kenaz-verify.
 * Trusts:  the key directory for secrets; nothing in the log.
 * Never:   lets a key sign for another epoch than its own.
 *
 * Theory of operation: epoch N begins with the event key.rotated, which
 * names N, the epoch's own public key and the one of epoch N + 1. A start
 * (1) loads the secret of N from epoch-N.key, (2) makes the secret of N + 1
 * and writes epoch-(N+1).key, (3) commits key.rotated under N, (4) removes
 * epoch-N.key: from then on the secret of N is in locked memory only, and a
 * thief of the disk can sign for N + 1 but not rewrite N. A crash between
 * the steps leaves a file that the next start writes anew or removes.
 *
 * epoch-N.key holds the seed wrapped under the log key (logkey.c) with
 * "epoch N\n" and the origin as associated data.
 */
#include "engine/audit/epoch.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/audit/files.h"

#define FILE_BYTES (LOGKEY_OVERHEAD_BYTES + EPOCH_SEED_BYTES)

/** epoch_ledger_init() - Before the first event of a log */
void epoch_ledger_init(struct epoch_ledger *l)
{
	*l = (struct epoch_ledger){0};
}

/** epoch_ledger_resume() - Before a key.rotated in mid-log that is trusted */
void epoch_ledger_resume(struct epoch_ledger *l)
{
	*l = (struct epoch_ledger){.resumed = true};
}

static bool find_key(const struct record_view *view, const char *attr,
		     struct note_key *ret_key)
{
	struct record_value v;

	return record_attr_find(view, attr, &v) && v.type == ATTR_TEXT &&
	       note_key_read(v.text, ret_key) == ERR_OK;
}

static bool same_key(const struct note_key *a, const struct note_key *b)
{
	return strcmp(a->name, b->name) == 0 &&
	       memcmp(a->public_key, b->public_key, NOTE_PUBLIC_BYTES) == 0;
}

/**
 * epoch_ledger_feed() - Follow the log by one event
 * @l:		Ledger
 * @view:	The next event, borrowed
 * @ret_fault:	Static text; written on failure
 *
 * Return: ERR_OK; ERR_INTEGRITY when the log does not begin with an epoch,
 *	   an epoch is missing, or its key is not the one announced.
 */
enum err epoch_ledger_feed(struct epoch_ledger *l,
			   const struct record_view *view,
			   const char **ret_fault)
{
	struct epoch_ledger next = {.begun = true, .start = view->seq};
	struct record_value v;

	if (!span_is(view->kind, kind_text(KIND_KEY_ROTATED))) {
		*ret_fault = "the log does not begin with key.rotated";
		return l->begun ? ERR_OK : ERR_INTEGRITY;
	}
	if (!record_attr_find(view, EPOCH_ATTR_NUMBER, &v) ||
	    v.type != ATTR_I64 || v.i64 < 0 ||
	    !find_key(view, EPOCH_ATTR_KEY, &next.key) ||
	    !find_key(view, EPOCH_ATTR_NEXT, &next.next)) {
		*ret_fault = "key.rotated lacks its epoch or a key";
		return ERR_INTEGRITY;
	}
	next.number = (uint64_t)v.i64;
	if (!l->resumed && next.number != (l->begun ? l->number + 1 : 0)) {
		*ret_fault = "epochs are not contiguous: one was left out";
		return ERR_INTEGRITY;
	}
	if (l->begun && !same_key(&next.key, &l->next)) {
		*ret_fault = "the epoch's key is not the one that the epoch "
			     "before announced";
		return ERR_INTEGRITY;
	}
	if (strcmp(next.key.name, next.next.name) != 0) {
		*ret_fault = "the epoch's keys have different names";
		return ERR_INTEGRITY;
	}
	*l = next;
	return ERR_OK;
}

static enum err file_name(uint64_t number, char ret_name[FILES_NAME_MAX_BYTES])
{
	int n = snprintf(ret_name, FILES_NAME_MAX_BYTES,
			 "epoch-%" PRIu64 ".key", number);

	return n < 0 || number > EPOCH_MAX ? ERR_RANGE : ERR_OK;
}

static enum err about(const char *origin, uint64_t number, struct buf *out)
{
	return buf_printf(out, "epoch %" PRIu64 "\n%s", number, origin);
}

/* Expand a seed to the pair that libsodium signs with. */
static enum err expand(const uint8_t *seed, const char *origin, uint8_t *secret,
		       struct note_key *ret_key)
{
	uint8_t public_key[NOTE_PUBLIC_BYTES];

	if (crypto_sign_seed_keypair(public_key, secret, seed) != 0)
		return ERR_CRYPTO;
	return note_key_make(span_text(origin), public_key, ret_key);
}

/**
 * epoch_prepare() - Make the secret of an epoch to come and store it wrapped
 * @key_dir_fd:	Key directory, borrowed
 * @k:		Log key
 * @origin:	Name of the log
 * @number:	The epoch
 * @ret_key:	Its public key; written on success
 *
 * Return: ERR_OK; ERR_FORMAT for a bad origin; ERR_RANGE; ERR_CRYPTO;
 *	   ERR_MEMORY; ERR_SYS with errno.
 */
enum err epoch_prepare(int key_dir_fd, const struct logkey *k,
		       const char *origin, uint64_t number,
		       struct note_key *ret_key)
{
	char name[FILES_NAME_MAX_BYTES];
	uint8_t *secret = NULL, *seed = NULL;
	struct buf data, wrapped;
	enum err e = file_name(number, name);

	buf_init(&data, NOTE_NAME_MAX_BYTES + 64);
	buf_init(&wrapped, FILE_BYTES);
	if (e == ERR_OK)
		e = secret_alloc(EPOCH_SEED_BYTES, &seed);
	if (e == ERR_OK)
		e = secret_alloc(NOTE_SECRET_BYTES, &secret);
	if (e != ERR_OK)
		goto out;
	randombytes_buf(seed, EPOCH_SEED_BYTES);
	e = expand(seed, origin, secret, ret_key);
	if (e == ERR_OK)
		e = about(origin, number, &data);
	if (e == ERR_OK)
		e = logkey_wrap(k, LOGKEY_EPOCH, buf_span(&data),
				span_of(seed, EPOCH_SEED_BYTES), &wrapped);
	if (e == ERR_OK)
		e = files_replace(key_dir_fd, name, buf_span(&wrapped));
out:
	secret_free(seed);
	secret_free(secret);
	buf_fini(&data);
	buf_fini(&wrapped);
	return e;
}

/**
 * epoch_load() - Take the secret of an epoch that begins now
 * @key_dir_fd:	Key directory, borrowed
 * @k:		Log key
 * @origin:	Name of the log
 * @number:	The epoch
 * @ret_signer:	epoch_signer_fini() it; written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_PERMISSION; ERR_FORMAT; ERR_INTEGRITY
 *	   when the log key does not open it; ERR_MEMORY; ERR_SYS.
 */
enum err epoch_load(int key_dir_fd, const struct logkey *k, const char *origin,
		    uint64_t number, struct epoch_signer *ret_signer)
{
	struct epoch_signer s = {.number = number};
	char name[FILES_NAME_MAX_BYTES];
	struct buf data, wrapped;
	uint8_t *seed = NULL;
	enum err e = file_name(number, name);

	buf_init(&data, NOTE_NAME_MAX_BYTES + 64);
	buf_init(&wrapped, FILE_BYTES);
	if (e == ERR_OK)
		e = secret_alloc(EPOCH_SEED_BYTES, &seed);
	if (e == ERR_OK)
		e = secret_alloc(NOTE_SECRET_BYTES, &s.secret);
	if (e == ERR_OK)
		e = files_read(key_dir_fd, name, true, &wrapped);
	if (e == ERR_OK)
		e = about(origin, number, &data);
	if (e == ERR_OK)
		e = logkey_unwrap(k, LOGKEY_EPOCH, buf_span(&data),
				  buf_span(&wrapped), seed, EPOCH_SEED_BYTES);
	if (e == ERR_OK)
		e = expand(seed, origin, s.secret, &s.key);
	secret_free(seed);
	buf_fini(&data);
	buf_fini(&wrapped);
	if (e == ERR_OK)
		*ret_signer = s;
	else
		secret_free(s.secret);
	return e;
}

/** epoch_signer_fini() - Wipe an epoch's secret; a zeroed one is accepted */
void epoch_signer_fini(struct epoch_signer *s)
{
	secret_free(s->secret);
	*s = (struct epoch_signer){0};
}

/**
 * epoch_forget() - Destroy the stored secret of an epoch that has begun
 * @key_dir_fd:	Key directory, borrowed
 * @number:	The epoch
 *
 * The content is overwritten first; a copy-on-write file system or flash may
 * keep the old blocks all the same.
 *
 * Return: ERR_OK, also when there is none; ERR_RANGE; ERR_SYS with errno.
 */
enum err epoch_forget(int key_dir_fd, uint64_t number)
{
	static const uint8_t zeros[FILE_BYTES];
	char name[FILES_NAME_MAX_BYTES];
	enum err e = file_name(number, name);
	int fd;

	if (e != ERR_OK || !files_exists(key_dir_fd, name))
		return e;
	fd = openat(key_dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		e = files_write_all(fd, span_of(zeros, sizeof(zeros)));
		if (e == ERR_OK && fsync(fd) < 0)
			e = ERR_SYS;
		close(fd);
	}
	return e == ERR_OK ? files_remove(key_dir_fd, name) : e;
}

/**
 * epoch_attrs() - Append the attributes of key.rotated
 * @s:		The epoch that begins
 * @next:	Public key of the one after it
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err epoch_attrs(const struct epoch_signer *s, const struct note_key *next,
		     struct buf *out)
{
	struct buf vkey;
	enum err e = attrs_put_u64(out, EPOCH_ATTR_NUMBER, s->number);

	buf_init(&vkey, NOTE_VKEY_MAX_BYTES);
	if (e == ERR_OK)
		e = attrs_put_text(out, EPOCH_ATTR_ORIGIN,
				   span_text(s->key.name));
	if (e == ERR_OK)
		e = note_key_write(&s->key, &vkey);
	if (e == ERR_OK)
		e = attrs_put_text(out, EPOCH_ATTR_KEY, buf_span(&vkey));
	buf_reset(&vkey);
	if (e == ERR_OK)
		e = note_key_write(next, &vkey);
	if (e == ERR_OK)
		e = attrs_put_text(out, EPOCH_ATTR_NEXT, buf_span(&vkey));
	buf_fini(&vkey);
	return e;
}
