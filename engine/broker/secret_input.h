/* SPDX-License-Identifier: Apache-2.0 */
/* secret_input.h - read one secret from a client's socket and answer it */
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

struct secret_input;

/* What became of it; the callee stores the secret and fills the answer. */
struct secret_input_result {
	uint64_t request;
	const char *name;
	struct span secret; /* empty when error is set */
	enum err error;
	char text[REASON_MAX_BYTES]; /* a sentence when error is set */
	uint64_t version;            /* of the stored secret */
};

typedef void (*secret_input_done)(void *context,
				  struct secret_input_result *result);

MUST_CHECK enum err secret_input_new(uv_loop_t *loop, int fd, uint64_t request,
				     struct span name, struct span rpc_id,
				     secret_input_done done, void *context);
unsigned secret_input_open(void);

#endif
