/* SPDX-License-Identifier: Apache-2.0 */
/* restarts.h - how often a lost process may be started anew */
#ifndef KENAZ_CORE_RESTARTS_H
#define KENAZ_CORE_RESTARTS_H

#include <stdbool.h>
#include <stdint.h>

#define RESTARTS_MAX       3u
#define RESTARTS_WINDOW_NS (60ull * 1000000000ull)

/* Zeroed to begin with. */
struct restarts {
	uint64_t at_ns[RESTARTS_MAX];
};

bool restarts_allow(struct restarts *r, uint64_t now_ns);

#endif
