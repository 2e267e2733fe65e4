/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - an image's files, verified against its manifest
 *
 * Runs in: kenaz-launch.
 * Trusts:  the manifest for what the files should be; the files for nothing.
 * Never:   boots a byte that was not hashed: kernel and initramfs are copied
 *	    into sealed memfds, and it is the copy that is hashed and booted;
 *	    a root image is checked by dm-verity block by block, when read.
 */
#include "vm/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "vm/image_file.h"
#include "vm/image_sign.h"

#define DIGEST_SHOWN     12 /* hex digits in a sentence */
#define READ_CHUNK_BYTES (128u * 1024u)
#define REBUILD          "build or pull the image"

static ssize_t read_some(int fd, uint8_t *at, uint64_t left_bytes)
{
	size_t want = left_bytes < READ_CHUNK_BYTES ? (size_t)left_bytes
						    : READ_CHUNK_BYTES;
	ssize_t n;

	do {
		n = read(fd, at, want);
	} while (n < 0 && errno == EINTR);
	return n;
}

static enum err write_exactly(int fd, const uint8_t *at, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = write(fd, at, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS;
		at += n;
		len_bytes -= (size_t)n;
	}
	return ERR_OK;
}

/* Copy into a fresh memfd; what is hashed is what was written to it. A piece
 * is hashed while the processor's cache still has it, and writing is cheaper
 * than the page faults of a mapping. */
static enum err copy_and_hash(int from_fd, uint64_t size_bytes, int *ret_fd,
			      uint8_t ret_digest[DIGEST_BYTES])
{
	static uint8_t piece[READ_CHUNK_BYTES];
	struct digest *d = NULL;
	int fd = memfd_create("kenaz-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	enum err e = fd < 0 ? ERR_SYS : digest_new(&d);

	while (e == ERR_OK && size_bytes) {
		ssize_t n = read_some(from_fd, piece, size_bytes);

		if (n <= 0) {
			e = n < 0 ? ERR_SYS : ERR_SHORT;
			break;
		}
		digest_update(d, span_of(piece, (size_t)n));
		e = write_exactly(fd, piece, (size_t)n);
		size_bytes -= (uint64_t)n;
	}
	if (e == ERR_OK) {
		digest_finish(d, ret_digest);
		e = memfd_seal(fd);
	}
	digest_free(d);
	if (e == ERR_OK)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	return e;
}

static enum err wrong_size(const struct image_file *file, uint64_t size_bytes,
			   struct buf *reason)
{
	return image_refuse(
		reason, ERR_INTEGRITY,
		"image file %s has %llu bytes, its manifest says %llu; "
		"build or pull the image again",
		file->name, (unsigned long long)size_bytes,
		(unsigned long long)file->size_bytes);
}

static enum err load_file(int dir_fd, struct image_file *file,
			  struct buf *reason)
{
	char want[DIGEST_HEX_BYTES], got[DIGEST_HEX_BYTES];
	uint8_t digest[DIGEST_BYTES];
	uint64_t size_bytes;
	int from_fd;
	enum err e = image_file_open(dir_fd, file->name, IMAGE_FILE_MAX_BYTES,
				     REBUILD, &from_fd, &size_bytes, reason);

	if (e != ERR_OK)
		return e;
	if (size_bytes != file->size_bytes) {
		e = wrong_size(file, size_bytes, reason);
		goto out;
	}
	e = copy_and_hash(from_fd, size_bytes, &file->fd, digest);
	if (e != ERR_OK) {
		e = image_refuse(reason, e, "image file %s cannot be read: %s",
				 file->name,
				 e == ERR_SYS ? strerror(errno) : err_text(e));
		goto out;
	}
	if (!digest_equal(digest, file->digest)) {
		text_hex(file->digest, DIGEST_BYTES, want);
		text_hex(digest, DIGEST_BYTES, got);
		e = image_refuse(
			reason, ERR_INTEGRITY,
			"image file %s is not what its manifest says: "
			"SHA-256 is %.*s..., should be %.*s...; build or "
			"pull the image again",
			file->name, DIGEST_SHOWN, got, DIGEST_SHOWN, want);
	}
out:
	close(from_fd);
	return e;
}

/*
 * The root image may have many gigabytes: it is neither copied nor hashed
 * here. dm-verity in the guest checks each block when it is read, against
 * the root hash of the manifest, so a later change of the file is caught too.
 */
static enum err open_root(int dir_fd, struct image_file *file,
			  struct buf *reason)
{
	uint64_t size_bytes;
	enum err e = image_file_open(dir_fd, file->name, IMAGE_ROOT_MAX_BYTES,
				     REBUILD, &file->fd, &size_bytes, reason);

	if (e == ERR_OK && size_bytes != file->size_bytes)
		e = wrong_size(file, size_bytes, reason);
	return e;
}

/**
 * image_read() - Read the signed manifest; no other file is opened
 * @dir_fd:	The image's folder, borrowed
 * @name:	Name the image must have; NULL is any
 * @keys:	Keys one of which must have signed it
 * @ret_image:	Written in any case
 * @reason:	One sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_VERSION; ERR_INTEGRITY;
 *	   ERR_PERMISSION for a key that is not trusted; ERR_SYS; ERR_MEMORY.
 */
enum err image_read(int dir_fd, const char *name, const struct image_keys *keys,
		    struct image *ret_image, struct buf *reason)
{
	struct image_signer signer = {0};
	struct buf text;
	enum err e;

	manifest_init(ret_image);
	buf_init(&text, IMAGE_MANIFEST_MAX_BYTES);
	e = image_sign_read(dir_fd, keys, &text, &signer, reason);
	if (e == ERR_OK)
		e = manifest_parse(buf_span(&text), ret_image, reason);
	ret_image->signer = signer;
	if (e == ERR_OK && name && strcmp(ret_image->name, name) != 0)
		e = image_refuse(
			reason, ERR_INTEGRITY,
			"the image's manifest is for '%s', not for '%s'",
			ret_image->name, name);
	buf_fini(&text);
	return e;
}

/**
 * image_open() - Read the signed manifest, copy and verify the files
 * @dir_fd:	The image's folder, borrowed
 * @name:	Name the image must have; NULL is any
 * @keys:	Keys one of which must have signed it
 * @ret_image:	image_close() when done, also after a failure
 * @reason:	One sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_VERSION; ERR_INTEGRITY;
 *	   ERR_PERMISSION for a key that is not trusted; ERR_SYS; ERR_MEMORY.
 */
enum err image_open(int dir_fd, const char *name, const struct image_keys *keys,
		    struct image *ret_image, struct buf *reason)
{
	enum err e = image_read(dir_fd, name, keys, ret_image, reason);

	if (e == ERR_OK)
		e = load_file(dir_fd, &ret_image->kernel, reason);
	if (e == ERR_OK)
		e = load_file(dir_fd, &ret_image->initrd, reason);
	if (e == ERR_OK && ret_image->has_root)
		e = open_root(dir_fd, &ret_image->root.file, reason);
	return e;
}

static void close_file(struct image_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/** image_close() - Close the files; an image never opened is accepted */
void image_close(struct image *image)
{
	close_file(&image->kernel);
	close_file(&image->initrd);
	close_file(&image->root.file);
}
