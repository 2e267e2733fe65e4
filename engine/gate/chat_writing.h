/* SPDX-License-Identifier: Apache-2.0 */
/* chat_writing.h - a chat completions request while it is written */
#ifndef KENAZ_GATE_CHAT_WRITING_H
#define KENAZ_GATE_CHAT_WRITING_H

#include <stdbool.h>

#include "engine/base/jsonw.h"
#include "engine/gate/neutral.h"

struct chat_writing {
	struct neutral_request *r;
	struct jsonw w;
	struct span model;
	bool openai, openrouter; /* what the provider's kind understands */
};

MUST_CHECK enum err chat_write_messages(struct chat_writing *x);

#endif
