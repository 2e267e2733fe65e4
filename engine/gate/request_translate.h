/* SPDX-License-Identifier: Apache-2.0 */
/* request_translate.h - a request in one dialect, sent in another */
#ifndef KENAZ_GATE_REQUEST_TRANSLATE_H
#define KENAZ_GATE_REQUEST_TRANSLATE_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/gate/dialect.h"

#define DROPPED_MAX_BYTES 2500u

/* What is known after a request was translated. */
struct request_translation {
	bool stream, want_usage;     /* what the client asked for */
	struct neutral_names *names; /* of renamed tools, for the answer */
	struct buf dropped;          /* attrs.h list "dropped" */
	char error_text[256];        /* names the field; escaped */
};

void request_translation_init(struct request_translation *t);
void request_translation_fini(struct request_translation *t);
MUST_CHECK enum err request_translate(const struct dialect_ops *client,
				      enum route route, struct span body,
				      const struct dialect_ops *wire,
				      const struct dialect_target *target,
				      struct buf *out,
				      struct request_translation *ret);

#endif
