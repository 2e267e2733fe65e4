/* SPDX-License-Identifier: Apache-2.0 */
/* dialect.h - what the gate needs to know of each dialect, as one table row */
#ifndef KENAZ_GATE_DIALECT_H
#define KENAZ_GATE_DIALECT_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/gate/neutral.h"
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
	enum dialect dialect; /* of the body, where the path leaves it open */
	bool stream;
	bool asks_usage;     /* has usage sent in the stream, or need not ask */
	bool amend;          /* rewrite() before asking: part must change */
	uint64_t max_tokens; /* of the answer; 0: the request does not say */
	struct buf features; /* attrs.h list "features" */
	struct buf tools;    /* attrs.h list "tools"; cut when too long */
	struct buf results;  /* attrs.h texts: call id, "ok" or "error" */
	char error_text[256]; /* why the request is refused, escaped */
};

/* How a request's body is made for one attempt. Spans are borrowed. */
struct dialect_target {
	enum route route;
	struct span model;        /* the provider's name for it */
	bool stream;              /* the client wants a stream */
	bool want_usage;          /* have usage sent in the stream */
	struct span kind;         /* provider's kind, e.g. "bedrock" */
	const char *const *betas; /* allowed anthropic betas; none: all */
	size_t beta_count;
	uint64_t max_tokens; /* the model's longest answer; 0: not known */
};

/*
 * One row a dialect. NULL members: the dialect does not do that (yet a
 * client dialect has a writer, a wire dialect a reader).
 */
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
	/* Same dialect: the body with only what must change changed. */
	enum err (*rewrite)(struct span body, const struct dialect_target *t,
			    struct buf *out);
	/* ERR_UNSUPPORTED and ERR_FORMAT: request->error_text. */
	enum err (*read_request)(enum route route, struct span body,
				 struct neutral_request *request);
	enum err (*write_request)(struct neutral_request *request,
				  const struct dialect_target *t,
				  struct buf *out);
	struct neutral_reader *(*reader_new)(bool streamed, neutral_emit *emit,
					     void *context);
	struct neutral_writer *(*writer_new)(const struct neutral_answer *a);
	const char *stream_type; /* content-type of a stream */
	/* An HTTP error's body of this dialect, read; and its own words. */
	enum neutral_error (*read_error)(unsigned http_status, struct span body,
					 struct buf *message);
	const char *(*error_name)(enum neutral_error error,
				  unsigned *ret_http_status);
};

extern const struct dialect_ops dialect_anthropic;
extern const struct dialect_ops dialect_chat;
extern const struct dialect_ops dialect_responses;
extern const struct dialect_ops dialect_converse;
extern const struct dialect_ops dialect_invoke;
/* Rows that exist are listed in dialect.c. */
const struct dialect_ops *dialect_find(enum dialect id);
MUST_CHECK enum err dialect_amend(const struct dialect_ops *d,
				  struct buf *body);

void request_facts_limit(struct request_facts *f, const struct json *j,
			 json_ref max_tokens);
void request_facts_init(struct request_facts *f);
void request_facts_fini(struct request_facts *f);

#endif
