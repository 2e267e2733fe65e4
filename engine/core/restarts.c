/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restarts.c - how often a lost process may be started anew
 *
 * Runs in: kenazd.
 * Trusts:  nothing.
 * Never:   lets a process that always dies keep the engine busy.
 */
#include "engine/core/restarts.h"

#include <stddef.h>

/**
 * restarts_allow() - Count one more restart, if there is room for it
 * @r:		Restarts so far
 * @now_ns:	Monotonic clock
 *
 * Return: false when RESTARTS_MAX happened within RESTARTS_WINDOW_NS.
 */
bool restarts_allow(struct restarts *r, uint64_t now_ns)
{
	size_t i;

	for (i = 0; i < RESTARTS_MAX; i++) {
		if (r->at_ns[i] == 0 ||
		    now_ns - r->at_ns[i] > RESTARTS_WINDOW_NS) {
			r->at_ns[i] = now_ns;
			return true;
		}
	}
	return false;
}
