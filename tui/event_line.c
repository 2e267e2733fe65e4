/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event_line.c - one audit event as one line of text
 *
 * Runs in: kenaz.
 * Trusts:  nothing: an event's texts come from guests and providers.
 * Never:   lets an attribute forge a column: all is escaped, the kind and the
 *	    session come before anything that a guest may choose.
 */
#include "tui/event_line.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/event_summary.h"

/* 2030-01-02T03:04:05.678901Z is shown as 01-02 03:04:05. */
#define TIME_DAY_AT   5u
#define TIME_CLOCK_AT 11u

static const char *text_of(const cJSON *event, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(event, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

/**
 * event_line() - Write an event as one line
 * @event:	The stored object, borrowed
 * @ret_text:	Array of @cap_bytes; always NUL-terminated and escaped
 * @cap_bytes:	Its size
 */
void event_line(const cJSON *event, char *ret_text, size_t cap_bytes)
{
	const cJSON *seq = cJSON_GetObjectItemCaseSensitive(event, "seq");
	char time[40], session[32], kind[64], summary[EVENT_SUMMARY_MAX_BYTES];
	size_t len;

	(void)text_escape_line(span_text(text_of(event, "time")), time,
			       sizeof(time));
	if (strlen(time) > TIME_DAY_AT && time[TIME_CLOCK_AT - 1] == 'T')
		time[TIME_CLOCK_AT - 1] = ' ';
	(void)text_escape_line(span_text(text_of(event, "session")), session,
			       sizeof(session));
	(void)text_escape_line(span_text(text_of(event, "kind")), kind,
			       sizeof(kind));
	event_summary(event, summary, sizeof(summary));
	(void)snprintf(ret_text, cap_bytes, "%6.0f  %-14.14s  %-12s  %-18s  %s",
		       cJSON_IsNumber(seq) ? seq->valuedouble : 0,
		       strlen(time) > TIME_DAY_AT ? time + TIME_DAY_AT : time,
		       session[0] ? session : "-", kind, summary);
	for (len = strlen(ret_text); len && ret_text[len - 1] == ' '; len--)
		ret_text[len - 1] = '\0';
}

/** event_is_denial() - Whether an event says that something was refused */
bool event_is_denial(const cJSON *event)
{
	const char *kind = text_of(event, "kind");

	return strcmp(kind, "policy.deny") == 0 ||
	       strcmp(kind, "approval.denied") == 0 ||
	       strcmp(kind, "approval.expired") == 0;
}
