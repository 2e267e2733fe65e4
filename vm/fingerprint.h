/* SPDX-License-Identifier: Apache-2.0 */
/* fingerprint.h - one digest over everything that makes a virtual machine */
#ifndef KENAZ_VM_FINGERPRINT_H
#define KENAZ_VM_FINGERPRINT_H

#include <stdint.h>

#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "vm/args.h"
#include "vm/image.h"
#include "vm/qemu_args.h"

#define QEMU_VERSION_BYTES 64u

struct fingerprint {
	uint8_t digest[DIGEST_BYTES];    /* of the document below */
	uint8_t arguments[DIGEST_BYTES]; /* of QEMU's vector */
	uint8_t jail[DIGEST_BYTES];      /* of bubblewrap's vector */
	uint8_t qemu[DIGEST_BYTES];      /* of QEMU's program */
	uint8_t template[DIGEST_BYTES];  /* gone on from; zeros: none */
	char qemu_version[QEMU_VERSION_BYTES];
};

const char *fingerprint_start_name(enum vm_start start);
MUST_CHECK enum err fingerprint_args(const struct args *args,
				     uint8_t ret_digest[DIGEST_BYTES]);
MUST_CHECK enum err fingerprint_qemu(const char *path, struct fingerprint *f);
MUST_CHECK enum err fingerprint_document(const struct fingerprint *f,
					 const struct image *image,
					 const struct qemu_config *config,
					 struct buf *out);

#endif
