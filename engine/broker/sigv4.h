/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4.h - AWS Signature Version 4 of one request; no I/O */
#ifndef KENAZ_BROKER_SIGV4_H
#define KENAZ_BROKER_SIGV4_H

#include <stdint.h>

#include "engine/base/digest.h"
#include "engine/broker/aws_key.h"
#include "engine/providers/route.h"

#define SIGV4_HEADERS_MAX     32u /* with date and token */
#define SIGV4_PARAMETERS_MAX  32u
#define SIGV4_DATE_BYTES      17u /* "20150830T123600Z" and a NUL */
#define SIGV4_LINE_MAX_BYTES  2048u
#define SIGV4_SCOPE_MAX_BYTES 128u

/* What is signed. Spans are borrowed. */
struct sigv4_request {
	const char *method;
	struct span path;  /* encoded, as it is sent; begins with a slash */
	struct span query; /* encoded, without '?' */
	/* Lower-case names, host among them, date and token not. */
	const struct route_header *headers;
	size_t header_count;
	uint8_t body_digest[DIGEST_BYTES];
	struct span region;
	struct span service;
	int64_t now_wall_s; /* seconds since 1970 */
};

struct sigv4_signature {
	char date[SIGV4_DATE_BYTES];              /* x-amz-date */
	char authorization[SIGV4_LINE_MAX_BYTES]; /* the header's value */
};

MUST_CHECK enum err sigv4_sign(const struct sigv4_request *request,
			       const struct aws_key *key,
			       struct sigv4_signature *ret_signature);

#endif
