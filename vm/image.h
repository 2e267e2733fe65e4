/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - an image's files, verified against its manifest */
#ifndef KENAZ_VM_IMAGE_H
#define KENAZ_VM_IMAGE_H

#include <stdint.h>

#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/proto/limits.h"

#define IMAGE_MANIFEST_MAX_BYTES 65536u
#define IMAGE_FILE_MAX_BYTES     (512ull * 1024 * 1024)
#define IMAGE_COMMAND_LINE_BYTES 1024u /* with the NUL */
#define IMAGE_CPU_BYTES          64u
#define IMAGE_FILE_NAME_BYTES    64u

struct image_file {
	char name[IMAGE_FILE_NAME_BYTES];
	uint64_t size_bytes;
	uint8_t digest[DIGEST_BYTES];
	int fd; /* sealed memfd with the verified bytes; -1 before */
};

struct image {
	char name[NAME_MAX_BYTES + 1];
	struct image_file kernel;
	struct image_file initrd;
	uint8_t manifest_digest[DIGEST_BYTES];
	char command_line[IMAGE_COMMAND_LINE_BYTES];
	char cpu[IMAGE_CPU_BYTES]; /* under software emulation */
	uint32_t min_memory_mib;
};

MUST_CHECK enum err image_parse(struct span manifest, struct image *ret_image,
				struct buf *reason);
MUST_CHECK enum err image_open(int dir_fd, const char *name,
			       struct image *ret_image, struct buf *reason);
void image_close(struct image *image);

#endif
