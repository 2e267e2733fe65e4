/* SPDX-License-Identifier: Apache-2.0 */
/* seen.h - which tool results of a session were reported already */
#ifndef KENAZ_GATE_SEEN_H
#define KENAZ_GATE_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define SEEN_MAX 4096u /* ids; the oldest is forgotten first */

/* Zeroed memory is an empty set. */
struct seen {
	uint64_t hashes[SEEN_MAX];
	uint32_t next;
};

bool seen_has(const struct seen *s, struct span id);
void seen_add(struct seen *s, struct span id);

#endif
