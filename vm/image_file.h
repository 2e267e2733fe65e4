/* SPDX-License-Identifier: Apache-2.0 */
/* image_file.h - opening what lies in an image's folder, and saying no */
#ifndef KENAZ_VM_IMAGE_FILE_H
#define KENAZ_VM_IMAGE_FILE_H

#include <stdint.h>

#include "engine/base/buf.h"

enum err image_refuse(struct buf *reason, enum err e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
MUST_CHECK enum err image_file_open(int dir_fd, const char *name,
				    uint64_t max_bytes, const char *what_next,
				    int *ret_fd, uint64_t *ret_bytes,
				    struct buf *reason);
MUST_CHECK enum err image_file_read(int dir_fd, const char *name,
				    const char *what_next,
				    struct buf *ret_bytes, struct buf *reason);

#endif
