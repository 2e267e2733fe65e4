/* SPDX-License-Identifier: Apache-2.0 */
/* host_line.h - the one line with which a guest names a destination */
#ifndef KENAZ_EGRESS_HOST_LINE_H
#define KENAZ_EGRESS_HOST_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define HOST_LINE_MAX_BYTES  300u /* with the line feed */
#define HOST_NAME_MAX_BYTES  253u
#define HOST_LABEL_MAX_BYTES 63u

struct host_line {
	char host[HOST_NAME_MAX_BYTES + 1]; /* lower case, no brackets */
	uint16_t port;
	bool is_address; /* an IPv4 or IPv6 literal */
};

MUST_CHECK enum err host_line_parse(struct span received,
				    struct host_line *ret_line,
				    size_t *ret_taken_bytes);

#endif
