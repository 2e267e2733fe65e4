/* SPDX-License-Identifier: Apache-2.0 */
/* chat_reading.h - a chat completions request while it is read */
#ifndef KENAZ_GATE_CHAT_READING_H
#define KENAZ_GATE_CHAT_READING_H

#include "engine/base/json.h"
#include "engine/gate/neutral.h"

struct chat_reading {
	struct neutral_request *r;
	struct json doc;
	bool in_results; /* the last message holds results and no more */
};

bool chat_is_set(const struct chat_reading *x, json_ref at);
MUST_CHECK enum err chat_refuse_value(struct chat_reading *x, const char *field,
				      json_ref at);
enum neutral_cache chat_read_cache(const struct chat_reading *x, json_ref part);
MUST_CHECK enum err chat_read_messages(struct chat_reading *x);

#endif
