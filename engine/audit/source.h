/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - where a verification's events come from: files or a stream */
#ifndef KENAZ_AUDIT_SOURCE_H
#define KENAZ_AUDIT_SOURCE_H

#include "engine/audit/verify.h"

MUST_CHECK enum err source_files(const char *log_dir, struct verify *v,
				 struct buf *ret_why);
MUST_CHECK enum err source_stream(int fd, struct verify *v,
				  struct buf *ret_why);
MUST_CHECK enum err source_anchor(const char *path, struct verify *v,
				  struct buf *ret_why);

#endif
