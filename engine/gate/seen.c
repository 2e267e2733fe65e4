/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seen.c - which tool results of a session were reported already
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: a guest that makes two ids collide only hides a claim of
 *	    its own, and results are labelled as the guest's claims.
 * Never:   grows.
 */
#include "engine/gate/seen.h"

/* FNV-1a, 64 bits; 0 stands for an empty slot. */
static uint64_t hash_of(struct span id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	size_t i;

	for (i = 0; i < id.len_bytes; i++)
		h = (h ^ id.data[i]) * UINT64_C(0x100000001b3);
	return h ? h : 1;
}

/** seen_has() - Whether an id was added and not forgotten since */
bool seen_has(const struct seen *s, struct span id)
{
	uint64_t h = hash_of(id);
	size_t i;

	for (i = 0; i < SEEN_MAX; i++)
		if (s->hashes[i] == h)
			return true;
	return false;
}

/** seen_add() - Remember an id in place of the oldest */
void seen_add(struct seen *s, struct span id)
{
	s->hashes[s->next] = hash_of(id);
	s->next = (s->next + 1) % SEEN_MAX;
}
