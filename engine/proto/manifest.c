/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.c - read what an image's manifest.json says
 *
 * Runs in: every process that opens an image; pure.
 * Trusts:  nothing: whoever built the image wrote it. Unknown and duplicate
 *	    keys, other types and values out of range are refused.
 * Never:   opens a file.
 *
 * docs/image-format.md describes the format. Version 1 has no root image;
 * its "packages" and "created" are for people and are not read.
 */
#include "engine/proto/manifest.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/text.h"

#define VERSION_MAX       2u
#define HASHES_IN_A_BLOCK (IMAGE_BLOCK_BYTES / DIGEST_BYTES)
#define DATA_BLOCKS_MAX   (IMAGE_ROOT_MAX_BYTES / IMAGE_BLOCK_BYTES)

static const struct json_limits manifest_limits = {
	.max_bytes = IMAGE_MANIFEST_MAX_BYTES,
	.max_tokens = 2048,
	.max_depth = 8,
};

static const struct {
	const char *name;
	enum image_filesystem filesystem;
} filesystems[] = {
	{"squashfs", IMAGE_SQUASHFS},
	{"erofs", IMAGE_EROFS},
};

/** manifest_filesystem_name() - As the manifest and mount(2) call it */
const char *manifest_filesystem_name(enum image_filesystem filesystem)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(filesystems); i++)
		if (filesystems[i].filesystem == filesystem)
			return filesystems[i].name;
	return "";
}

static enum err refuse(struct buf *reason, enum err e, const char *text)
{
	buf_reset(reason);
	return buf_put_text(reason, text) == ERR_OK ? e : ERR_MEMORY;
}

static enum err bad_manifest(struct buf *reason, const char *what)
{
	buf_reset(reason);
	return buf_printf(reason,
			  IMAGE_MANIFEST_NAME ": %s; build the image again",
			  what) == ERR_OK
		       ? ERR_FORMAT
		       : ERR_MEMORY;
}

/* A name in the image's own folder. */
static bool is_file_name(const char *name)
{
	return text_is_name(span_text(name), IMAGE_FILE_NAME_BYTES - 1) &&
	       name[0] != '.';
}

/* Every member of @at is one of @keys, a list that ends with NULL. */
static bool has_only(const struct json *j, json_ref at, const char *const *keys)
{
	if (!json_is(j, at, JSON_OBJECT))
		return false;
	JSON_EACH (j, member, at) {
		size_t i;

		for (i = 0; keys[i]; i++)
			if (json_key_is(j, member, keys[i]))
				break;
		if (!keys[i])
			return false;
	}
	return true;
}

static enum err read_digest(const struct json *j, json_ref at,
			    uint8_t ret_digest[DIGEST_BYTES])
{
	char hex[DIGEST_HEX_BYTES];
	enum err e = json_text(j, at, hex, sizeof(hex));

	return e == ERR_OK
		       ? text_unhex(span_text(hex), ret_digest, DIGEST_BYTES)
		       : e;
}

/* The three members that every file of an image has. */
static enum err read_file(const struct json *j, json_ref at, uint64_t max_bytes,
			  struct image_file *ret_file)
{
	enum err e = json_text(j, json_get(j, at, "file"), ret_file->name,
			       sizeof(ret_file->name));

	if (e == ERR_OK)
		e = json_uint(j, json_get(j, at, "bytes"), 1, max_bytes,
			      &ret_file->size_bytes);
	if (e == ERR_OK)
		e = read_digest(j, json_get(j, at, "sha256"), ret_file->digest);
	if (e == ERR_OK && !is_file_name(ret_file->name))
		e = ERR_FORMAT;
	return e;
}

static enum err parse_file(const struct json *j, const char *key,
			   struct image_file *ret_file)
{
	json_ref at = json_get(j, JSON_ROOT, key);

	if (json_count(j, at) != 3)
		return ERR_FORMAT;
	return read_file(j, at, IMAGE_FILE_MAX_BYTES, ret_file);
}

