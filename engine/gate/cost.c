/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cost.c - what a provider says that a request cost
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response: the number is reported as the provider's.
 * Never:   uses floating point.
 *
 * OpenRouter reports "cost" beside the counts of tokens, in every dialect.
 */
#include "engine/gate/cost.h"

#include "engine/base/text.h"

#define COST_MAX_UUSD  (UINT64_C(1) << 50)
#define COST_MAX_BYTES 40u

/* A price in US dollars as JSON writes it, in millionths, rounded up. */
static bool read_number(struct span s, uint64_t *ret_uusd)
{
	uint64_t digits = 0, exponent = 0;
	long scale = 6; /* digits times 10^scale are millionths */
	bool point = false, rest = false, negative = false;
	size_t i = 0;

	if (s.len_bytes == 0 || s.len_bytes > COST_MAX_BYTES)
		return false;
	for (; i < s.len_bytes && (s.data[i] | 0x20) != 'e'; i++) {
		if (s.data[i] == '.') {
			point = true;
			continue;
		}
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		if (digits > COST_MAX_UUSD) {
			rest |= s.data[i] != '0';
			scale += point ? 0 : 1;
			continue;
		}
		digits = 10 * digits + (uint64_t)(s.data[i] - '0');
		scale -= point ? 1 : 0;
	}
	if (i < s.len_bytes && ++i < s.len_bytes &&
	    (s.data[i] == '-' || s.data[i] == '+'))
		negative = s.data[i++] == '-';
	if (i < s.len_bytes &&
	    text_parse_u64(span_of(s.data + i, s.len_bytes - i), 0, 100,
			   &exponent) != ERR_OK)
		return false;
	scale += negative ? -(long)exponent : (long)exponent;
	for (; scale > 0 && digits && digits <= COST_MAX_UUSD; scale--)
		digits *= 10;
	for (; scale < 0 && digits; scale++) {
		rest |= digits % 10 != 0;
		digits /= 10;
	}
	if (digits > COST_MAX_UUSD)
		return false;
	*ret_uusd = digits + (rest ? 1 : 0);
	return true;
}

/**
 * cost_read() - Read what a usage object says of the price
 * @j:		Document
 * @usage:	Value, or JSON_NONE
 * @ret_uusd:	Millionths of a US dollar, rounded up; written when true
 *
 * Return: false when nothing is said, or nothing sane.
 */
bool cost_read(const struct json *j, json_ref usage, uint64_t *ret_uusd)
{
	json_ref cost = json_get(j, usage, "cost");

	return json_is(j, cost, JSON_NUMBER) &&
	       read_number(json_raw(j, cost), ret_uusd);
}
