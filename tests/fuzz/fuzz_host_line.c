/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_host_line.c - no accepted destination holds anything but a host
 *
 * Runs in: make fuzz.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/egress/host_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host_line line;
	size_t taken, i;

	if (host_line_parse(span_of(data, size), &line, &taken) != ERR_OK)
		return 0;
	if (taken > size || taken > HOST_LINE_MAX_BYTES || line.port == 0 ||
	    line.host[0] == '\0')
		abort();
	for (i = 0; line.host[i]; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-:",
			    line.host[i]))
			abort();
	return 0;
}

/* sources: engine/egress/host_line.c engine/base/buf.c engine/base/text.c */
