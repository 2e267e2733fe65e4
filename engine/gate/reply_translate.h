/* SPDX-License-Identifier: Apache-2.0 */
/* reply_translate.h - a response in one dialect, answered in another */
#ifndef KENAZ_GATE_REPLY_TRANSLATE_H
#define KENAZ_GATE_REPLY_TRANSLATE_H

#include <stdbool.h>

#include "engine/gate/dialect.h"
#include "engine/gate/reply.h"

struct reply *reply_translate_new(const struct dialect_ops *wire, bool streamed,
				  const struct dialect_ops *client,
				  const struct neutral_answer *answer);
struct reply *reply_translate_error_new(const struct dialect_ops *wire,
					unsigned http_status,
					const struct dialect_ops *client);

#endif
