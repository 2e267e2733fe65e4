/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_key.c - files of keys that sign images
 *
 * Runs in: kenaz.
 * Trusts:  a key file only if nobody but its owner can read it.
 * Never:   overwrites a key; prints a secret one; keeps it longer than a
 *	    signature takes.
 */
#include "tui/image_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/proto/manifest.h"

static int fail_path(const struct app *app, const char *path, const char *what)
{
	return app_fail(app, EXIT_CODE_FAILED, "%s: %s: %s", path, what,
			strerror(errno));
}

/* Writes a file that is there as a whole or not at all. */
static int put_file(const struct app *app, const char *path, struct span bytes,
		    mode_t mode, bool replace)
{
	char temporary[4096];
	int n = snprintf(temporary, sizeof(temporary), "%s.new.%ld", path,
			 (long)getpid());
	int fd, code = 0;

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return app_fail(app, EXIT_CODE_FAILED, "%s: too long", path);
	fd = open(temporary,
		  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return fail_path(app, path, "cannot be written");
	if (fchmod(fd, mode) < 0 || file_write_all(fd, bytes) != ERR_OK ||
	    fsync(fd) < 0)
		code = fail_path(app, path, "cannot be written");
	close(fd);
	if (code == 0 && replace && rename(temporary, path) < 0)
		code = fail_path(app, path, "cannot be replaced");
	else if (code == 0 && !replace && link(temporary, path) < 0)
		code = errno == EEXIST
			       ? app_fail(app, EXIT_CODE_FAILED,
					  "%s is there already: a key is never "
					  "overwritten",
					  path)
			       : fail_path(app, path, "cannot be made");
	(void)unlink(temporary);
	return code;
}

static int read_file(const struct app *app, const char *path, bool secret,
		     struct buf *ret_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	uint8_t *at;
	int code = 0;

	if (fd < 0)
		return fail_path(app, path, "cannot be opened");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > ret_bytes->max_bytes)
		code = app_fail(app, EXIT_CODE_FAILED,
				"%s is not a file of at most %zu bytes", path,
				ret_bytes->max_bytes);
	else if (secret && (st.st_mode & 077))
		code = app_fail(app, EXIT_CODE_FAILED,
				"others may read the signing key %s: give it "
				"mode 0600, or make another",
				path);
	else if (buf_reserve(ret_bytes, (size_t)st.st_size, &at) != ERR_OK)
		code = app_fail(app, EXIT_CODE_FAILED, "out of memory");
	else if (read(fd, at, (size_t)st.st_size) != (ssize_t)st.st_size)
		code = fail_path(app, path, "cannot be read");
	close(fd);
	return code;
}

static int read_secret(const struct app *app, const char *path,
		       struct minisign_secret *ret_secret)
{
	struct buf text;
	enum err e;
	int code;

	if (sodium_init() < 0)
		return app_fail(app, EXIT_CODE_FAILED,
				"this system has no random numbers");
	(void)sodium_mlock(ret_secret, sizeof(*ret_secret));
	buf_init_secret(&text, MINISIGN_FILE_MAX_BYTES);
	code = read_file(app, path, true, &text);
	if (code == 0) {
		e = minisign_secret_read(buf_span(&text), ret_secret);
		if (e == ERR_UNSUPPORTED)
			code = app_fail(app, EXIT_CODE_FAILED,
					"%s has a password; sign with "
					"minisign: minisign -S -s KEY -m "
					"manifest.json -x manifest.sig",
					path);
		else if (e != ERR_OK)
			code = app_fail(app, EXIT_CODE_FAILED,
					"%s is no secret key of minisign",
					path);
	}
	buf_fini(&text);
	return code;
}

static int put_public(const struct app *app,
		      const struct minisign_secret *secret, const char *path)
{
	struct minisign_key key;
	struct buf text;
	int code;

	minisign_secret_public(secret, &key);
	buf_init(&text, MINISIGN_FILE_MAX_BYTES);
	code = minisign_key_write(&key, &text) == ERR_OK
		       ? put_file(app, path, buf_span(&text), 0644, true)
		       : app_fail(app, EXIT_CODE_FAILED, "out of memory");
	buf_fini(&text);
	return code;
}

