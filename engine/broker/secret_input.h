/* SPDX-License-Identifier: Apache-2.0 */
/* secret_input.h - read secrets from a client's socket and answer it */
#ifndef KENAZ_BROKER_SECRET_INPUT_H
#define KENAZ_BROKER_SECRET_INPUT_H

#include <uv.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/broker/secret.h"
#include "engine/proto/limits.h"

#define SECRET_INPUT_MAX_NS     120000000000ull
#define SECRET_INPUT_OPEN_MAX   8u
#define SECRET_RPC_ID_MAX_BYTES 64u

#define SECRET_LINES_MAX 2u

struct secret_input;

/*
 * What came. The callee does what it is for, fills the rest in and calls
 * secret_input_answer(), at once or later; the spans are valid until then.
 */
struct secret_input_result {
	uint64_t request;
	const char *name;
	struct span secret;                  /* of a secret */
	struct span lines[SECRET_LINES_MAX]; /* of passphrases; may be empty */
	enum err error;
	char text[REASON_MAX_BYTES]; /* a sentence when error is set */
	uint64_t version;            /* of the stored secret */
	const char *backend;         /* of an opened vault; else NULL */
	uint32_t key_id;
};

typedef void (*secret_input_done)(void *context, struct secret_input *in,
				  struct secret_input_result *result);

struct secret_input_plan {
	uint64_t request;
	struct span name;   /* of the secret; empty for passphrases */
	unsigned lines;     /* of passphrases; 0: it is a secret */
	struct span rpc_id; /* JSON text of the client's request id */
	secret_input_done done;
	void *context;
};

MUST_CHECK enum err secret_input_new(uv_loop_t *loop, int fd,
				     const struct secret_input_plan *plan);
void secret_input_answer(struct secret_input *in);
struct secret_input_result *secret_input_result(struct secret_input *in);
MUST_CHECK enum err secret_input_split(struct span input, unsigned count,
				       struct span ret_lines[SECRET_LINES_MAX]);

#endif
