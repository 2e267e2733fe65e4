/* SPDX-License-Identifier: Apache-2.0 */
/* secret.h - bytes in locked memory that no core file or swap ever sees */
#ifndef KENAZ_BROKER_SECRET_H
#define KENAZ_BROKER_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define SECRET_MAX_BYTES 8192u

struct secret {
	uint8_t *data; /* locked, between guard pages */
	size_t len_bytes;
};

MUST_CHECK enum err secret_new(size_t len_bytes, struct secret **ret_secret);
MUST_CHECK enum err secret_copy(struct span s, struct secret **ret_secret);
void secret_release(struct secret *s);
struct span secret_span(const struct secret *s);
MUST_CHECK enum err secret_check_text(struct span s, struct span *ret_trimmed);

#endif