/**
 * manifest_hash_tree_bytes() - Size of dm-verity's tree
 * @data_blocks: Blocks that it covers; 2 or more, as one has no tree
 *
 * A level holds a hash of each block of the level below; the topmost has one
 * block, whose hash is the root hash (format 1: hashes are not padded apart).
 *
 * Return: bytes, a multiple of IMAGE_BLOCK_BYTES.
 */
uint64_t manifest_hash_tree_bytes(uint64_t data_blocks)
{
	uint64_t level = data_blocks, total = 0;

	do {
		level = (level + HASHES_IN_A_BLOCK - 1) / HASHES_IN_A_BLOCK;
		total += level;
	} while (level > 1);
	return total * IMAGE_BLOCK_BYTES;
}

/* The tree follows the data in the same file and ends it. */
static bool verity_fits(const struct image_verity *v, uint64_t file_bytes)
{
	return v->hash_offset_bytes % IMAGE_BLOCK_BYTES == 0 &&
	       v->hash_offset_bytes >= v->data_blocks * IMAGE_BLOCK_BYTES &&
	       v->hash_offset_bytes <= file_bytes &&
	       file_bytes - v->hash_offset_bytes ==
		       manifest_hash_tree_bytes(v->data_blocks);
}

static enum err parse_verity(const struct json *j, json_ref at,
			     uint64_t file_bytes,
			     struct image_verity *ret_verity,
			     const char **ret_what)
{
	static const char *const keys[] = {"root_hash",   "hash_offset_bytes",
					   "salt",        "algorithm",
					   "data_blocks", "block_bytes",
					   NULL};
	uint64_t block_bytes;

	*ret_what = "root.verity: unknown key";
	if (!has_only(j, at, keys))
		return ERR_FORMAT;
	*ret_what = "root.verity.algorithm is not sha256";
	if (!json_string_is(j, json_get(j, at, "algorithm"), "sha256"))
		return ERR_FORMAT;
	*ret_what = "root.verity.block_bytes is not 4096";
	if (json_uint(j, json_get(j, at, "block_bytes"), IMAGE_BLOCK_BYTES,
		      IMAGE_BLOCK_BYTES, &block_bytes) != ERR_OK)
		return ERR_FORMAT;
	*ret_what = "root.verity.root_hash";
	if (read_digest(j, json_get(j, at, "root_hash"),
			ret_verity->root_hash) != ERR_OK)
		return ERR_FORMAT;
	*ret_what = "root.verity.salt";
	if (read_digest(j, json_get(j, at, "salt"), ret_verity->salt) != ERR_OK)
		return ERR_FORMAT;
	*ret_what = "root.verity: data_blocks, hash_offset_bytes and the "
		    "file's bytes do not fit together";
	if (json_uint(j, json_get(j, at, "data_blocks"), 2, DATA_BLOCKS_MAX,
		      &ret_verity->data_blocks) != ERR_OK ||
	    json_uint(j, json_get(j, at, "hash_offset_bytes"),
		      IMAGE_BLOCK_BYTES, IMAGE_ROOT_MAX_BYTES,
		      &ret_verity->hash_offset_bytes) != ERR_OK ||
	    !verity_fits(ret_verity, file_bytes))
		return ERR_FORMAT;
	return ERR_OK;
}

static enum err parse_root(const struct json *j, json_ref at,
			   struct image_root *ret_root, const char **ret_what)
{
	static const char *const keys[] = {"file",       "bytes",  "sha256",
					   "filesystem", "verity", NULL};
	size_t i;

	*ret_what = "root: unknown key";
	if (!has_only(j, at, keys))
		return ERR_FORMAT;
	*ret_what = "root: file, bytes or sha256";
	if (read_file(j, at, IMAGE_ROOT_MAX_BYTES, &ret_root->file) != ERR_OK)
		return ERR_FORMAT;
	*ret_what = "root.filesystem is neither squashfs nor erofs";
	for (i = 0; i < ARRAY_SIZE(filesystems); i++)
		if (json_string_is(j, json_get(j, at, "filesystem"),
				   filesystems[i].name))
			break;
	if (i == ARRAY_SIZE(filesystems))
		return ERR_FORMAT;
	ret_root->filesystem = filesystems[i].filesystem;
	return parse_verity(j, json_get(j, at, "verity"),
			    ret_root->file.size_bytes, &ret_root->verity,
			    ret_what);
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

/* RFC 3339 in UTC, to the second. */
static bool is_time(const char *text)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
	size_t i;

