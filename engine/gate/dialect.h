/* SPDX-License-Identifier: Apache-2.0 */
/* dialect.h - what the gate needs to know of each dialect, as one table row */
#ifndef KENAZ_GATE_DIALECT_H
#define KENAZ_GATE_DIALECT_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/gate/reply.h"
#include "engine/gate/seen.h"
#include "engine/proto/msg.h"

#define FEATURE_MAX_BYTES  96u
#define FEATURES_MAX       32u
#define FEATURES_MAX_BYTES 4096u
#define TOOLS_MAX_BYTES    8192u
#define RESULTS_MAX_BYTES  8192u

/* What a request says, as far as policy and audit need it. */
struct request_facts {
	char model[MODEL_MAX_BYTES + 1];
	bool stream;
	struct buf features;  /* attrs.h list "features" */
	struct buf tools;     /* attrs.h list "tools"; cut when too long */
	struct buf results;   /* attrs.h texts: call id, "ok" or "error" */
	char error_text[256]; /* why the request is refused, escaped */
};

struct dialect_ops {
	enum dialect id;
	const char *const *forwarded_headers; /* lower case, NULL-ended */
	/* ERR_FORMAT or ERR_LIMIT: error_text says what is wrong. */
	enum err (*inspect)(enum route route, struct span body,
			    struct seen *seen, struct request_facts *facts);
	struct reply *(*stream_new)(void);
	struct reply *(*body_new)(void);
	const char *(*error_type)(unsigned http_status);
	enum err (*put_error)(struct buf *b, const char *type,
			      struct span message);
};

extern const struct dialect_ops dialect_anthropic;

void request_facts_init(struct request_facts *f);
void request_facts_fini(struct request_facts *f);

#endif
