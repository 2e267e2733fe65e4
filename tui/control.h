/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the client's side of the control protocol (docs/control.md) */
#ifndef KENAZ_TUI_CONTROL_H
#define KENAZ_TUI_CONTROL_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "tui/exit_code.h"

#define CONTROL_LINE_MAX_BYTES (1u << 20)
#define CONTROL_TEXT_MAX_BYTES 1200u

struct control;

/* Why a call failed, ready to be shown (it still has to be escaped). */
struct control_error {
	enum exit_code code;
	char text[CONTROL_TEXT_MAX_BYTES];
};

typedef void (*control_notify_fn)(void *user, const char *method,
				  const cJSON *params);

MUST_CHECK enum err control_new(int fd, struct control **ret_control);
void control_free(struct control *c);
int control_fd(const struct control *c);
void control_on_notify(struct control *c, control_notify_fn fn, void *user);
MUST_CHECK enum err control_send(struct control *c, const char *method,
				 cJSON *params, uint64_t *ret_id);
MUST_CHECK enum err control_read(struct control *c, int timeout_ms,
				 cJSON **ret_message);
MUST_CHECK enum err control_result(const cJSON *message, uint64_t id,
				   cJSON **ret_result,
				   struct control_error *ret_error);
MUST_CHECK enum err control_wait(struct control *c, uint64_t id, int timeout_ms,
				 cJSON **ret_result,
				 struct control_error *ret_error);
MUST_CHECK enum err control_call(struct control *c, const char *method,
				 cJSON *params, int timeout_ms,
				 cJSON **ret_result,
				 struct control_error *ret_error);
int control_take(struct control *c, struct buf *ret_rest);

#endif
