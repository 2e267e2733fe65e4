/* SPDX-License-Identifier: Apache-2.0 */
/* circuit.h - a provider that keeps failing is left alone for a while */
#ifndef KENAZ_CORE_CIRCUIT_H
#define KENAZ_CORE_CIRCUIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/proto/limits.h"

#define CIRCUIT_FAILURES_MAX 64u
#define CIRCUITS_MAX         32u

enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_HALF_OPEN };

struct circuit_rules {
	uint32_t failures; /* in a row that open it; 0: never */
	uint32_t window_s; /* within this time */
	uint32_t open_s;   /* before one request may probe */
};

struct circuit {
	char provider[NAME_MAX_BYTES + 1];
	enum circuit_state state;
	bool probing; /* half open: one is on its way */
	uint64_t failed_ns[CIRCUIT_FAILURES_MAX]; /* the latest ones */
	uint64_t failed_who[CIRCUIT_FAILURES_MAX];
	uint32_t failed_count;
	uint64_t held_who, held_until_ns; /* refused alone */
	uint64_t until_ns;                /* open until then */
	uint64_t opened;                  /* how often */
};

struct circuits {
	struct circuit of[CIRCUITS_MAX];
	size_t count;
};

struct circuit *circuit_of(struct circuits *set, const char *provider);
const struct circuit *circuit_find(const struct circuits *set,
				   const char *provider);
bool circuit_admits(struct circuit *c, uint64_t who, uint64_t now_ns,
		    uint64_t *ret_wait_ns);
bool circuit_begin(struct circuit *c);
bool circuit_report(struct circuit *c, const struct circuit_rules *rules,
		    bool well, bool probe, uint64_t who, uint64_t now_ns);
void circuit_withdraw(struct circuit *c, bool probe);
const char *circuit_state_text(enum circuit_state state);

#endif
