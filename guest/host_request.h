/* SPDX-License-Identifier: Apache-2.0 */
/* host_request.h - the JSON line that opens a stream from the host */
#ifndef KENAZ_GUEST_HOST_REQUEST_H
#define KENAZ_GUEST_HOST_REQUEST_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "guest/environment.h"

#define HOST_REQUEST_MAX_ARGS       256
#define HOST_REQUEST_NAME_MAX_BYTES 32u
#define HOST_REQUEST_HOST_MAX_BYTES 64u
#define HOST_REQUEST_CWD_MAX_BYTES  4096u
#define HOST_REQUEST_NONCE_BYTES    32u
#define HOST_REQUEST_ENTROPY_BYTES  64u
#define HOST_REQUEST_SIZE_MAX       1000u /* rows and columns */

enum host_request_op {
	HOST_REQUEST_HELLO,
	HOST_REQUEST_EXEC,
	HOST_REQUEST_ATTACH,
	HOST_REQUEST_START,
	HOST_REQUEST_RESEED,
	HOST_REQUEST_SHUTDOWN,
};

struct host_request {
	enum host_request_op op;
	char name[HOST_REQUEST_NAME_MAX_BYTES + 1];
	char *argv[HOST_REQUEST_MAX_ARGS + 1];
	size_t argc;
	struct environment env;
	char cwd[HOST_REQUEST_CWD_MAX_BYTES]; /* empty: the home */
	bool tty;
	uint16_t rows, columns;
	/* hello and reseed */
	uint8_t nonce[HOST_REQUEST_NONCE_BYTES];
	uint8_t entropy[HOST_REQUEST_ENTROPY_BYTES];
	uint64_t wall_us;
	char hostname[HOST_REQUEST_HOST_MAX_BYTES + 1];
};

MUST_CHECK enum err host_request_parse(struct span line,
				       struct host_request *ret,
				       const char **ret_reason);
void host_request_fini(struct host_request *r);

#endif
