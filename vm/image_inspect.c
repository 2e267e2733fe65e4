/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_inspect.c - whether an image is whole, without starting it
 *
 * Runs in: kenaz-launch.
 * Trusts:  the signed manifest for what the files should be.
 * Never:   keeps a file open or maps one: files are read once, in pieces.
 *
 * Deep inspection reads every file, compares its SHA-256, and computes the
 * root hash of a root image's data anew: what dm-verity would accept is then
 * what the manifest names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "vm/image.h"
#include "vm/image_file.h"

#define CHUNK_BYTES  (1u << 20)
#define HASHES       (IMAGE_BLOCK_BYTES / DIGEST_BYTES) /* in a hash block */
#define LEVELS_MAX   10u                                /* 128^10 blocks */
#define DIGEST_SHOWN 12
#define REBUILD      "build or pull the image again"

_Static_assert(CHUNK_BYTES % IMAGE_BLOCK_BYTES == 0, "whole blocks");

/* A hash tree on its way up: one unfinished block a level. */
struct tree {
	uint8_t salt[DIGEST_BYTES];
	uint8_t block[LEVELS_MAX][IMAGE_BLOCK_BYTES];
	size_t count[LEVELS_MAX];
	uint64_t done[LEVELS_MAX]; /* blocks handed up */
};

static void hash_block(const struct tree *t, const uint8_t *block,
		       uint8_t ret_hash[DIGEST_BYTES])
{
	struct span parts[] = {span_of(t->salt, DIGEST_BYTES),
			       span_of(block, IMAGE_BLOCK_BYTES)};

	digest_sha256_parts(parts, ARRAY_SIZE(parts), ret_hash);
}

/* Puts the hash of a block into a level; whole blocks go up at once. */
static void tree_put(struct tree *t, const uint8_t *block)
{
	uint8_t hash[DIGEST_BYTES];
	size_t level;

	hash_block(t, block, hash);
	for (level = 0; level < LEVELS_MAX; level++) {
		memcpy(t->block[level] + t->count[level] * DIGEST_BYTES, hash,
		       DIGEST_BYTES);
		if (++t->count[level] < HASHES)
			return;
		hash_block(t, t->block[level], hash);
		memset(t->block[level], 0, IMAGE_BLOCK_BYTES);
		t->count[level] = 0;
		t->done[level]++;
	}
}

static void tree_root(struct tree *t, uint8_t ret_root[DIGEST_BYTES])
{
	uint8_t hash[DIGEST_BYTES];
	size_t level;

	memset(ret_root, 0, DIGEST_BYTES);
	for (level = 0; level < LEVELS_MAX; level++) {
		if (t->count[level] == 1 && t->done[level] == 0) {
			memcpy(ret_root, t->block[level], DIGEST_BYTES);
			return;
		}
		if (t->count[level] == 0)
			continue;
		hash_block(t, t->block[level], hash);
		if (level + 1 < LEVELS_MAX)
			memcpy(t->block[level + 1] +
				       t->count[level + 1]++ * DIGEST_BYTES,
			       hash, DIGEST_BYTES);
	}
}

static enum err wrong(const struct image_file *file, const char *what,
		      const uint8_t *got, const uint8_t *want,
		      struct buf *reason)
{
	char got_text[DIGEST_HEX_BYTES], want_text[DIGEST_HEX_BYTES];

	text_hex(got, DIGEST_BYTES, got_text);
	text_hex(want, DIGEST_BYTES, want_text);
	return image_refuse(reason, ERR_INTEGRITY,
			    "image file %s is not what its manifest says: %s "
			    "is %.*s..., should be %.*s...; " REBUILD,
			    file->name, what, DIGEST_SHOWN, got_text,
			    DIGEST_SHOWN, want_text);
}

