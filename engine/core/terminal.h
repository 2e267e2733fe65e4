/* SPDX-License-Identifier: Apache-2.0 */
/* terminal.h - clients joined to programs in a guest */
#ifndef KENAZ_CORE_TERMINAL_H
#define KENAZ_CORE_TERMINAL_H

#include "engine/core/session.h"

struct conn;

/* Called once: the terminal may be joined, or why not. */
typedef void (*terminal_ready_fn)(void *context, enum err error,
				  const char *text, struct terminal *t);

MUST_CHECK enum err terminal_new(struct session *s, const char *actor,
				 const char *line, const char *what,
				 bool read_only, terminal_ready_fn ready,
				 void *context, struct terminal **ret_terminal);
uint64_t terminal_id(const struct terminal *t);
MUST_CHECK enum err terminal_join(struct terminal *t, int client_fd);
void terminal_forget(struct terminal *t);
MUST_CHECK enum err terminal_on_closed(struct session *s, struct span payload);
struct record_terminal;
size_t terminals_record(const struct session *s, struct record_terminal *out);
uint64_t terminals_sum(const struct session *s);
void terminals_restore(struct session *s, const struct record_terminal *from,
		       size_t count);
void terminals_keep_only(struct session *s, const uint64_t *ids, size_t count);
void terminals_drop(struct session *s);
void terminals_end(struct session *s, const char *reason);

#endif
