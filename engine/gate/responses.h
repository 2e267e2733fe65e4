/* SPDX-License-Identifier: Apache-2.0 */
/* responses.h - what the files of OpenAI's Responses dialect share */
#ifndef KENAZ_GATE_RESPONSES_H
#define KENAZ_GATE_RESPONSES_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/gate/dialect.h"
#include "engine/gate/neutral.h"
#include "engine/gate/reply.h"
#include "engine/gate/sse.h"

#define RESPONSES_EVENT_TOKENS_MAX  (1u << 18)
#define RESPONSES_BODY_TOKENS_MAX   (1u << 20)
#define RESPONSES_CALLS_MAX         256u /* in one response */
#define RESPONSES_DENIALS_MAX_BYTES (4u << 20)

/* How an output item asks the client to do something. */
enum responses_shape {
	RESPONSES_ARGUMENTS, /* a string that holds a JSON object */
	RESPONSES_INPUT,     /* a free text */
	RESPONSES_OBJECT,    /* an object in the item */
	RESPONSES_COMMAND,   /* an object with a list of words */
	RESPONSES_COMMANDS,  /* an object with a list of lines */
	RESPONSES_ITEM,      /* of no known kind: the whole item */
};

struct responses_kind {
	const char *type;  /* of the item */
	const char *name;  /* the tool's; NULL: the item names it */
	const char *field; /* where its arguments are */
	enum responses_shape shape;
};

/* One item that calls a tool of the client. */
struct responses_call {
	const struct responses_kind *kind;
	char id[CALL_ID_MAX_BYTES + 1];     /* call_id */
	char name[TOOL_NAME_MAX_BYTES + 1]; /* as policy knows it */
	struct buf text;   /* what deltas must add up to, where they do */
	struct buf judged; /* JSON: the arguments as policy sees them */
};

void responses_call_init(struct responses_call *c);
void responses_call_fini(struct responses_call *c);
const struct responses_kind *responses_kind_of(const struct json *j,
					       json_ref item);
MUST_CHECK enum err responses_call_name(const struct json *j, json_ref item,
					struct responses_call *c);
MUST_CHECK enum err responses_call_read(const struct json *j, json_ref item,
					struct responses_call *c);
MUST_CHECK enum err responses_join_name(struct span name_space,
					struct span name, struct buf *out);

/* Judged calls of a response, and walking through its output for more. */
struct responses_judged {
	uint8_t digest[32];
	bool denied;
	bool met;                 /* again, in the final response */
	size_t text_at, text_len; /* of a denial */
	uint32_t number;          /* of the message that stands for it */
};

struct responses_ledger {
	struct responses_judged *entries;
	uint32_t count, cap;
	struct buf texts; /* denials */
};

void responses_ledger_init(struct responses_ledger *l);
void responses_ledger_fini(struct responses_ledger *l);
MUST_CHECK enum err responses_ledger_add(struct responses_ledger *l,
					 const struct responses_call *c,
					 const struct reply_verdict *v,
					 uint32_t *ret_entry);
struct responses_judged *responses_ledger_meet(struct responses_ledger *l,
					       const struct responses_call *c);
struct span responses_ledger_text(const struct responses_ledger *l,
				  const struct responses_judged *entry);

/* What stands in the place of a denied call. */
MUST_CHECK enum err responses_put_message(struct buf *b, uint32_t number,
					  const char *status, struct span text);

/* Events that are not handed on as they came. */
struct responses_numbers {
	bool numbered;     /* the provider numbers its events */
	bool renumber;     /* others went out than came in */
	uint64_t sequence; /* of the next event that is handed on */
};

struct responses_denial {
	uint32_t output_index, number;
	struct span text;
};

MUST_CHECK enum err responses_put_changed(const struct sse_event *ev,
					  struct span data, struct buf *out);
MUST_CHECK enum err responses_put_numbered(struct responses_numbers *n,
					   const struct sse_event *ev,
					   struct span data, size_t at,
					   size_t len, struct buf *out);
MUST_CHECK enum err responses_put_made(struct responses_numbers *n,
				       const char *type, struct buf *data,
				       struct buf *out);
