/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_connect_request.c - what a program may send to the guest's proxy */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "guest/connect_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct connect_request r = {0};
	const char *reason = NULL;
	struct buf forward;
	size_t head = connect_request_head_length(span_of(data, size));

	buf_init(&forward, CONNECT_REQUEST_MAX_BYTES + 1024);
	if (connect_request_parse(span_of(data, head ? head : size), &r,
				  &forward, &reason) == ERR_OK) {
		size_t len = strlen(r.host), i;

		assert(head && len > 0 && len <= CONNECT_HOST_MAX_BYTES);
		assert(r.port > 0);
		for (i = 0; i < len; i++)
			assert(r.host[i] > ' ' && r.host[i] < 0x7f);
		assert(r.is_tunnel == (forward.len_bytes == 0));
		if (forward.len_bytes)
			assert(connect_request_head_length(buf_span(
				       &forward)) == forward.len_bytes);
	} else {
		assert(reason);
	}
	buf_fini(&forward);
	return 0;
}
/* sources: engine/base/buf.c engine/base/text.c guest/connect_request.c */
