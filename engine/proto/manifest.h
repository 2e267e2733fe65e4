/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.h - what an image's manifest.json says */
#ifndef KENAZ_PROTO_MANIFEST_H
#define KENAZ_PROTO_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/base/minisign.h"
#include "engine/proto/limits.h"

#define IMAGE_MANIFEST_NAME      "manifest.json"
#define IMAGE_SIGNATURE_NAME     "manifest.sig"
#define IMAGE_MANIFEST_MAX_BYTES 65536u
#define IMAGE_PACKAGES_MAX_BYTES (1024u * 1024)
#define IMAGE_FILE_MAX_BYTES     (512ull * 1024 * 1024)
#define IMAGE_ROOT_MAX_BYTES     (64ull * 1024 * 1024 * 1024)
#define IMAGE_BLOCK_BYTES        4096u /* of data and of the hash tree */
#define IMAGE_COMMAND_LINE_BYTES 1024u /* with the NUL */
#define IMAGE_CPU_BYTES          64u
#define IMAGE_FILE_NAME_BYTES    64u
#define IMAGE_KERNEL_BYTES       64u /* its version, with the NUL */
#define IMAGE_CREATED_BYTES      21u /* 2026-01-02T03:04:05Z and the NUL */

struct image_file {
	char name[IMAGE_FILE_NAME_BYTES]; /* empty: there is none */
	uint64_t size_bytes;
	uint8_t digest[DIGEST_BYTES];
	int fd; /* -1 until the launcher opens it */
};

enum image_filesystem { IMAGE_SQUASHFS, IMAGE_EROFS };

/* The parameters of dm-verity, format 1 with SHA-256 and no superblock. */
struct image_verity {
	uint8_t root_hash[DIGEST_BYTES];
	uint8_t salt[DIGEST_BYTES];
	uint64_t data_blocks;
	uint64_t hash_offset_bytes; /* of the tree in the same file */
};

struct image_root {
	struct image_file file;
	enum image_filesystem filesystem;
	struct image_verity verity;
};

/* Who signed it; the launcher fills this in. */
struct image_signer {
	char name[MINISIGN_NAME_MAX_BYTES + 1]; /* of the trusted key */
	char id[MINISIGN_ID_HEX_BYTES];
};

struct image {
	uint32_t version; /* of the manifest */
	struct image_signer signer;
	char name[NAME_MAX_BYTES + 1];
	struct image_file kernel;
	struct image_file initrd;
	bool has_root;
	struct image_root root;
	struct image_file packages; /* for people; nothing boots it */
	char created[IMAGE_CREATED_BYTES];
	char kernel_version[IMAGE_KERNEL_BYTES]; /* for people */
	uint8_t manifest_digest[DIGEST_BYTES];
	char command_line[IMAGE_COMMAND_LINE_BYTES];
	char cpu[IMAGE_CPU_BYTES]; /* under software emulation */
	uint32_t min_memory_mib;
};

MUST_CHECK enum err manifest_parse(struct span manifest,
				   struct image *ret_image, struct buf *reason);
void manifest_init(struct image *image);
const char *manifest_filesystem_name(enum image_filesystem filesystem);
uint64_t manifest_hash_tree_bytes(uint64_t data_blocks);

#endif
