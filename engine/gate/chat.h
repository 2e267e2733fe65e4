/* SPDX-License-Identifier: Apache-2.0 */
/* chat.h - what the files of OpenAI's chat completions dialect share */
#ifndef KENAZ_GATE_CHAT_H
#define KENAZ_GATE_CHAT_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/gate/dialect.h"
#include "engine/gate/neutral.h"
#include "engine/gate/reply.h"

#define CHAT_CHUNK_TOKENS_MAX 65536u
#define CHAT_BODY_TOKENS_MAX  (1u << 20)
#define CHAT_CALLS_MAX        256u /* in one response */
#define CHAT_CHOICES_MAX      128u /* OpenAI's own limit of n */

MUST_CHECK enum err chat_inspect(enum route route, struct span body,
				 struct seen *seen,
				 struct request_facts *facts);
MUST_CHECK enum err
chat_rewrite(struct span body, const struct dialect_target *t, struct buf *out);
MUST_CHECK enum err chat_read_request(enum route route, struct span body,
				      struct neutral_request *r);
MUST_CHECK enum err chat_write_request(struct neutral_request *r,
				       const struct dialect_target *t,
				       struct buf *out);
struct reply *chat_stream_new(void);
struct reply *chat_body_new(void);
struct neutral_reader *chat_reader_new(bool streamed, neutral_emit *emit,
				       void *context);
struct neutral_writer *chat_writer_new(const struct neutral_answer *a);

/* Errors: {"error":{"message","type","param","code"}}. */

bool chat_is_error(const struct json *j, json_ref *ret_error);
void chat_error_words(const struct json *j, json_ref error, char *ret_text,
		      size_t cap_bytes);
enum neutral_error chat_error_class(const struct json *j, json_ref error,
				    unsigned http_status);
MUST_CHECK enum err chat_put_error(struct buf *b, const char *type,
				   struct span message);
const char *chat_error_type(unsigned http_status);
enum neutral_error chat_read_error(unsigned http_status, struct span body,
				   struct buf *message);
const char *chat_error_name(enum neutral_error error,
			    unsigned *ret_http_status);

enum neutral_stop chat_stop_of(const char *reason);
enum neutral_stop chat_stop_of(const char *reason);
bool chat_is_failure(const char *reason);
bool chat_is_blank(struct span s);
bool chat_is_done(struct span data);
/* What may be left of a stream behind its finish_reason. */
bool chat_rest_is_done(struct span rest);

/* Usage: absent is not zero; every report replaces the one before. */
void chat_read_usage(const struct json *j, json_ref root,
		     struct neutral_usage *u);
void chat_sum_usage(const struct neutral_usage *u, struct reply_summary *s);

/* Whose model understands a signature, by OpenRouter's names of formats. */
enum dialect chat_format_signer(const struct json *j, json_ref format);
const char *chat_signer_format(enum dialect signer);
/* What only the provider itself understands is kept as "FORMAT|BYTES". */
struct span chat_split_format(enum dialect signer, struct span *bytes);

#endif
