/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_case.h - a provider's answer on every wire, for every client */
#ifndef KENAZ_TESTS_GATEWAY_CASE_H
#define KENAZ_TESTS_GATEWAY_CASE_H

#include "engine/gate/dialect.h"
#include "tests/lib/reply_run.h"

#define CASE_MAX_BYTES (1u << 20)
#define CASE_SAID_MAX  4096u

/* What calls.* says. */
#define CASE_CALLS                                        \
	"text{5 € für dich 😀} "                     \
	"call{call_a read {\"path\": \"/ä/b\"}} "        \
	"call{call_b bash {\"x\":[1, 2]}} stop=tool_use " \
	"usage=30/12 cache=5/4"

/* How an answer comes to a client. */
enum case_way {
	CASE_PASSED,     /* same dialect: the pass-through reply */
	CASE_TRANSLATED, /* by way of the neutral form */
	CASE_BRIDGED,    /* Anthropic's in AWS frames, or out of them */
	CASE_WAYS,
};

struct case_run {
	const char *name;
	const struct dialect_ops *wire, *client;
	enum case_way way;
	size_t chunk;
	struct span bytes; /* on the wire */
	struct reply_run run;
	char said[CASE_SAID_MAX]; /* what the client reads in run.all */
};

typedef void case_check(const struct case_run *c, const void *context);

/*
 * tests/data/gateway/NAME.DIALECT: a line is an event's JSON, for Converse
 * with the event's name (or !exception) before it; # begins a comment.
 */
bool case_exists(const struct dialect_ops *wire, const char *name);
void case_load(const struct dialect_ops *wire, const char *name,
	       struct buf *ret_bytes);
struct reply *case_reply(const struct dialect_ops *wire,
			 const struct dialect_ops *client, enum case_way way);
/* "text{a} call{id name {}} stop=end_turn usage=1/2"; or "... broken". */
void case_say(const struct dialect_ops *d, struct span bytes,
	      char ret_said[CASE_SAID_MAX]);
/* Every wire that has the file, every client, every way, several chunks. */
void case_each(const char *name, case_check *check, const void *context);

/* Checks; the context is a text. */
case_check case_says, case_says_unchanged, case_fails,
	case_fails_in_translation;

typedef void case_pair_check(const struct dialect_ops *wire,
			     const struct dialect_ops *client,
			     enum case_way way);
void case_every_pair(case_pair_check *check);
bool case_has_frames(const struct dialect_ops *d);
MUST_CHECK enum err case_feed(struct reply *r, struct span in, struct buf *out);
/* NAME.DIALECT translated and read again: "user: text|hi; assistant: ..." */
void case_send_request(const char *name, const struct dialect_ops *client,
		       const struct dialect_ops *wire,
		       char ret_said[CASE_SAID_MAX]);

#endif
