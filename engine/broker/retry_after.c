/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry_after.c - what a provider says about trying again; no I/O
 *
 * Runs in: kenaz-broker.
 * Trusts:  nothing that the provider sends: what is no number or date in
 *	    range is as if it were not there.
 * Never:   lets a provider ask for more than RETRY_AFTER_MAX_MS.
 *
 * Source: RFC 9110, section 10.2.3 (seconds or a date). retry-after-ms and
 * x-should-retry are what Anthropic's and OpenAI's own clients obey; the
 * former may have a fraction and stands over retry-after.
 */
#include "engine/broker/retry_after.h"

#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "engine/base/text.h"

#define DATE_MAX_BYTES 64u
#define SECOND_MS      1000u

static bool name_is(struct span name, const char *text)
{
	return name.len_bytes == strlen(text) &&
	       strncasecmp((const char *)name.data, text, name.len_bytes) == 0;
}

static uint32_t bounded(uint64_t ms)
{
	return ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : (uint32_t)ms;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* DIGITS[.DIGITS] of a unit of unit_ms, rounded up. */
static bool read_number(struct span s, uint32_t unit_ms, uint32_t *ret_ms)
{
	uint64_t whole = 0, fraction = 0, scale = 1;
	size_t i = 0;

	for (; i < s.len_bytes && is_digit(s.data[i]); i++)
		if (whole <= RETRY_AFTER_MAX_MS)
			whole = whole * 10 + (s.data[i] - '0');
	if (i == 0)
		return false;
	if (i < s.len_bytes && s.data[i] == '.') {
		for (i++; i < s.len_bytes && is_digit(s.data[i]); i++) {
			if (scale >= 1000000)
				continue;
			fraction = fraction * 10 + (s.data[i] - '0');
			scale *= 10;
		}
	}
	if (i != s.len_bytes)
		return false;
	*ret_ms = bounded(whole * unit_ms +
			  (fraction * unit_ms + scale - 1) / scale);
	return true;
}

static bool read_date(struct span s, int64_t now_wall_s, uint32_t *ret_ms)
{
	char text[DATE_MAX_BYTES];
	time_t at;

	if (span_copy_text(s, text, sizeof(text)) != ERR_OK)
		return false;
	at = curl_getdate(text, NULL);
	if (at < 0)
		return false;
	*ret_ms = (int64_t)at > now_wall_s
			  ? bounded((uint64_t)((int64_t)at - now_wall_s) *
				    SECOND_MS)
			  : 0;
	return true;
}

/**
 * retry_after_notice() - Look at one header of the answer
 * @r:			Collected so far
 * @name:		In any case
 * @value:		Without white space around it
 * @now_wall_s:		Seconds since 1970, for dates
 */
void retry_after_notice(struct retry_after *r, struct span name,
			struct span value, int64_t now_wall_s)
{
	uint32_t ms;

	if (name_is(name, "retry-after-ms")) {
		if (read_number(value, 1, &ms))
			r->ms = ms;
	} else if (name_is(name, "retry-after")) {
		if (read_number(value, SECOND_MS, &ms) ||
		    read_date(value, now_wall_s, &ms))
			r->s_ms = ms;
	} else if (name_is(name, "x-should-retry")) {
		if (span_is(value, "true"))
			r->advice = RETRY_YES;
		else if (span_is(value, "false"))
			r->advice = RETRY_NO;
	}
}

/** retry_after_ms() - Milliseconds to wait before trying again; 0: not said */
uint32_t retry_after_ms(const struct retry_after *r)
{
	return r->ms ? r->ms : r->s_ms;
}
