/* SPDX-License-Identifier: Apache-2.0 */
/* infer_usage.h - the tokens that an attempt is charged */
#ifndef KENAZ_CORE_INFER_USAGE_H
#define KENAZ_CORE_INFER_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Of text, about, until a provider says. */
#define USAGE_TOKEN_BYTES 4u

/* What is known of an attempt once it is over. */
struct usage_seen {
	bool generates; /* a model answers, and not a table */
	bool lost;      /* granted, but the broker that knew is gone */
	bool unpaid;    /* the provider failed before anything was handed on */
	bool sent;      /* the provider may have the request */
	bool whole;     /* the response came to its end */
	bool known;     /* the provider reported usage */
	bool stream;
	unsigned http_status; /* 0: no response began */
	uint64_t input_tokens, output_tokens;
	uint64_t request_bytes, response_bytes;
	uint64_t total_ms;
	uint64_t most_input, most_output; /* as was reserved */
};

struct usage_charged {
	bool estimated;
	uint64_t input_tokens, output_tokens;
};

void usage_charge(const struct usage_seen *seen, struct usage_charged *ret);

#endif
