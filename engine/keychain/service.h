/* SPDX-License-Identifier: Apache-2.0 */
/* service.h - one item of the desktop's Secret Service */
#ifndef KENAZ_KEYCHAIN_SERVICE_H
#define KENAZ_KEYCHAIN_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/keychain/item.h"
#include "engine/proto/limits.h"

#define SERVICE_ITEM_BYTES    16u
#define SERVICE_ANSWER_MAX_MS 5000u   /* of a whole question */
#define SERVICE_PROMPT_MAX_MS 110000u /* where the user may be asked */

struct service;

/* The item, and room for a sentence when something fails. */
struct service_question {
	uint8_t item[SERVICE_ITEM_BYTES];
	bool may_prompt;
	char why[REASON_MAX_BYTES];
};

MUST_CHECK enum err service_new(const char *bus, struct service **ret_service);
MUST_CHECK enum err service_get(struct service *s, struct service_question *q,
				uint8_t ret_key[ITEM_KEY_BYTES]);
MUST_CHECK enum err service_put(struct service *s, struct service_question *q,
				const uint8_t key[ITEM_KEY_BYTES]);
MUST_CHECK enum err service_forget(struct service *s,
				   struct service_question *q);

#endif
