/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault.c - provider secrets, encrypted on disk, locked in memory
 *
 * Runs in: kenaz-broker.
 * Trusts:  the directory descriptor it was given; the file only once it is
 *	    authenticated.
 * Never:   names a path outside that directory, leaves half a file, makes a
 *	    new wrapping key beside an old vault.
 *
 * A change is encoded first, written to a temporary file, synced and renamed
 * over the old one; memory changes last. A vault that does not exist yet gets
 * its file with the first write after vault_begin(). Where wrapping keys come
 * from is vault_source.c's business.
 */
#include "engine/broker/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/text.h"

#define VAULT_FILE_NEW "vault.new"

struct vault {
	int dir_fd;                    /* borrowed */
	struct buf file;               /* until it is unsealed */
	struct vault_header header;    /* of that file */
	struct secret *wrapping_key;   /* NULL unless open */
	struct vault_content *content; /* NULL unless open */
	bool present;
};

static enum err read_file(int dir_fd, struct buf *out, const char **ret_why)
{
	int fd = openat(dir_fd, VAULT_FILE,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint8_t *at;
	size_t have = 0;
	enum err e = ERR_PERMISSION;

	if (fd < 0) {
		*ret_why = "the vault cannot be opened";
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid() || (st.st_mode & 0077)) {
		*ret_why = "the vault must be a plain file of its owner, "
			   "mode 0600";
		goto out;
	}
	*ret_why = "the vault is too large or cannot be read";
	e = ERR_LIMIT;
	if (st.st_size < 0 || st.st_size > (off_t)VAULT_FILE_MAX_BYTES)
		goto out;
	e = buf_reserve(out, (size_t)st.st_size, &at);
	while (e == ERR_OK && have < (size_t)st.st_size) {
		ssize_t n = read(fd, at + have, (size_t)st.st_size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			e = ERR_SYS;
		else
			have += (size_t)n;
	}
out:
	(void)close(fd);
	return e;
}

static enum err write_file(int dir_fd, struct span bytes)
{
	enum err e = ERR_OK;
	int fd;

	(void)unlinkat(dir_fd, VAULT_FILE_NEW, 0);
	fd = openat(dir_fd, VAULT_FILE_NEW,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return ERR_STORAGE;
	while (e == ERR_OK && bytes.len_bytes) {
		ssize_t n = write(fd, bytes.data, bytes.len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			e = ERR_STORAGE;
		} else {
			bytes.data += n;
			bytes.len_bytes -= (size_t)n;
		}
	}
	if (e == ERR_OK && fsync(fd) != 0)
		e = ERR_STORAGE;
	if (close(fd) != 0 && e == ERR_OK)
		e = ERR_STORAGE;
	if (e == ERR_OK &&
	    renameat(dir_fd, VAULT_FILE_NEW, dir_fd, VAULT_FILE) != 0)
		e = ERR_STORAGE;
	if (e != ERR_OK)
		(void)unlinkat(dir_fd, VAULT_FILE_NEW, 0);
	else if (fsync(dir_fd) != 0)
		e = ERR_STORAGE;
	return e;
}

/**
 * vault_load() - Read a vault's file as far as that needs no key
 * @dir_fd:	Directory, borrowed as long as the vault lives
 * @ret_vault:	Sealed, or absent when there is no file; owned by the caller;
 *		written on success
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_PERMISSION; ERR_VERSION; ERR_FORMAT; ERR_SHORT;
 *	   ERR_LIMIT; ERR_MEMORY; ERR_SYS.
 */
enum err vault_load(int dir_fd, struct vault **ret_vault, const char **ret_why)
{
	struct vault *v = calloc(1, sizeof(*v));
	enum err e;

	if (!v) {
		*ret_why = "out of memory";
		return ERR_MEMORY;
	}
	v->dir_fd = dir_fd;
	buf_init(&v->file, VAULT_FILE_MAX_BYTES);
	e = read_file(dir_fd, &v->file, ret_why);
	if (e == ERR_OK) {
		v->present = true;
		e = vault_header_read(buf_span(&v->file), &v->header);
		if (e != ERR_OK)
			*ret_why = e == ERR_VERSION
					   ? "a newer Kenaz wrote this vault"
					   : "this is not a vault file";
	} else if (e == ERR_NOT_FOUND) {
		e = ERR_OK;
	}
	if (e == ERR_OK)
		*ret_vault = v;
	else
		vault_free(v);
	return e;
}

/** vault_phase() - How far it is open */
enum vault_phase vault_phase(const struct vault *v)
{
	if (v->content)
		return VAULT_OPEN;
	return v->present ? VAULT_SEALED : VAULT_ABSENT;
}

/** vault_wrapped_by() - Who wraps its key; meaningless when it is absent */
const struct vault_wrap *vault_wrapped_by(const struct vault *v)
{
	return v->content ? &v->content->header.wrap : &v->header.wrap;
}

/**
 * vault_unseal() - Open a sealed vault
 * @v:			Vault
 * @wrapping_key:	Owned from here on, on success only
 * @ret_why:		A static sentence; written on failure
 *
 * Return: as vault_content_read(); ERR_STATE for one that is not sealed.
 */
enum err vault_unseal(struct vault *v, struct secret *wrapping_key,
		      const char **ret_why)
{
	enum err e;

	*ret_why = "there is nothing to open";
	if (vault_phase(v) != VAULT_SEALED)
		return ERR_STATE;
	e = vault_content_read(buf_span(&v->file), wrapping_key, &v->content,
			       ret_why);
	if (e != ERR_OK)
		return e;
	v->wrapping_key = wrapping_key;
	buf_reset(&v->file);
	return ERR_OK;
}

/**
 * vault_begin() - Start a vault where there is none; the first write makes it
 * @v:			Absent vault
 * @wrap:		Who wraps its key, borrowed
 * @wrapping_key:	Owned from here on, on success only
 * @ret_why:		A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_STATE; ERR_MEMORY; ERR_LIMIT.
 */
enum err vault_begin(struct vault *v, const struct vault_wrap *wrap,
		     struct secret *wrapping_key, const char **ret_why)
{
	enum err e;

	*ret_why = "there is a vault already";
	if (vault_phase(v) != VAULT_ABSENT)
		return ERR_STATE;
	*ret_why = "memory for secrets cannot be locked";
	e = vault_content_new(&v->content);
	if (e != ERR_OK)
		return e;
	v->content->header.wrap = *wrap;
	v->wrapping_key = wrapping_key;
	return ERR_OK;
}

/**
 * vault_free() - Wipe everything
 * @v:	Vault, or NULL
 */
void vault_free(struct vault *v)
{
	if (!v)
		return;
	vault_content_free(v->content);
	secret_release(v->wrapping_key);
	buf_fini(&v->file);
	free(v);
}

/** vault_is_wrapped_with() - Whether an open vault's wrapping key is this */
bool vault_is_wrapped_with(const struct vault *v, const struct secret *key)
{
	return v->wrapping_key &&
	       key->len_bytes == v->wrapping_key->len_bytes &&
	       sodium_memcmp(key->data, v->wrapping_key->data,
			     key->len_bytes) == 0;
}

/* Writes what the vault shall hold; the generation is counted up first. */
static enum err commit(struct vault *v, const char **ret_why)
{
	struct buf out;
	enum err e;

	buf_init(&out, VAULT_FILE_MAX_BYTES);
	v->content->header.generation++;
	e = vault_content_write(v->content, v->wrapping_key, &out);
	if (e == ERR_OK)
		e = write_file(v->dir_fd, buf_span(&out));
	buf_fini(&out);
	if (e != ERR_OK)
		*ret_why = e == ERR_LIMIT ? "the vault is full"
					  : "the vault cannot be written";
	return e;
}

/**
 * vault_save() - Write an open vault as it is
 * @v:		Vault
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK once durable; ERR_STATE; ERR_LIMIT; ERR_STORAGE.
 */
enum err vault_save(struct vault *v, const char **ret_why)
{
	*ret_why = "the vault is not open";
	return v->content ? commit(v, ret_why) : ERR_STATE;
}

/**
 * vault_rewrap() - Wrap a fresh vault key with another wrapping key
 * @v:			Open vault; unchanged on failure
 * @wrap:		Who wraps from now on, borrowed
 * @wrapping_key:	Owned from here on, on success only
 * @ret_why:		A static sentence; written on failure
 *
 * All secrets are encrypted anew: who has the old wrapping key and an old
 * file learns nothing of what is set later.
 *
 * Return: ERR_OK once durable; ERR_STATE; ERR_LIMIT; ERR_STORAGE; ERR_MEMORY.
 */
enum err vault_rewrap(struct vault *v, const struct vault_wrap *wrap,
		      struct secret *wrapping_key, const char **ret_why)
{
	struct vault_content *c = v->content;
	struct secret *old_wrapping = v->wrapping_key, *old_key;
	struct vault_header old;
	enum err e;

	*ret_why = "the vault is not open";
	if (!c)
		return ERR_STATE;
	*ret_why = "memory for secrets cannot be locked";
	old = c->header;
	old_key = c->key;
	c->key = NULL;
	e = vault_content_rekey(c);
	if (e == ERR_OK) {
		c->header.wrap = *wrap;
		v->wrapping_key = wrapping_key;
		e = commit(v, ret_why);
	}
	if (e == ERR_OK) {
		secret_release(old_key);
		secret_release(old_wrapping);
		return ERR_OK;
	}
	secret_release(c->key);
	c->key = old_key;
	c->header = old;
	v->wrapping_key = old_wrapping;
	return e;
}

static struct vault_record *find(const struct vault *v, struct span name)
{
	size_t i;

	for (i = 0; v->content && i < v->content->count; i++)
		if (span_is(name, v->content->records[i].name))
			return &v->content->records[i];
	return NULL;
}

/**
 * vault_set() - Store a secret, replacing one of the same name
 * @v:			Vault
 * @name:		text_is_name(), at most VAULT_NAME_MAX_BYTES
 * @secret:		Borrowed; 1 to SECRET_MAX_BYTES
 * @now_wall_us:	Written as its time
 * @ret_why:		A static sentence; written on failure
 *
 * Pointers from vault_find() end here.
 *
 * Return: ERR_OK once durable; ERR_FORMAT for a bad name; ERR_LIMIT; ERR_
 *	   STATE when it is not open; ERR_STORAGE with the old content kept.
 */
enum err vault_set(struct vault *v, struct span name, struct span secret,
		   uint64_t now_wall_us, const char **ret_why)
{
	struct vault_record *record, old;
	struct secret *copy = NULL;
	bool fresh;
	enum err e;

	*ret_why = "a secret's name is at most 64 of a-z 0-9 . _ -";
	if (!text_is_name(name, VAULT_NAME_MAX_BYTES))
		return ERR_FORMAT;
	*ret_why = "the vault is not open";
	if (!v->content)
		return ERR_STATE;
	record = find(v, name);
	fresh = !record;
	*ret_why = "the vault is full";
	if (secret.len_bytes == 0 || secret.len_bytes > SECRET_MAX_BYTES ||
	    (fresh && v->content->count == VAULT_RECORDS_MAX))
		return ERR_LIMIT;
	*ret_why = "memory for secrets cannot be locked";
	e = secret_copy(secret, &copy);
	if (e != ERR_OK)
		return e;
	if (fresh)
		record = &v->content->records[v->content->count++];
	old = *record;
	if (fresh)
		e = span_copy_text(name, record->name, sizeof(record->name));
	record->version = fresh ? 1 : old.version + 1;
	record->created_wall_us = now_wall_us;
	record->secret = copy;
	if (e == ERR_OK)
		e = commit(v, ret_why);
	if (e == ERR_OK) {
		if (!fresh)
			secret_release(old.secret);
	} else {
		secret_release(copy);
		*record = old;
		if (fresh)
			v->content->count--;
	}
	return e;
}

/**
 * vault_remove() - Forget a secret
 * @v:		Vault
 * @name:	Its name
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK once durable; ERR_NOT_FOUND; ERR_STORAGE with the old
 *	   content kept.
 */
enum err vault_remove(struct vault *v, struct span name, const char **ret_why)
{
	struct vault_record *record = find(v, name);
	struct vault_record old, *last;
	enum err e;

	*ret_why = "there is no secret of that name";
	if (!record)
		return ERR_NOT_FOUND;
	last = &v->content->records[v->content->count - 1];
	old = *record;
	*record = *last;
	v->content->count--;
	e = commit(v, ret_why);
	if (e == ERR_OK) {
		*last = (struct vault_record){0};
		secret_release(old.secret);
	} else {
		v->content->count++;
		*record = old;
	}
	return e;
}

/**
 * vault_find() - Borrow a secret
 * @v:		Vault
 * @name:	Its name
 *
 * Return: valid until the vault changes; NULL when there is none.
 */
const struct vault_record *vault_find(const struct vault *v, struct span name)
{
	return find(v, name);
}

/** vault_at() - Walk the records; NULL past the last one */
const struct vault_record *vault_at(const struct vault *v, size_t index)
{
	if (!v->content || index >= v->content->count)
		return NULL;
	return &v->content->records[index];
}

/** vault_key_id() - Number of its key: one more with every rewrap */
uint32_t vault_key_id(const struct vault *v)
{
	return v->content ? v->content->header.key_id : v->header.key_id;
}

/** vault_generation() - How often the vault was written; 0 when never */
uint64_t vault_generation(const struct vault *v)
{
	return v->content ? v->content->header.generation : 0;
}
