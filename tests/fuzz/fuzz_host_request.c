/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_host_request.c - lines that open streams from the host */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "guest/host_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct host_request r;
	const char *reason = NULL;

	if (host_request_parse(span_of(data, size), &r, &reason) == ERR_OK) {
		assert(r.argc <= HOST_REQUEST_MAX_ARGS && !r.argv[r.argc]);
		assert(r.env.count <= ENVIRONMENT_MAX_VARS);
		assert(r.rows && r.columns);
		assert(r.cwd[0] == '\0' || r.cwd[0] == '/');
		host_request_fini(&r);
	} else {
		assert(reason);
	}
	return 0;
}
/* sources: engine/base/buf.c engine/base/text.c engine/base/json.c
 * engine/base/json_text.c guest/environment.c guest/host_request.c */
