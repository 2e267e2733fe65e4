/* SPDX-License-Identifier: Apache-2.0 */
/* luks.h - the header of an encrypted disk that lives as long as a session */
#ifndef KENAZ_VM_LUKS_H
#define KENAZ_VM_LUKS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define LUKS_HEADER_BYTES (2u * 1024 * 1024) /* the data begins after it */

MUST_CHECK enum err luks_format(int fd, const char *passphrase,
				size_t len_bytes);

#endif
