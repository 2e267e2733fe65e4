/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_key.c - where the vault's wrapping key comes from
 *
 * Runs in: kenaz-broker.
 * Trusts:  a key file that only its owner can read or write.
 * Never:   falls back to another backend, follows a link, uses a file that
 *	    somebody else may have read.
 *
 * The keyfile backend protects a vault that is copied without its key file
 * (a backup of the vault alone, for instance), not from whoever can read
 * both. It has to be chosen.
 */
#include "engine/broker/vault_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/broker/vault_format.h"

#define KEYFILE_MAGIC       "KENAZKEY"
#define KEYFILE_MAGIC_BYTES 8u
#define KEYFILE_BYTES       (KEYFILE_MAGIC_BYTES + VAULT_KEY_BYTES)

static enum err check_owner(int fd, const char **ret_why)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		*ret_why = "vault.key cannot be examined";
		return ERR_SYS;
	}
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
		*ret_why = "vault.key is not a plain file with one name";
		return ERR_PERMISSION;
	}
	if (st.st_uid != geteuid()) {
		*ret_why = "vault.key belongs to another user";
		return ERR_PERMISSION;
	}
	if (st.st_mode & 0177) {
		*ret_why = "vault.key may be read by others; its mode must "
			   "be 0600";
		return ERR_PERMISSION;
	}
	if (st.st_size != (off_t)KEYFILE_BYTES) {
		*ret_why = "vault.key is damaged";
		return ERR_FORMAT;
	}
	return ERR_OK;
}

static enum err read_exactly(int fd, uint8_t *data, size_t len_bytes)
{
	size_t have = 0;

	while (have < len_bytes) {
		ssize_t n = read(fd, data + have, len_bytes - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? ERR_SYS : ERR_SHORT;
		have += (size_t)n;
	}
	return ERR_OK;
}

static enum err write_all(int fd, const uint8_t *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = write(fd, data, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_STORAGE;
		data += n;
		len_bytes -= (size_t)n;
	}
	return ERR_OK;
}

static enum err keyfile_load(int dir_fd, struct secret **ret_key,
			     const char **ret_why)
{
	struct secret *file = NULL;
	int fd = openat(dir_fd, VAULT_KEY_FILE,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	enum err e;

	if (fd < 0) {
		*ret_why = errno == ENOENT ? "vault.key is missing"
					   : "vault.key cannot be opened";
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION;
	}
	e = check_owner(fd, ret_why);
	if (e != ERR_OK)
		goto out;
	*ret_why = "vault.key cannot be read into locked memory";
	e = secret_new(KEYFILE_BYTES, &file);
	if (e == ERR_OK)
		e = read_exactly(fd, file->data, KEYFILE_BYTES);
	if (e != ERR_OK)
		goto out;
	if (memcmp(file->data, KEYFILE_MAGIC, KEYFILE_MAGIC_BYTES) != 0) {
		*ret_why = "vault.key is damaged";
		e = ERR_FORMAT;
		goto out;
	}
	e = secret_copy(span_of(file->data + KEYFILE_MAGIC_BYTES,
				VAULT_KEY_BYTES),
			ret_key);
out:
	secret_release(file);
	(void)close(fd);
	return e;
}

static enum err keyfile_create(int dir_fd, struct secret **ret_key,
			       const char **ret_why)
{
	struct secret *file = NULL;
	int fd = openat(dir_fd, VAULT_KEY_FILE,
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	enum err e;

	*ret_why = "vault.key cannot be written";
	if (fd < 0)
		return errno == EEXIST ? ERR_EXISTS : ERR_STORAGE;
	e = secret_new(KEYFILE_BYTES, &file);
	if (e == ERR_OK) {
		memcpy(file->data, KEYFILE_MAGIC, KEYFILE_MAGIC_BYTES);
		randombytes_buf(file->data + KEYFILE_MAGIC_BYTES,
				VAULT_KEY_BYTES);
		e = write_all(fd, file->data, KEYFILE_BYTES);
	}
	if (e == ERR_OK && (fsync(fd) != 0 || fsync(dir_fd) != 0))
		e = ERR_STORAGE;
	if (e == ERR_OK)
		e = secret_copy(span_of(file->data + KEYFILE_MAGIC_BYTES,
					VAULT_KEY_BYTES),
				ret_key);
	if (e != ERR_OK)
		(void)unlinkat(dir_fd, VAULT_KEY_FILE, 0);
	secret_release(file);
	(void)close(fd);
	return e;
}

const struct vault_backend vault_backend_keyfile = {
	.id = VAULT_BACKEND_KEYFILE,
	.name = "keyfile",
	.load = keyfile_load,
	.create = keyfile_create,
};

static const struct vault_backend *const backends[] = {
	&vault_backend_keyfile,
};

static const struct {
	enum vault_backend_id id;
	const char *name;
} names[] = {
	{VAULT_BACKEND_KEYFILE, "keyfile"},
	{VAULT_BACKEND_SYSTEMD_CREDS, "systemd-creds"},
	{VAULT_BACKEND_SECRET_SERVICE, "secret-service"},
	{VAULT_BACKEND_PASSPHRASE, "passphrase"},
};

/**
 * vault_backend_find() - Look a backend up by its configured name
 * @name:	Text
 *
 * Return: the backend, or NULL when this program has none of that name.
 */
const struct vault_backend *vault_backend_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(backends); i++)
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	return NULL;
}

/** vault_backend_name() - Name of the backend a vault says it needs */
const char *vault_backend_name(uint32_t id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if ((uint32_t)names[i].id == id)
			return names[i].name;
	return "unknown";
}
