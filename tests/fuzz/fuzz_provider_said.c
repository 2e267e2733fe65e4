/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_provider_said.c - any body of an error a provider may answer */
#include <stdlib.h>
#include <string.h>

#include "tui/provider_said.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[PROVIDER_SAID_MAX_BYTES];

	(void)provider_sent_a_page(span_of(data, size));
	if (provider_said(span_of(data, size), text) == ERR_OK &&
	    (!text[0] || !memchr(text, 0, sizeof(text))))
		abort();
	return 0;
}

/* sources: tui/provider_said.c engine/base/json.c engine/base/json_text.c
 * engine/base/buf.c engine/base/text.c engine/base/err.c */
