/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - an image's files, verified against its manifest
 *
 * Runs in: kenaz-launch.
 * Trusts:  the manifest for what the files should be; the files for nothing.
 * Never:   boots a byte that was not hashed: the files are copied into sealed
 *	    memfds, and it is the copy that is hashed and booted.
 *
 * manifest.json: {"v":1, "name", "kernel" and "initrd" {"file", "sha256",
 * "bytes"}, "cmdline", "cpu", "min_memory_mib", "kernel_version", "packages",
 * "created"}. The last three are for people and audit, not for booting.
 */
#include "vm/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "vm/memory.h"

#define MANIFEST_NAME    "manifest.json"
#define DIGEST_SHOWN     12 /* hex digits in a sentence */
#define READ_CHUNK_BYTES (1u << 20)

static const struct json_limits manifest_limits = {
	.max_bytes = IMAGE_MANIFEST_MAX_BYTES,
	.max_tokens = 2048,
	.max_depth = 8,
};

__attribute__((format(printf, 3, 4))) static enum err
refuse(struct buf *reason, enum err e, const char *format, ...)
{
	char text[REASON_MAX_BYTES / 2];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	buf_reset(reason);
	return buf_put_text(reason, text) == ERR_OK ? e : ERR_MEMORY;
}

static enum err bad_manifest(struct buf *reason, const char *what)
{
	return refuse(reason, ERR_FORMAT,
		      MANIFEST_NAME ": %s; build the image again", what);
}

/* A name in the image's own folder. */
static bool is_file_name(const char *name)
{
	return text_is_name(span_text(name), IMAGE_FILE_NAME_BYTES - 1) &&
	       name[0] != '.';
}

static enum err parse_file(const struct json *j, const char *key,
			   struct image_file *ret_file)
{
	json_ref at = json_get(j, JSON_ROOT, key);
	char hex[DIGEST_HEX_BYTES];
	enum err e;

	if (json_count(j, at) != 3)
		return ERR_FORMAT;
	ret_file->fd = -1;
	e = json_text(j, json_get(j, at, "file"), ret_file->name,
		      sizeof(ret_file->name));
	if (e == ERR_OK)
		e = json_uint(j, json_get(j, at, "bytes"), 1,
			      IMAGE_FILE_MAX_BYTES, &ret_file->size_bytes);
	if (e == ERR_OK)
		e = json_text(j, json_get(j, at, "sha256"), hex, sizeof(hex));
	if (e == ERR_OK)
		e = text_unhex(span_text(hex), ret_file->digest, DIGEST_BYTES);
	if (e == ERR_OK && !is_file_name(ret_file->name))
		e = ERR_FORMAT;
	return e;
}

/* Printable ASCII: it becomes an argument of QEMU and an audit field. */
static bool is_plain(const char *text, bool spaces)
{
	for (; *text; text++)
		if (*text < (spaces ? ' ' : '!') || *text > '~')
			return false;
	return true;
}

/* A CPU model with features, but no other option of QEMU's. */
static bool is_cpu(const char *text)
{
	return text[0] && is_plain(text, false) && !strchr(text, '=') &&
	       text[0] != '-';
}

static const char *const known_keys[] = {
	"v",        "name",    "kernel", "initrd",         "kernel_version",
	"packages", "cmdline", "cpu",    "min_memory_mib", "created",
};

static enum err check_keys(const struct json *j)
{
	JSON_EACH (j, at, JSON_ROOT) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(known_keys); i++)
			if (json_key_is(j, at, known_keys[i]))
				break;
		if (i == ARRAY_SIZE(known_keys))
			return ERR_FORMAT;
	}
	return ERR_OK;
}

