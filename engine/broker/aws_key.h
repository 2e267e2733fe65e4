/* SPDX-License-Identifier: Apache-2.0 */
/* aws_key.h - AWS credentials as one line of text */
#ifndef KENAZ_BROKER_AWS_KEY_H
#define KENAZ_BROKER_AWS_KEY_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define AWS_KEY_ID_MIN_BYTES     16u
#define AWS_KEY_ID_MAX_BYTES     128u
#define AWS_KEY_SECRET_MIN_BYTES 16u
#define AWS_KEY_SECRET_MAX_BYTES 128u
#define AWS_KEY_TOKEN_MAX_BYTES  7900u

/* Borrowed from the text that was parsed, which is in locked memory. */
struct aws_key {
	struct span id;
	struct span secret;
	struct span token;       /* empty: long-term credentials */
	uint64_t expires_wall_s; /* when the token ends; 0: not known */
};

MUST_CHECK enum err aws_key_parse(struct span text, struct aws_key *ret_key);

#endif