	for (i = 0; i < sizeof(shape); i++)
		if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9'
				    : text[i] != shape[i])
			return false;
	return true;
}

/* What only version 2 has. */
static enum err parse_version_2(const struct json *j, struct image *image,
				struct buf *reason)
{
	json_ref created = json_get(j, JSON_ROOT, "created");
	json_ref root = json_get(j, JSON_ROOT, "root");
	const char *what = "root";

	if (created != JSON_NONE &&
	    (json_text(j, created, image->created, sizeof(image->created)) !=
		     ERR_OK ||
	     !is_time(image->created)))
		return bad_manifest(reason,
				    "created is not like 2026-01-02T03:04:05Z");
	if (json_get(j, JSON_ROOT, "packages") != JSON_NONE &&
	    parse_file(j, "packages", &image->packages) != ERR_OK)
		return bad_manifest(reason, "packages");
	if (root == JSON_NONE)
		return ERR_OK;
	if (parse_root(j, root, &image->root, &what) != ERR_OK)
		return bad_manifest(reason, what);
	image->has_root = true;
	return ERR_OK;
}

static enum err parse_version(const struct json *j, struct image *image,
			      struct buf *reason)
{
	static const char *const keys_1[] = {"v",
					     "name",
					     "kernel",
					     "initrd",
					     "kernel_version",
					     "packages",
					     "cmdline",
					     "cpu",
					     "min_memory_mib",
					     "created",
					     NULL};
	static const char *const keys_2[] = {"v",
					     "name",
					     "kernel",
					     "initrd",
					     "kernel_version",
					     "packages",
					     "cmdline",
					     "cpu",
					     "min_memory_mib",
					     "created",
					     "root",
					     NULL};
	uint64_t value;

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return bad_manifest(reason, "not an object");
	if (json_uint(j, json_get(j, JSON_ROOT, "v"), 1, VERSION_MAX, &value) !=
	    ERR_OK)
		return refuse(reason, ERR_VERSION,
			      IMAGE_MANIFEST_NAME ": version is not 1 or 2; "
						  "this Kenaz reads 1 and 2");
	image->version = (uint32_t)value;
	if (!has_only(j, JSON_ROOT, value == 1 ? keys_1 : keys_2))
		return bad_manifest(reason, "unknown key");
	return ERR_OK;
}

static enum err parse_fields(const struct json *j, struct image *image,
			     struct buf *reason)
{
	uint64_t value;
	enum err e = parse_version(j, image, reason);

	if (e != ERR_OK)
		return e;
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
	if (json_get(j, JSON_ROOT, "kernel_version") != JSON_NONE &&
	    (json_text(j, json_get(j, JSON_ROOT, "kernel_version"),
		       image->kernel_version,
		       sizeof(image->kernel_version)) != ERR_OK ||
	     !is_plain(image->kernel_version, true)))
		return bad_manifest(reason, "kernel_version");
	if (json_uint(j, json_get(j, JSON_ROOT, "min_memory_mib"),
		      MEMORY_MIN_MIB, MEMORY_MAX_MIB, &value) != ERR_OK)
		return bad_manifest(reason, "min_memory_mib");
	image->min_memory_mib = (uint32_t)value;
	return image->version == 1 ? ERR_OK : parse_version_2(j, image, reason);
}

/** manifest_init() - An image of which nothing is known and no file is open */
void manifest_init(struct image *image)
{
	*image = (struct image){
		.kernel.fd = -1,
		.initrd.fd = -1,
		.root.file.fd = -1,
		.packages.fd = -1,
	};
}

/**
 * manifest_parse() - Read a manifest
 * @manifest:	Its bytes
 * @ret_image:	No files open yet; written in any case
 * @reason:	A sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_VERSION; ERR_MEMORY.
 */
enum err manifest_parse(struct span manifest, struct image *ret_image,
			struct buf *reason)
{
	struct json j;
	enum err e;

	manifest_init(ret_image);
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
