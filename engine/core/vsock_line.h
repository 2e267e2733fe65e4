/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_line.h - the one line that a client of a session's socket sends */
#ifndef KENAZ_CORE_VSOCK_LINE_H
#define KENAZ_CORE_VSOCK_LINE_H

#include "engine/base/buf.h"

#define VSOCK_LINE_MAX_BYTES 32u /* its end included */

MUST_CHECK enum err vsock_line_parse(struct span got, size_t *ret_bytes,
				     uint32_t *ret_port);

#endif
