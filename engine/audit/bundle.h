/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.h - sealed entry bundles: 256 events to an immutable file */
#ifndef KENAZ_AUDIT_BUNDLE_H
#define KENAZ_AUDIT_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define BUNDLE_EVENTS     256u
#define BUNDLE_MAX_BYTES  (BUNDLE_EVENTS * (2u + 65535u))
#define BUNDLE_PATH_BYTES 64u

MUST_CHECK enum err bundle_path(uint64_t index,
				char ret_path[BUNDLE_PATH_BYTES]);
MUST_CHECK enum err bundle_add(struct buf *bundle, struct span event);
bool bundle_exists(int log_dir_fd, uint64_t index);
MUST_CHECK enum err bundle_write(int log_dir_fd, uint64_t index,
				 struct span bundle);

#endif
