/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credential_file.c - a wrapping key that systemd decrypted for the engine
 *
 * Runs in: kenaz-broker.
 * Trusts:  the folder that systemd made for this service, which core passed
 *	    as a descriptor: $CREDENTIALS_DIRECTORY, see systemd.exec(5).
 * Never:   makes, changes or removes a credential; names a path of its own.
 *
 * systemd-creds(1) encrypts it with the TPM's or the host's key, or both; the
 * unit's LoadCredentialEncrypted= decrypts it into memory that is not swapped
 * and that only this service sees. It is 32 bytes, or 64 hexadecimal digits
 * with or without a newline. A key of equal bytes is refused: one that was
 * meant to be random, and is not.
 */
#include "engine/broker/credential_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/broker/vault_format.h"

static bool is_uniform(const uint8_t *data, size_t len_bytes)
{
	uint8_t differs = 0;
	size_t i;

	for (i = 1; i < len_bytes; i++)
		differs |= data[i] ^ data[0];
	return differs == 0;
}

/**
 * credential_parse() - Read a wrapping key
 * @file:	Whole credential, untrusted
 * @ret_key:	VAULT_KEY_BYTES; owned by the caller; written on success
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err credential_parse(struct span file, struct secret **ret_key,
			  const char **ret_why)
{
	struct secret *key;
	enum err e;

	*ret_why = "the credential is neither 32 bytes nor 64 hexadecimal "
		   "digits";
	if (file.len_bytes == 2 * VAULT_KEY_BYTES + 1 &&
	    file.data[file.len_bytes - 1] == '\n')
		file.len_bytes--;
	if (file.len_bytes == VAULT_KEY_BYTES) {
		*ret_why = "memory for secrets cannot be locked";
		e = secret_copy(file, &key);
	} else if (file.len_bytes == 2 * VAULT_KEY_BYTES) {
		e = secret_new(VAULT_KEY_BYTES, &key);
		if (e == ERR_OK) {
			e = text_unhex(file, key->data, key->len_bytes);
			if (e != ERR_OK)
				secret_release(key);
		}
	} else {
		return ERR_FORMAT;
	}
	if (e != ERR_OK)
		return e;
	if (is_uniform(key->data, key->len_bytes)) {
		*ret_why = "the credential is one byte over and over: make a "
			   "random one";
		secret_release(key);
		return ERR_FORMAT;
	}
	*ret_key = key;
	return ERR_OK;
}

static enum err read_all(int fd, struct secret *file, size_t *ret_len)
{
	size_t have = 0;
	ssize_t n;

	while (have < file->len_bytes) {
		n = read(fd, file->data + have, file->len_bytes - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret_len = have;
	return ERR_OK;
}

/**
 * credential_load() - Read a wrapping key from the service's credentials
 * @dir_fd:	The folder, or -1 when the engine was started without one
 * @name:	Credential
 * @ret_key:	As from credential_parse()
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_PERMISSION; ERR_FORMAT; ERR_LIMIT;
 *	   ERR_MEMORY; ERR_SYS.
 */
enum err credential_load(int dir_fd, const char *name, struct secret **ret_key,
			 const char **ret_why)
{
	struct secret *file = NULL;
	struct stat st;
	size_t len = 0;
	enum err e;
	int fd;

	if (dir_fd < 0) {
		*ret_why = "the engine was started without credentials of "
			   "systemd: its unit needs LoadCredentialEncrypted=";
		return ERR_NOT_FOUND;
	}
	fd = openat(dir_fd, name,
		    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		*ret_why = errno == ENOENT ? "the unit has no credential of "
					     "the configured name"
					   : "the credential cannot be opened";
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMISSION;
	}
	*ret_why = "the credential is no plain file of at most 1024 bytes";
	e = ERR_FORMAT;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_size > (off_t)CREDENTIAL_FILE_MAX_BYTES)
		goto out;
	if (st.st_mode & 0007) {
		*ret_why = "the credential may be read by everybody";
		e = ERR_PERMISSION;
		goto out;
	}
	*ret_why = "the credential cannot be read into locked memory";
	e = secret_new(CREDENTIAL_FILE_MAX_BYTES + 1, &file);
	if (e == ERR_OK)
		e = read_all(fd, file, &len);
	if (e == ERR_OK)
		e = credential_parse(span_of(file->data, len), ret_key,
				     ret_why);
out:
	secret_release(file);
	(void)close(fd);
	return e;
}
