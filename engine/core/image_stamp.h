/* SPDX-License-Identifier: Apache-2.0 */
/* image_stamp.h - notice that an image or QEMU changed on disk */
#ifndef KENAZ_CORE_IMAGE_STAMP_H
#define KENAZ_CORE_IMAGE_STAMP_H

#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/proto/msg.h"

#define IMAGE_STAMP_FILES_MAX 64u /* in an image's folder */

MUST_CHECK enum err image_stamp(int dir_fd, const char *program,
				uint8_t ret_stamp[DIGEST_BYTES]);

#endif
