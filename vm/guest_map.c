/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_map.c - which guest addresses are backed by which of our bytes
 *
 * Runs in: kenaz-launch.
 * Trusts:  the pointers it is given at guest_map_add().
 * Never:   hands out a byte outside one single region: a range that starts
 *	    in one region and ends in the next is refused, not split.
 */
#include "vm/guest_map.h"

#include <stdbool.h>

static bool overlaps(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

/**
 * guest_map_add() - Add one region
 * @m:		Map
 * @guest_addr:	First guest address
 * @user_addr:	First address in the front-end's own numbering
 * @size_bytes:	Length, not 0
 * @at:		Our mapping of those bytes; must outlive the map
 *
 * Return: ERR_OK; ERR_LIMIT past GUEST_REGIONS_MAX; ERR_RANGE for an empty or
 *	   wrapping region; ERR_EXISTS when it overlaps another one.
 */
enum err guest_map_add(struct guest_map *m, uint64_t guest_addr,
		       uint64_t user_addr, uint64_t size_bytes, uint8_t *at)
{
	size_t i;

	if (m->count == GUEST_REGIONS_MAX)
		return ERR_LIMIT;
	if (size_bytes == 0 || guest_addr > UINT64_MAX - size_bytes ||
	    user_addr > UINT64_MAX - size_bytes)
		return ERR_RANGE;
	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->regions[i];

		if (overlaps(r->guest_addr, guest_addr, r->size_bytes,
			     size_bytes) ||
		    overlaps(r->user_addr, user_addr, r->size_bytes,
			     size_bytes))
			return ERR_EXISTS;
	}
	m->regions[m->count++] = (struct guest_region){
		.guest_addr = guest_addr,
		.user_addr = user_addr,
		.size_bytes = size_bytes,
		.at = at,
	};
	return ERR_OK;
}

/**
 * guest_map_find() - Find a whole range by guest address
 * @m:		Map
 * @guest_addr:	Untrusted
 * @len_bytes:	Untrusted
 * @ret_at:	The first byte; @len_bytes of it are ours to use
 *
 * Return: ERR_OK; ERR_RANGE unless one region holds the whole range.
 */
enum err guest_map_find(const struct guest_map *m, uint64_t guest_addr,
			uint64_t len_bytes, uint8_t **ret_at)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->regions[i];
		uint64_t offset = guest_addr - r->guest_addr;

		if (guest_addr < r->guest_addr || offset >= r->size_bytes)
			continue;
		if (len_bytes > r->size_bytes - offset)
			return ERR_RANGE;
		*ret_at = r->at + offset;
		return ERR_OK;
	}
	return ERR_RANGE;
}

/**
 * guest_map_find_user() - As guest_map_find(), by the front-end's address
 *
 * Return: ERR_OK; ERR_RANGE unless one region holds the whole range.
 */
enum err guest_map_find_user(const struct guest_map *m, uint64_t user_addr,
			     uint64_t len_bytes, uint8_t **ret_at)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		const struct guest_region *r = &m->regions[i];
		uint64_t offset = user_addr - r->user_addr;

		if (user_addr < r->user_addr || offset >= r->size_bytes)
			continue;
		if (len_bytes > r->size_bytes - offset)
			return ERR_RANGE;
		*ret_at = r->at + offset;
		return ERR_OK;
	}
	return ERR_RANGE;
}
