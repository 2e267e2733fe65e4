/* SPDX-License-Identifier: Apache-2.0 */
/* template.h - the two files of a booted guest, and what binds them */
#ifndef KENAZ_VM_TEMPLATE_H
#define KENAZ_VM_TEMPLATE_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/base/memfd.h"

#define TEMPLATE_VERSION         1u
#define TEMPLATE_HEADER_BYTES    176u
#define TEMPLATE_STATE_MAX_BYTES (16u * 1024 * 1024) /* devices, no memory */

/* What a template depends on; a clone must have the same. */
struct template_key {
	uint8_t manifest[DIGEST_BYTES];  /* of the image */
	uint8_t qemu[DIGEST_BYTES];      /* of QEMU's program */
	uint8_t arguments[DIGEST_BYTES]; /* QEMU's, with VM_START_MAKE */
	uint64_t memory_bytes;
};

/* The beginning of the state file. */
struct template_header {
	struct template_key key;
	uint64_t memory_device; /* identity of the memory file */
	uint64_t memory_inode;
	uint8_t memory_digest[DIGEST_BYTES];
	uint64_t state_bytes; /* what follows the header */
};

/* A template as it was made; both files are sealed for good. */
struct template_files {
	int memory_fd;
	int state_fd;
	uint8_t digest[DIGEST_BYTES]; /* of the whole state file */
	uint64_t memory_used_bytes;
};

/* A template that was checked; the device state borrows the mapping. */
struct template
{
	struct template_header header;
	struct body file;
	struct span state;
};

MUST_CHECK enum err template_header_put(const struct template_header *h,
					struct buf *out);
MUST_CHECK enum err template_header_get(struct span file,
					struct template_header *ret_header,
					const char **ret_why);
const char *template_key_differs(const struct template_key *made,
				 const struct template_key *wanted);

MUST_CHECK enum err template_seal(int memory_fd, const struct template_key *key,
				  struct span state,
				  struct template_files *ret_files);
MUST_CHECK enum err template_open(int memory_fd, int state_fd,
				  const uint8_t digest[DIGEST_BYTES],
				  const struct template_key *wanted,
				  struct template *ret_template,
				  struct buf *reason);
void template_close(struct template *t);

#endif
