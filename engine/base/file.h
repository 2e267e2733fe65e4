/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - small files as a whole */
#ifndef KENAZ_BASE_FILE_H
#define KENAZ_BASE_FILE_H

#include "engine/base/buf.h"

MUST_CHECK enum err file_read(const char *path, void *buffer, size_t cap_bytes,
			      struct span *ret_bytes);
MUST_CHECK enum err file_write_all(int fd, struct span bytes);

#endif
