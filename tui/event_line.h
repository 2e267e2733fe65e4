/* SPDX-License-Identifier: Apache-2.0 */
/* event_line.h - one audit event as one line of text */
#ifndef KENAZ_TUI_EVENT_LINE_H
#define KENAZ_TUI_EVENT_LINE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#define EVENT_LINE_MAX_BYTES 1024u
/* What stands above a list of such lines. */
#define EVENT_LINE_HEADING                                           \
	"   SEQ  TIME (UTC)      SESSION       KIND                " \
	"SUMMARY"

void event_line(const cJSON *event, char *ret_text, size_t cap_bytes);
bool event_is_denial(const cJSON *event);

#endif
