/* SPDX-License-Identifier: Apache-2.0 */
/* tools.h - what the model may do inside the VM */
#ifndef KENAZ_WORKBENCH_TOOLS_H
#define KENAZ_WORKBENCH_TOOLS_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"

#define TOOL_OUTPUT_MAX_BYTES  30000u
#define TOOL_READ_MAX_BYTES    50000u
#define TOOL_READ_MAX_LINES    2000u
#define TOOL_FILE_MAX_BYTES    (16u * 1024 * 1024)
#define TOOL_TIMEOUT_DEFAULT_S 120u
#define TOOL_TIMEOUT_MAX_S     600u
#define TOOL_RESULT_MAX_BYTES  (256u * 1024) /* after escaping */
#define TOOL_STATUS_MAX_BYTES  96
#define TOOL_ID_MAX_BYTES      256

struct tool_result {
	char id[TOOL_ID_MAX_BYTES];
	struct buf output; /* text for the model and the user */
	char status[TOOL_STATUS_MAX_BYTES]; /* for the card */
	uint64_t duration_ms;
	bool is_error;
};

struct tool_call {
	struct span input; /* JSON object, or empty */
	bool (*is_cancelled)(void);
};

extern const char tools_definitions[]; /* JSON array */

void tools_run(struct span name, const struct tool_call *call,
	       struct tool_result *result);
void tool_result_init(struct tool_result *result);
void tool_result_fini(struct tool_result *result);
void tool_fail(struct tool_result *result, const char *text)
	__attribute__((nonnull));
void tool_put_output(struct tool_result *result, struct span head,
		     struct span tail, uint64_t omitted_bytes);

/* One function a tool; @j is the input, an object. */
void tool_bash(const struct json *j, const struct tool_call *call,
	       struct tool_result *result);
void tool_read(const struct json *j, const struct tool_call *call,
	       struct tool_result *result);
void tool_write(const struct json *j, const struct tool_call *call,
		struct tool_result *result);

/* The last bytes of output that is too long, and its first ones. */
struct tool_capture {
	uint8_t head[TOOL_OUTPUT_MAX_BYTES / 2];
	uint8_t tail[TOOL_OUTPUT_MAX_BYTES / 2];
	size_t head_bytes;
	uint64_t tail_total_bytes; /* ever written to the ring */
};

void tool_capture_add(struct tool_capture *c, struct span data);
void tool_capture_put(const struct tool_capture *c, struct tool_result *result);

#endif
