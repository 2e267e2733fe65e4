/* SPDX-License-Identifier: Apache-2.0 */
/* files.h - small whole files under a passed directory, written atomically */
#ifndef KENAZ_AUDIT_FILES_H
#define KENAZ_AUDIT_FILES_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define FILES_NAME_MAX_BYTES 96u

MUST_CHECK enum err files_write_all(int fd, struct span bytes);
MUST_CHECK enum err files_replace(int dir_fd, const char *name,
				  struct span bytes);
MUST_CHECK enum err files_read(int dir_fd, const char *name, bool owner_only,
			       struct buf *out);
bool files_exists(int dir_fd, const char *name);
MUST_CHECK enum err files_remove(int dir_fd, const char *name);
MUST_CHECK enum err files_sync_dir(int dir_fd);

#endif