MUST_CHECK enum err responses_put_denied(struct responses_numbers *n,
					 const struct responses_denial *d,
					 struct buf *out);

/* A response object: created, completed... or a plain body. */
enum responses_end {
	RESPONSES_OPEN, /* in_progress, queued, or no status */
	RESPONSES_COMPLETED,
	RESPONSES_INCOMPLETE,
	RESPONSES_FAILED,
};

enum responses_end responses_status(const struct json *j, json_ref response);
void responses_read_usage(const struct json *j, json_ref response,
			  struct neutral_usage *u);
void responses_read_summary(const struct json *j, json_ref response,
			    struct reply_summary *s);

/* Bytes [at, at + len) are replaced by those of texts. */
struct responses_edit {
	size_t at_bytes, len_bytes;
	size_t text_at, text_len;
};

/* Replaces the denied calls of an output array; asks for the others. */
struct responses_walk {
	const struct json *doc; /* the event or body */
	json_ref item;          /* being judged, or the next to look at */
	uint32_t index;
	struct responses_call call;
	struct json call_json;
	struct responses_edit *edits;
	uint32_t edit_count, edit_cap;
	struct buf texts;
};

void responses_walk_init(struct responses_walk *w);
void responses_walk_begin(struct responses_walk *w, const struct json *doc,
			  json_ref response);
void responses_walk_fini(struct responses_walk *w);
MUST_CHECK enum err responses_walk_on(struct responses_walk *w,
				      struct responses_ledger *l,
				      struct reply *r);
MUST_CHECK enum err responses_walk_settle(struct responses_walk *w,
					  struct responses_ledger *l,
					  struct reply *r,
					  const struct reply_verdict *v);
MUST_CHECK enum err responses_walk_put(const struct responses_walk *w,
				       struct span bytes, struct buf *out);
bool responses_has_calls(const struct json *j, json_ref output);

/* Errors. */
bool responses_error_at(const struct json *j, json_ref from,
			json_ref *ret_error);
void responses_note_error(const struct json *j, json_ref error, char *ret_text,
			  size_t cap_bytes);
enum neutral_error responses_error_class(const struct json *j, json_ref error,
					 unsigned http_status);
const char *responses_error_code(enum neutral_error error);
const char *responses_code_of(const char *type);
const char *responses_error_type(unsigned http_status);
MUST_CHECK enum err responses_put_error(struct buf *b, const char *type,
					struct span message);
enum neutral_error responses_read_error(unsigned http_status, struct span body,
					struct buf *message);
const char *responses_error_name(enum neutral_error error,
				 unsigned *ret_http_status);

/* A response object of our own. */
struct responses_head {
	struct span id, model;
	const char *status;
	const char *incomplete; /* reason, or NULL */
	const char *error_code; /* or NULL */
	struct span error_text;
	struct span output; /* items, joined by commas */
	const struct neutral_usage *usage;
	uint64_t created_at_s;
};
MUST_CHECK enum err responses_put_response(struct buf *b,
					   const struct responses_head *h);

/* Whose model understands what encrypted_content holds. */
MUST_CHECK enum err responses_seal(enum dialect signer, bool redacted,
				   struct span content, struct buf *out);
bool responses_unseal(struct span sealed, enum dialect *ret_signer,
		      bool *ret_redacted, struct span *ret_content);

MUST_CHECK enum err responses_inspect(enum route route, struct span body,
				      struct seen *seen,
				      struct request_facts *facts);
MUST_CHECK enum err responses_rewrite(struct span body,
				      const struct dialect_target *t,
				      struct buf *out);
MUST_CHECK enum err responses_read_request(enum route route, struct span body,
					   struct neutral_request *r);
MUST_CHECK enum err responses_write_request(struct neutral_request *r,
					    const struct dialect_target *t,
					    struct buf *out);
struct reply *responses_stream_new(void);
struct reply *responses_body_new(void);
struct neutral_reader *responses_reader_new(bool streamed, neutral_emit *emit,
					    void *context);
struct neutral_writer *responses_writer_new(const struct neutral_answer *a);

#endif
