/* SPDX-License-Identifier: Apache-2.0 */
/* verity.h - a block device whose every block is checked when it is read */
#ifndef KENAZ_GUEST_VERITY_H
#define KENAZ_GUEST_VERITY_H

#include <stdint.h>

#include "engine/base/err.h"

#define VERITY_BLOCK_BYTES 4096u
#define VERITY_HEX_BYTES   65u /* 32 bytes in hexadecimal, and the NUL */
#define VERITY_PATH_BYTES  32u

/* dm-verity's format 1 with SHA-256; tree and data on the same device. */
struct verity {
	uint64_t data_blocks;
	uint64_t hash_block; /* where the tree begins */
	char root_hash[VERITY_HEX_BYTES];
	char salt[VERITY_HEX_BYTES];
};

MUST_CHECK enum err verity_open(const char *device, const struct verity *v,
				char ret_path[VERITY_PATH_BYTES]);

#endif