/**
 * image_key_make() - Make a key and write both halves
 * @app:		For what is said
 * @path:		The secret half; must not exist
 * @public_path:	The public half
 *
 * Return: exit code.
 */
int image_key_make(const struct app *app, const char *path,
		   const char *public_path)
{
	struct minisign_secret secret;
	struct buf text;
	int code = EXIT_CODE_FAILED;

	if (sodium_init() < 0)
		return app_fail(app, EXIT_CODE_FAILED,
				"this system has no random numbers");
	(void)sodium_mlock(&secret, sizeof(secret));
	buf_init_secret(&text, MINISIGN_FILE_MAX_BYTES);
	if (minisign_secret_make(&secret) == ERR_OK &&
	    minisign_secret_write(&secret, &text) == ERR_OK)
		code = put_file(app, path, buf_span(&text), 0600, false);
	else
		(void)app_fail(app, EXIT_CODE_FAILED, "no key could be made");
	if (code == 0)
		code = put_public(app, &secret, public_path);
	buf_fini(&text);
	(void)sodium_munlock(&secret, sizeof(secret));
	return code;
}

/** image_key_write_public() - Write the public half of a key; exit code */
int image_key_write_public(const struct app *app, const char *key_path,
			   const char *public_path)
{
	struct minisign_secret secret = {0};
	int code = read_secret(app, key_path, &secret);

	if (code == 0)
		code = put_public(app, &secret, public_path);
	(void)sodium_munlock(&secret, sizeof(secret));
	return code;
}

/* The image's own name, so that the comment tells files apart. */
static int read_manifest(const struct app *app, const char *folder,
			 struct buf *ret_text, char ret_comment[128])
{
	const char *why = "";
	char path[4096];
	struct image image;
	struct buf reason;
	int code, n = snprintf(path, sizeof(path), "%s/" IMAGE_MANIFEST_NAME,
			       folder);

	if (n < 0 || (size_t)n >= sizeof(path))
		return app_fail(app, EXIT_CODE_FAILED, "%s: too long", folder);
	code = read_file(app, path, false, ret_text);
	if (code != 0)
		return code;
	buf_init(&reason, 1024);
	if (manifest_parse(buf_span(ret_text), &image, &reason) != ERR_OK) {
		if (buf_terminate(&reason, &why) != ERR_OK)
			why = "out of memory";
		code = app_fail(app, EXIT_CODE_FAILED, "%s: %s", folder, why);
	}
	buf_fini(&reason);
	(void)snprintf(ret_comment, 128, "kenaz image %s", image.name);
	return code;
}

/**
 * image_key_sign() - Sign the manifest of an image
 * @app:	For what is said
 * @key_path:	The secret key
 * @folder:	The image's folder; its manifest.sig is replaced
 *
 * Return: exit code.
 */
int image_key_sign(const struct app *app, const char *key_path,
		   const char *folder)
{
	struct minisign_secret secret = {0};
	char path[4096], comment[128] = "";
	struct buf manifest, signature;
	int code;

	buf_init(&manifest, IMAGE_MANIFEST_MAX_BYTES);
	buf_init(&signature, MINISIGN_FILE_MAX_BYTES);
	code = read_manifest(app, folder, &manifest, comment);
	if (code == 0)
		code = read_secret(app, key_path, &secret);
	if (code == 0 && minisign_sign(&secret, buf_span(&manifest), comment,
				       &signature) != ERR_OK)
		code = app_fail(app, EXIT_CODE_FAILED, "%s cannot be signed",
				folder);
	(void)sodium_munlock(&secret, sizeof(secret));
	(void)snprintf(path, sizeof(path), "%s/" IMAGE_SIGNATURE_NAME, folder);
	if (code == 0)
		code = put_file(app, path, buf_span(&signature), 0644, true);
	buf_fini(&signature);
	buf_fini(&manifest);
	return code;
}
