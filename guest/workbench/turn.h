/* SPDX-License-Identifier: Apache-2.0 */
/* turn.h - one prompt of the user, to the end of the model's turn */
#ifndef KENAZ_WORKBENCH_TURN_H
#define KENAZ_WORKBENCH_TURN_H

#include "guest/workbench/conversation.h"
#include "guest/workbench/http_call.h"
#include "guest/workbench/transcript.h"

#define TURN_MAX_STEPS       50 /* requests for one prompt */
#define TURN_MODEL_MAX_BYTES 256

struct workbench {
	struct http_place place;
	struct conversation conversation;
	struct transcript transcript;
	char model[TURN_MODEL_MAX_BYTES];
	const char *api_key;
	bool (*is_cancelled)(void);
	bool said_scripted; /* in this turn */
};

MUST_CHECK enum err turn_run(struct workbench *w, struct span prompt);

#endif
