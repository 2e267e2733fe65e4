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
 * over the old one; memory changes last. A vault that does not exist yet is
 * empty, and its file and key file are made by the first vault_set().
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
	int dir_fd; /* owned */
	const struct vault_backend *backend;
	struct secret *wrapping_key;   /* NULL until there is a vault */
	struct vault_content *content; /* NULL until there is a vault */
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

static enum err open_file(struct vault *v, struct span file,
			  const char **ret_why)
{
	struct vault_header header;
	enum err e = vault_header_read(file, &header);

	if (e != ERR_OK) {
		*ret_why = e == ERR_VERSION ? "a newer Kenaz wrote this vault"
					    : "this is not a vault file";
		return e;
	}
	if (header.backend != (uint32_t)v->backend->id) {
		*ret_why = "the vault's key is kept in another place than the "
			   "configured one";
		return ERR_CONFIG;
	}
	e = v->backend->load(v->dir_fd, &v->wrapping_key, ret_why);
	if (e != ERR_OK)
		return e;
	return vault_content_read(file, v->wrapping_key, &v->content, ret_why);
}

/**
 * vault_open() - Open a vault, or note that there is none yet
 * @dir_fd:	Directory, owned from here on when this succeeds
 * @backend:	Where its wrapping key is
 * @ret_vault:	Owned by the caller; written on success
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_PERMISSION; ERR_NOT_FOUND for a vault without its key;
 *	   ERR_CONFIG for another backend's vault; ERR_VERSION; ERR_FORMAT;
 *	   ERR_SHORT; ERR_CRYPTO; ERR_INTEGRITY; ERR_LIMIT; ERR_MEMORY;
 *	   ERR_SYS.
 */
enum err vault_open(int dir_fd, const struct vault_backend *backend,
		    struct vault **ret_vault, const char **ret_why)
{
	struct vault *v = calloc(1, sizeof(*v));
	struct buf file;
	enum err e;

	if (!v) {
		*ret_why = "out of memory";
		return ERR_MEMORY;
	}
	v->dir_fd = -1;
	v->backend = backend;
	buf_init(&file, VAULT_FILE_MAX_BYTES);
	e = read_file(dir_fd, &file, ret_why);
	v->dir_fd = dir_fd;
	if (e == ERR_OK)
		e = open_file(v, buf_span(&file), ret_why);
	else if (e == ERR_NOT_FOUND)
		e = ERR_OK;
	buf_fini(&file);
	if (e == ERR_OK) {
		*ret_vault = v;
	} else {
		v->dir_fd = -1;
		vault_free(v);
	}
	return e;
}

/**
 * vault_free() - Wipe everything and close the directory
 * @v:	Vault, or NULL
 */
void vault_free(struct vault *v)
{
	if (!v)
		return;
	vault_content_free(v->content);
	secret_release(v->wrapping_key);
	if (v->dir_fd >= 0)
		(void)close(v->dir_fd);
	free(v);
}

/* The wrapping key of a vault about to be made. */
static enum err first_key(struct vault *v, const char **ret_why)
{
	enum err e = v->backend->load(v->dir_fd, &v->wrapping_key, ret_why);

	if (e == ERR_NOT_FOUND)
		e = v->backend->create(v->dir_fd, &v->wrapping_key, ret_why);
	return e;
}

static enum err first_content(struct vault *v, const char **ret_why)
{
	enum err e = ERR_OK;

	if (v->content)
		return ERR_OK;
	if (!v->wrapping_key)
		e = first_key(v, ret_why);
	if (e != ERR_OK)
		return e;
	*ret_why = "memory for secrets cannot be locked";
	return vault_content_new((uint32_t)v->backend->id, &v->content);
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
 *	   STORAGE with the old content kept; as vault_open() for the key.
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
	e = first_content(v, ret_why);
	if (e != ERR_OK)
		return e;
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

/** vault_generation() - How often the vault was written; 0 when never */
uint64_t vault_generation(const struct vault *v)
{
	return v->content ? v->content->header.generation : 0;
}
