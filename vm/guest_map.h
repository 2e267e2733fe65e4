/* SPDX-License-Identifier: Apache-2.0 */
/* guest_map.h - which guest addresses are backed by which of our bytes */
#ifndef KENAZ_VM_GUEST_MAP_H
#define KENAZ_VM_GUEST_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define GUEST_REGIONS_MAX 8u

struct guest_region {
	uint64_t guest_addr; /* as descriptors name it */
	uint64_t user_addr;  /* as the front-end names it */
	uint64_t size_bytes;
	uint8_t *at; /* borrowed: our own mapping */
};

/* Plain data; zeroed is an empty map. */
struct guest_map {
	struct guest_region regions[GUEST_REGIONS_MAX];
	size_t count;
};

MUST_CHECK enum err guest_map_add(struct guest_map *m, uint64_t guest_addr,
				  uint64_t user_addr, uint64_t size_bytes,
				  uint8_t *at);
MUST_CHECK enum err guest_map_find(const struct guest_map *m,
				   uint64_t guest_addr, uint64_t len_bytes,
				   uint8_t **ret_at);
MUST_CHECK enum err guest_map_find_user(const struct guest_map *m,
					uint64_t user_addr, uint64_t len_bytes,
					uint8_t **ret_at);

#endif