static enum err parse_fields(const struct json *j, struct image *image,
			     struct buf *reason)
{
	uint64_t value;

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return bad_manifest(reason, "not an object");
	if (json_uint(j, json_get(j, JSON_ROOT, "v"), 1, 1, &value) != ERR_OK)
		return refuse(reason, ERR_VERSION,
			      MANIFEST_NAME
			      ": version is not 1; this Kenaz reads version 1");
	if (check_keys(j) != ERR_OK)
		return bad_manifest(reason, "unknown key");
	if (json_text(j, json_get(j, JSON_ROOT, "name"), image->name,
		      sizeof(image->name)) != ERR_OK ||
	    !text_is_name(span_text(image->name), NAME_MAX_BYTES))
		return bad_manifest(reason, "name");
	if (parse_file(j, "kernel", &image->kernel) != ERR_OK)
		return bad_manifest(reason, "kernel");
	if (parse_file(j, "initrd", &image->initrd) != ERR_OK)
		return bad_manifest(reason, "initrd");
	if (json_text(j, json_get(j, JSON_ROOT, "cmdline"), image->command_line,
		      sizeof(image->command_line)) != ERR_OK ||
	    !is_plain(image->command_line, true))
		return bad_manifest(reason, "cmdline");
	if (json_text(j, json_get(j, JSON_ROOT, "cpu"), image->cpu,
		      sizeof(image->cpu)) != ERR_OK ||
	    !is_cpu(image->cpu))
		return bad_manifest(reason, "cpu");
	if (json_uint(j, json_get(j, JSON_ROOT, "min_memory_mib"),
		      MEMORY_MIN_MIB, MEMORY_MAX_MIB, &value) != ERR_OK)
		return bad_manifest(reason, "min_memory_mib");
	image->min_memory_mib = (uint32_t)value;
	return ERR_OK;
}

/**
 * image_parse() - Read a manifest
 * @manifest:	Its bytes
 * @ret_image:	No files open yet; written in any case
 * @reason:	A sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_VERSION; ERR_MEMORY.
 */
enum err image_parse(struct span manifest, struct image *ret_image,
		     struct buf *reason)
{
	struct json j;
	enum err e;

	*ret_image = (struct image){.kernel.fd = -1, .initrd.fd = -1};
	json_init(&j);
	e = json_parse(&j, manifest, &manifest_limits);
	if (e == ERR_MEMORY)
		goto out;
	if (e != ERR_OK) {
		e = bad_manifest(reason,
				 j.error_text ? j.error_text : err_text(e));
		goto out;
	}
	e = parse_fields(&j, ret_image, reason);
	if (e == ERR_OK)
		digest_sha256(manifest, ret_image->manifest_digest);
out:
	json_fini(&j);
	return e;
}

