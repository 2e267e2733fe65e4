/* SPDX-License-Identifier: Apache-2.0 */
/* retry.h - whether and when a failed attempt is made again; no state */
#ifndef KENAZ_CORE_RETRY_H
#define KENAZ_CORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/proto/msg.h"

struct retry_rules {
	uint32_t retries; /* beside the first attempt, of each candidate */
	uint32_t base_ms, max_ms; /* of the back-off */
	uint32_t after_max_s;     /* longest wait that a provider may ask for */
};

/* What is known of an attempt that ended. */
struct retry_seen {
	enum infer_retry
		gate; /* NONE: something was handed on, or no failure */
	bool has_broker;
	enum transfer_failure failure; /* the broker's word */
	uint16_t http_status;          /* 0: there was no answer */
	uint32_t retry_after_ms;
	uint8_t should_retry; /* 0 not said, 1 no, 2 yes */
};

enum retry_step { RETRY_STOP, RETRY_SAME, RETRY_NEXT };

struct retry_plan {
	enum retry_step step;
	uint64_t delay_ns;
};

/* What a provider's circuit makes of an attempt. */
enum retry_health { RETRY_WELL, RETRY_ILL, RETRY_UNTOLD };

enum infer_retry retry_class(const struct retry_seen *seen);
enum retry_health retry_health(const struct retry_seen *seen);
struct retry_plan retry_plan(const struct retry_seen *seen, uint32_t tries,
			     bool has_next, const struct retry_rules *rules,
			     uint32_t random);

#endif
