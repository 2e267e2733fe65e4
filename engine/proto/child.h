/* SPDX-License-Identifier: Apache-2.0 */
/* child.h - how every child of core begins and ends */
#ifndef KENAZ_PROTO_CHILD_H
#define KENAZ_PROTO_CHILD_H

#include "engine/base/version.h"
#include "engine/proto/chan.h"

MUST_CHECK enum err child_begin(int argc, char **argv, enum role role,
				uv_loop_t *loop,
				const struct chan_handler *handler,
				void *context, struct chan **ret_core);
void child_fatal(struct chan *core, enum err error, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#endif