/* Fills a chunk unless the file ends. */
static ssize_t read_chunk(int fd, uint8_t *chunk)
{
	size_t len = 0;

	while (len < CHUNK_BYTES) {
		ssize_t n = read(fd, chunk + len, CHUNK_BYTES - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static void put_blocks(struct tree *t, const uint8_t *chunk, size_t len_bytes,
		       uint64_t *blocks_left)
{
	size_t at;

	for (at = 0; at + IMAGE_BLOCK_BYTES <= len_bytes && *blocks_left;
	     at += IMAGE_BLOCK_BYTES) {
		tree_put(t, chunk + at);
		(*blocks_left)--;
	}
}

/* Hashes the file, and the blocks of @verity unless that is NULL. */
static enum err hash_file(int fd, const struct image_file *file,
			  const struct image_verity *verity, struct buf *reason)
{
	uint64_t left = verity ? verity->data_blocks : 0;
	uint8_t got[DIGEST_BYTES];
	uint8_t *chunk = malloc(CHUNK_BYTES);
	struct tree *t = calloc(1, sizeof(*t));
	struct digest *d = NULL;
	ssize_t n;
	enum err e = ERR_MEMORY;

	if (!chunk || !t)
		goto out;
	e = digest_new(&d);
	if (e != ERR_OK)
		goto out;
	if (verity)
		memcpy(t->salt, verity->salt, DIGEST_BYTES);
	while ((n = read_chunk(fd, chunk)) > 0) {
		digest_update(d, span_of(chunk, (size_t)n));
		put_blocks(t, chunk, (size_t)n, &left);
	}
	if (n < 0) {
		e = image_refuse(reason, ERR_SYS,
				 "image file %s cannot be read: %s", file->name,
				 strerror(errno));
		goto out;
	}
	digest_finish(d, got);
	if (!digest_equal(got, file->digest)) {
		e = wrong(file, "SHA-256", got, file->digest, reason);
		goto out;
	}
	if (verity)
		tree_root(t, got);
	if (verity && (left || !digest_equal(got, verity->root_hash)))
		e = wrong(file, "the root hash", got, verity->root_hash,
			  reason);
out:
	digest_free(d);
	free(t);
	free(chunk);
	return e;
}

static enum err check_file(int dir_fd, const struct image_file *file,
			   const struct image_verity *verity, bool deep,
			   struct buf *reason)
{
	uint64_t size_bytes;
	int fd;
	enum err e = image_file_open(dir_fd, file->name, IMAGE_ROOT_MAX_BYTES,
				     REBUILD, &fd, &size_bytes, reason);

	if (e != ERR_OK)
		return e;
	if (size_bytes != file->size_bytes)
		e = image_refuse(reason, ERR_INTEGRITY,
				 "image file %s has %llu bytes, its manifest "
				 "says %llu; " REBUILD,
				 file->name, (unsigned long long)size_bytes,
				 (unsigned long long)file->size_bytes);
	if (e == ERR_OK && deep)
		e = hash_file(fd, file, verity, reason);
	close(fd);
	return e;
}

/* The list is for people, but shown as what is in the image: check it. */
static enum err read_packages(int dir_fd, const struct image_file *file,
			      struct buf *ret_packages, struct buf *reason)
{
	uint8_t got[DIGEST_BYTES];
	enum err e = image_file_read(dir_fd, file->name, REBUILD, ret_packages,
				     reason);

	if (e != ERR_OK)
		return e;
	digest_sha256(buf_span(ret_packages), got);
	if (digest_equal(got, file->digest))
		return ERR_OK;
	buf_reset(ret_packages);
	return wrong(file, "SHA-256", got, file->digest, reason);
}

/**
 * image_inspect() - Check an image and say what it is
 * @dir_fd:		The image's folder, borrowed
 * @name:		Name the image must have
 * @keys:		Keys one of which must have signed it
 * @deep:		Hash every file; else only their sizes are compared
 * @ret_image:		No file is open in it; written in any case
 * @ret_packages:	The text of its list of packages; initialised by the
 *			caller
 * @reason:		One sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; as image_read() and image_open().
 */
enum err image_inspect(int dir_fd, const char *name,
		       const struct image_keys *keys, bool deep,
		       struct image *ret_image, struct buf *ret_packages,
		       struct buf *reason)
{
	enum err e = image_read(dir_fd, name, keys, ret_image, reason);

	if (e == ERR_OK && ret_image->packages.name[0])
		e = read_packages(dir_fd, &ret_image->packages, ret_packages,
				  reason);
	if (e == ERR_OK)
		e = check_file(dir_fd, &ret_image->kernel, NULL, deep, reason);
	if (e == ERR_OK)
		e = check_file(dir_fd, &ret_image->initrd, NULL, deep, reason);
	if (e == ERR_OK && ret_image->has_root)
		e = check_file(dir_fd, &ret_image->root.file,
			       &ret_image->root.verity, deep, reason);
	return e;
}
