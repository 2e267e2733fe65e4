/* SPDX-License-Identifier: Apache-2.0 */
/* response.h - what is kept, counted and passed on of one answer; no I/O */
#ifndef KENAZ_BROKER_RESPONSE_H
#define KENAZ_BROKER_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/digest.h"
#include "engine/broker/keyscan.h"
#include "engine/broker/retry_after.h"
#include "engine/providers/provider.h"

#define RESPONSE_HEADERS_MAX_BYTES 65536u /* all that the provider sends */
#define RESPONSE_ALLOWED_MAX_BYTES 8192u  /* all that is passed on */

struct response {
	const struct provider_kind *kind;
	const struct keyscan_key *key;
	uint64_t max_bytes;
	bool passes_on; /* frames are wanted */
	bool keeps;     /* a copy of the body is wanted */

	uint16_t status; /* 0 until a final status line came */
	bool head_done;
	size_t header_bytes;
	struct buf headers;  /* attrs.h texts */
	const char *problem; /* a static sentence, after any error */

	struct retry_after retry;

	struct keyscan scan;
	bool key_echoed;
	uint64_t received_bytes;
	uint64_t body_bytes; /* passed on */
	struct digest *digest;
	struct buf clean;   /* scratch */
	struct buf frames;  /* to be written to the gate */
	struct buf inlined; /* the copy while it is small */
	int memfd;          /* the copy once it is large, or -1 */
};

MUST_CHECK enum err response_init(struct response *r, bool passes_on);
void response_expect(struct response *r, const struct provider_kind *kind,
		     const struct keyscan_key *key, uint64_t max_bytes,
		     bool keeps);
void response_fini(struct response *r);
MUST_CHECK enum err response_header_line(struct response *r, struct span line);
MUST_CHECK enum err response_data(struct response *r, struct span data);
MUST_CHECK enum err response_end(struct response *r, enum err error,
				 struct span text,
				 uint8_t ret_digest[DIGEST_BYTES]);
MUST_CHECK enum err response_take_memfd(struct response *r, int *ret_fd);

#endif
