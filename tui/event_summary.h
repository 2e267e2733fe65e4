/* SPDX-License-Identifier: Apache-2.0 */
/* event_summary.h - what an audit event says, in a few words */
#ifndef KENAZ_TUI_EVENT_SUMMARY_H
#define KENAZ_TUI_EVENT_SUMMARY_H

#include <cjson/cJSON.h>
#include <stddef.h>

#define EVENT_SUMMARY_MAX_BYTES 768u

void event_summary(const cJSON *event, char *ret_text, size_t cap_bytes);

#endif
