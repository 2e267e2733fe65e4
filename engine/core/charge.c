/* SPDX-License-Identifier: Apache-2.0 */
/*
 * charge.c - what of a reservation an attempt is charged
 *
 * Runs in: kenazd; pure.
 * Trusts:  the broker for whether and how a provider answered; the gate for
 *	    usage.
 * Never:   makes it cheaper to hang up than to wait for the bill.
 *
 * Usage comes at an answer's end. Who hangs up before gets what was generated
 * so far for what the start of the answer said, often nothing, while the
 * provider charges all of it. So what was cut off is charged as reserved. A
 * provider that failed by itself, with nothing handed on, is not paid.
 */
#include "engine/core/charge.h"

/**
 * charge_of() - What an attempt is charged
 * @c:	What is known of it
 */
enum charge charge_of(const struct charge_seen *c)
{
	if (!c->granted)
		return CHARGE_REPORTED;
	/* The broker was lost: nobody knows. */
	if (!c->seen.has_broker)
		return CHARGE_RESERVED;
	if (!c->sent)
		return CHARGE_REPORTED;
	if (c->seen.http_status == 0)
		return c->client_left ? CHARGE_RESERVED : CHARGE_REPORTED;
	if (c->seen.http_status < 200 || c->seen.http_status > 299)
		return CHARGE_REPORTED;
	if (c->whole)
		return c->usage_known ? CHARGE_REPORTED : CHARGE_GUESSED;
	return retry_class(&c->seen) == RETRY_NONE ? CHARGE_RESERVED
						   : CHARGE_REPORTED;
}
