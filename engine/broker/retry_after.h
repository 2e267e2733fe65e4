/* SPDX-License-Identifier: Apache-2.0 */
/* retry_after.h - what a provider says about trying again; no I/O */
#ifndef KENAZ_BROKER_RETRY_AFTER_H
#define KENAZ_BROKER_RETRY_AFTER_H

#include <stdint.h>

#include "engine/base/buf.h"

#define RETRY_AFTER_MAX_MS 86400000u /* what asks for more gets this */

enum retry_advice { RETRY_NOT_SAID = 0, RETRY_NO = 1, RETRY_YES = 2 };

/* Collected from one answer's head. All zeros at its start. */
struct retry_after {
	uint32_t ms;   /* from retry-after-ms; 0: none */
	uint32_t s_ms; /* from retry-after */
	enum retry_advice advice;
};

void retry_after_notice(struct retry_after *r, struct span name,
			struct span value, int64_t now_wall_s);
uint32_t retry_after_ms(const struct retry_after *r);

#endif
