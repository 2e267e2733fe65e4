/* SPDX-License-Identifier: Apache-2.0 */
/* reply.h - what every dialect does with a provider's response */
#ifndef KENAZ_GATE_REPLY_H
#define KENAZ_GATE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/proto/limits.h"

#define TOOL_NAME_MAX_BYTES      128u
#define TOOL_ARGUMENTS_MAX_BYTES (4u << 20)
#define TOOL_HELD_MAX_BYTES      (24u << 20) /* a held call as streamed */
#define REPLY_TAIL_MAX_BYTES     65536u      /* after the terminal event */

enum reply_state {
	REPLY_OPEN,   /* wants bytes, or its end */
	REPLY_JUDGE,  /* a call is complete and held: wants a verdict */
	REPLY_DONE,   /* complete; its terminal part waits for release */
	REPLY_FAILED, /* its error waits for release */
};

/* A complete call; borrowed until the verdict. */
struct reply_call {
	uint32_t index;
	struct span id, name;
	struct span arguments; /* a checked JSON object */
};

/* What only the gate can see of a response. */
struct reply_summary {
	char id[129];
	char model[MODEL_MAX_BYTES + 1];
	char stop_reason[65];
	bool usage_known;
	uint64_t input_tokens, output_tokens;
	uint64_t cache_read_tokens, cache_write_tokens;
	uint32_t calls, calls_denied;
	char dropped[128];  /* what translation left out: "a, b" */
	bool cost_known;    /* the provider said what it charges */
	uint64_t cost_uusd; /* millionths of a US dollar */
};

struct reply_verdict {
	bool allow;
	struct span rule, text;
};

struct reply;

/* A dialect's way of reading one kind of response. */
struct reply_ops {
	enum err (*feed)(struct reply *r, struct span *in, struct buf *out);
	enum err (*end)(struct reply *r, struct buf *out);
	enum err (*verdict)(struct reply *r, const struct reply_verdict *v,
			    struct buf *out);
	enum err (*release)(struct reply *r, struct buf *out);
	enum err (*fail)(struct reply *r, const char *type, struct span text);
	enum err (*ping)(struct reply *r, struct buf *out);
	void (*free)(struct reply *r);
	bool streamed;
};

/* Head of every dialect's own structure. */
struct reply {
	const struct reply_ops *ops;
	enum reply_state state;
	struct reply_call call;
	struct reply_summary summary;
	size_t held_bytes; /* memory in use for held parts */
	bool said;         /* streamed: some of the answer was there */
	/* The status that the provider's own error would have; 0: none. */
	unsigned error_status;
	const char *error_text;   /* static; why feed or end failed */
	char upstream_error[256]; /* the provider's own words, escaped */
	/*
	 * Set behind the constructor when usage was asked for on the client's
	 * behalf: what the client did not ask for is left out.
	 */
	bool strip_usage;
	/* Translated replies; else 0 and NULL. Static texts. */
	unsigned http_status;     /* for the client, once DONE or FAILED */
	const char *error_type;   /* an error's name in the client's dialect */
	const char *content_type; /* of what goes to the client */
};

MUST_CHECK enum err reply_feed(struct reply *r, struct span *in,
			       struct buf *out);
MUST_CHECK enum err reply_end(struct reply *r, struct buf *out);
MUST_CHECK enum err
reply_verdict(struct reply *r, const struct reply_verdict *v, struct buf *out);
MUST_CHECK enum err reply_release(struct reply *r, struct buf *out);
MUST_CHECK enum err reply_fail(struct reply *r, const char *type,
			       struct span text);
MUST_CHECK enum err reply_ping(struct reply *r, struct buf *out);
void reply_free(struct reply *r);

MUST_CHECK enum err reply_put_denial(struct buf *b, struct span tool,
				     const struct reply_verdict *v);
MUST_CHECK enum err reply_check_arguments(struct json *doc,
					  struct span arguments);

#endif
