/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vsock_line.c - what is taken is one whole line that names a port
 *
 * Runs in: make fuzz.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/core/vsock_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t taken = 0, part, again;
	uint32_t port = 0, same = 0;
	enum err e = vsock_line_parse(span_of(data, size), &taken, &port);

	if (e == ERR_AGAIN)
		return 0;
	if (e == ERR_OK &&
	    (taken > size || taken > VSOCK_LINE_MAX_BYTES || port == 0 ||
	     port == UINT32_MAX || data[taken - 1] != '\n' ||
	     memchr(data, '\n', taken - 1)))
		abort();
	/* In pieces it comes to the same. */
	for (part = 0; e == ERR_OK && part < taken; part++)
		if (vsock_line_parse(span_of(data, part), &again, &same) !=
		    ERR_AGAIN)
			abort();
	return 0;
}

/* sources: engine/core/vsock_line.c engine/base/buf.c engine/base/text.c */
