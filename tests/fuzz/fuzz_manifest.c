/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_manifest.c - an image's manifest that somebody else wrote
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/proto/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image;
	struct buf reason;
	enum err e;

	if (digest_init() != ERR_OK)
		abort();
	buf_init(&reason, REASON_MAX_BYTES);
	e = manifest_parse(span_of(data, size), &image, &reason);
	if (e == ERR_OK &&
	    (!image.name[0] || strchr(image.kernel.name, '/') ||
	     strchr(image.initrd.name, '/') || image.kernel.name[0] == '.' ||
	     strchr(image.command_line, '\n') || strchr(image.cpu, ' ')))
		abort();
	if (e == ERR_OK && image.has_root &&
	    (strchr(image.root.file.name, '/') ||
	     image.root.verity.data_blocks == 0 ||
	     image.root.verity.data_blocks * IMAGE_BLOCK_BYTES >
		     image.root.file.size_bytes ||
	     image.root.verity.hash_offset_bytes >= image.root.file.size_bytes))
		abort();
	if (e != ERR_OK && e != ERR_MEMORY && reason.len_bytes == 0)
		abort();
	buf_fini(&reason);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/log.c
 * engine/base/text.c engine/base/json.c engine/base/json_text.c
 * engine/base/digest.c engine/proto/manifest.c */
