/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h - a session's own disk: a file without a name, encrypted */
#ifndef KENAZ_VM_DISK_H
#define KENAZ_VM_DISK_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/proto/limits.h"

struct disk {
	int fd;            /* -1: there is none */
	int key_fd;        /* memfd with the passphrase, for QEMU; -1 */
	void *key;         /* its bytes, locked */
	uint32_t size_mib; /* as the guest sees it */
	uint64_t file_bytes;
};

void disk_init(struct disk *d);
MUST_CHECK enum err disk_make(struct disk *d, int fd, uint32_t size_mib,
			      struct buf *reason);
void disk_forget_key(struct disk *d);
void disk_close_file(struct disk *d);
void disk_close(struct disk *d);

#endif
