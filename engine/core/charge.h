/* SPDX-License-Identifier: Apache-2.0 */
/* charge.h - what of a reservation an attempt is charged; no state */
#ifndef KENAZ_CORE_CHARGE_H
#define KENAZ_CORE_CHARGE_H

#include <stdbool.h>

#include "engine/core/retry.h"

/* Until a reply says: about four bytes of text make a token. */
#define CHARGE_TOKEN_BYTES 4u

enum charge {
	CHARGE_REPORTED, /* what was reported, be it nothing */
	CHARGE_GUESSED,  /* by the bytes of both bodies */
	CHARGE_RESERVED, /* all that was set aside */
};

/* How an attempt of a route that a model answers came to its end. */
struct charge_seen {
	struct retry_seen seen;
	bool granted;     /* it may have been sent */
	bool sent;        /* the broker's word; counts with has_broker */
	bool client_left; /* before the end */
	bool whole;       /* broker and gate saw the answer's end */
	bool usage_known; /* the answer told what was used */
};

enum charge charge_of(const struct charge_seen *c);

#endif
