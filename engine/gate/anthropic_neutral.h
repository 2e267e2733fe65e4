/* SPDX-License-Identifier: Apache-2.0 */
/* anthropic_neutral.h - Anthropic's dialect, to and from the neutral form */
#ifndef KENAZ_GATE_ANTHROPIC_NEUTRAL_H
#define KENAZ_GATE_ANTHROPIC_NEUTRAL_H

#include "engine/base/buf.h"
#include "engine/gate/dialect.h"
#include "engine/gate/neutral.h"

MUST_CHECK enum err anthropic_read_request(enum route route, struct span body,
					   struct neutral_request *r);
MUST_CHECK enum err anthropic_write_request(struct neutral_request *r,
					    const struct dialect_target *t,
					    struct buf *out);
MUST_CHECK enum err anthropic_rewrite(struct span body,
				      const struct dialect_target *t,
				      struct buf *out);

struct neutral_reader *anthropic_reader_new(bool streamed, neutral_emit *emit,
					    void *context);
struct neutral_writer *anthropic_writer_new(const struct neutral_answer *a);

enum neutral_error anthropic_read_http_error(unsigned http_status,
					     struct span body,
					     struct buf *message);
enum neutral_error anthropic_error_of(struct span type);
const char *anthropic_error_name(enum neutral_error error,
				 unsigned *ret_http_status);
enum neutral_stop anthropic_stop_of(struct span reason);
const char *anthropic_stop_name(enum neutral_stop stop);

#endif
