/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_file.c - a wrapping key in a file beside the vault
 *
 * Runs in: kenaz-broker.
 * Trusts:  a key file that only its owner can read or write.
 * Never:   follows a link, uses a file that somebody else may have read,
 *	    writes over one.
 *
 * The keyfile backend protects a vault that is copied without its key file
 * (a backup of the vault alone, for instance), not from whoever can read
 * both. It has to be chosen.
 */
#include "engine/broker/key_file.h"

#include <dirent.h>
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

/**
 * key_file_load() - Read a wrapping key
 * @dir_fd:	The vault's folder
 * @name:	File in it
 * @ret_key:	VAULT_KEY_BYTES; owned by the caller; written on success
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_PERMISSION; ERR_FORMAT; ERR_LIMIT;
 *	   ERR_MEMORY; ERR_SYS.
 */
enum err key_file_load(int dir_fd, const char *name, struct secret **ret_key,
		       const char **ret_why)
{
	struct secret *file = NULL;
	int fd = openat(dir_fd, name,
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

/**
 * key_file_create() - Make a random wrapping key and its file
 * @dir_fd:	The vault's folder
 * @name:	File that must not exist
 * @ret_key:	As from key_file_load()
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK once durable; ERR_EXISTS; ERR_STORAGE; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err key_file_create(int dir_fd, const char *name, struct secret **ret_key,
			 const char **ret_why)
{
	struct secret *file = NULL;
	int fd = openat(dir_fd, name,
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
		(void)unlinkat(dir_fd, name, 0);
	secret_release(file);
	(void)close(fd);
	return e;
}

static bool is_key_file(const char *name, struct vault_wrap *ret_wrap)
{
	char back[WRAP_FILE_MAX_BYTES];
	size_t len = strlen(name);

	*ret_wrap = (struct vault_wrap){.backend = VAULT_BACKEND_KEYFILE};
	if (len == 0 || len >= sizeof(back))
		return false;
	memcpy(ret_wrap->params, name, len);
	ret_wrap->params_bytes = (uint32_t)len;
	return wrap_get_file(ret_wrap, back) == ERR_OK;
}

/**
 * key_file_sweep() - Remove the key files that open this vault no more
 * @dir_fd:	The vault's folder
 * @in_force:	Who wraps the vault now, whichever backend
 *
 * A rewrap that was killed leaves one: the old one, or the next.
 *
 * Return: ERR_OK; ERR_SYS; ERR_STORAGE.
 */
enum err key_file_sweep(int dir_fd, const struct vault_wrap *in_force)
{
	char keep[WRAP_FILE_MAX_BYTES] = "";
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct vault_wrap wrap;
	struct dirent *entry;
	enum err e = ERR_OK;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return ERR_SYS;
	}
	if (in_force->backend == VAULT_BACKEND_KEYFILE)
		e = wrap_get_file(in_force, keep);
	while (e == ERR_OK && (entry = readdir(dir)))
		if (is_key_file(entry->d_name, &wrap) &&
		    strcmp(entry->d_name, keep) != 0 &&
		    unlinkat(dir_fd, entry->d_name, 0) != 0)
			e = ERR_STORAGE;
	(void)closedir(dir);
	if (e == ERR_OK && fsync(dir_fd) != 0)
		e = ERR_STORAGE;
	return e;
}