static enum err open_file(int dir_fd, const char *name, uint64_t max_bytes,
			  int *ret_fd, uint64_t *ret_bytes, struct buf *reason)
{
	/* Nonblocking: a FIFO in its place must not hang us. */
	int fd = openat(dir_fd, name,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return refuse(reason, ERR_NOT_FOUND,
			      "image file %s cannot be opened: %s; build or "
			      "pull the image",
			      name, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > max_bytes) {
		close(fd);
		return refuse(reason, ERR_FORMAT,
			      "image file %s is not a file of at most %llu "
			      "bytes",
			      name, (unsigned long long)max_bytes);
	}
	*ret_fd = fd;
	*ret_bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

static enum err read_exactly(int fd, uint8_t *at, uint64_t len_bytes,
			     struct digest *d)
{
	while (len_bytes) {
		size_t want = len_bytes < READ_CHUNK_BYTES ? (size_t)len_bytes
							   : READ_CHUNK_BYTES;
		ssize_t n = read(fd, at, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? ERR_SYS : ERR_SHORT;
		if (d)
			digest_update(d, span_of(at, (size_t)n));
		at += n;
		len_bytes -= (uint64_t)n;
	}
	return ERR_OK;
}

/* Copy into a fresh memfd and hash the copy. */
static enum err copy_and_hash(int from_fd, uint64_t size_bytes, int *ret_fd,
			      uint8_t ret_digest[DIGEST_BYTES])
{
	struct digest *d = NULL;
	void *at = MAP_FAILED;
	int fd = memfd_create("kenaz-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	enum err e = ERR_SYS;

	if (fd < 0)
		return ERR_SYS;
	if (ftruncate(fd, (off_t)size_bytes) < 0)
		goto out;
	at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		goto out;
	e = digest_new(&d);
	if (e != ERR_OK)
		goto out;
	e = read_exactly(from_fd, at, size_bytes, d);
	if (e != ERR_OK)
		goto out;
	digest_finish(d, ret_digest);
	munmap(at, size_bytes);
	at = MAP_FAILED;
	e = memfd_seal(fd);
out:
	digest_free(d);
	if (at != MAP_FAILED)
		munmap(at, size_bytes);
	if (e == ERR_OK)
		*ret_fd = fd;
	else
		close(fd);
	return e;
}

static enum err load_file(int dir_fd, struct image_file *file,
			  struct buf *reason)
{
	char want[DIGEST_HEX_BYTES], got[DIGEST_HEX_BYTES];
	uint8_t digest[DIGEST_BYTES];
	uint64_t size_bytes;
	int from_fd;
	enum err e = open_file(dir_fd, file->name, IMAGE_FILE_MAX_BYTES,
			       &from_fd, &size_bytes, reason);

	if (e != ERR_OK)
		return e;
	if (size_bytes != file->size_bytes) {
		e = refuse(reason, ERR_INTEGRITY,
			   "image file %s has %llu bytes, its manifest says "
			   "%llu; build or pull the image again",
			   file->name, (unsigned long long)size_bytes,
			   (unsigned long long)file->size_bytes);
		goto out;
	}
	e = copy_and_hash(from_fd, size_bytes, &file->fd, digest);
	if (e != ERR_OK) {
		e = refuse(reason, e, "image file %s cannot be read: %s",
			   file->name,
			   e == ERR_SYS ? strerror(errno) : err_text(e));
		goto out;
	}
	if (!digest_equal(digest, file->digest)) {
		text_hex(file->digest, DIGEST_BYTES, want);
		text_hex(digest, DIGEST_BYTES, got);
		e = refuse(reason, ERR_INTEGRITY,
			   "image file %s is not what its manifest says: "
			   "SHA-256 is %.*s..., should be %.*s...; build or "
			   "pull the image again",
			   file->name, DIGEST_SHOWN, got, DIGEST_SHOWN, want);
	}
out:
	close(from_fd);
	return e;
}

/**
 * image_open() - Read the manifest, copy and verify the files
 * @dir_fd:	The image's folder, borrowed
 * @name:	Name the image must have
 * @ret_image:	image_close() when done, also after a failure
 * @reason:	One sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_VERSION; ERR_INTEGRITY;
 *	   ERR_SYS; ERR_MEMORY.
 */
enum err image_open(int dir_fd, const char *name, struct image *ret_image,
		    struct buf *reason)
{
	struct buf text;
	uint64_t size_bytes;
	uint8_t *at;
	int fd = -1;
	enum err e;

	*ret_image = (struct image){.kernel.fd = -1, .initrd.fd = -1};
	buf_init(&text, IMAGE_MANIFEST_MAX_BYTES);
	e = open_file(dir_fd, MANIFEST_NAME, IMAGE_MANIFEST_MAX_BYTES, &fd,
		      &size_bytes, reason);
	if (e == ERR_OK)
		e = buf_reserve(&text, (size_t)size_bytes, &at);
	if (e == ERR_OK) {
		e = read_exactly(fd, at, size_bytes, NULL);
		if (e != ERR_OK)
			e = bad_manifest(reason, err_text(e));
	}
	if (e == ERR_OK)
		e = image_parse(buf_span(&text), ret_image, reason);
	if (e == ERR_OK && strcmp(ret_image->name, name) != 0)
		e = refuse(reason, ERR_INTEGRITY,
			   "the image's manifest is for '%s', not for '%s'",
			   ret_image->name, name);
	if (e == ERR_OK)
		e = load_file(dir_fd, &ret_image->kernel, reason);
	if (e == ERR_OK)
		e = load_file(dir_fd, &ret_image->initrd, reason);
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return e;
}

/** image_close() - Close the files; an image never opened is accepted */
void image_close(struct image *image)
{
	if (image->kernel.fd >= 0)
		close(image->kernel.fd);
	if (image->initrd.fd >= 0)
		close(image->initrd.fd);
	image->kernel.fd = -1;
	image->initrd.fd = -1;
}
