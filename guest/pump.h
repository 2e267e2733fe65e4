/* SPDX-License-Identifier: Apache-2.0 */
/* pump.h - carry bytes both ways between two streams, half-close included */
#ifndef KENAZ_GUEST_PUMP_H
#define KENAZ_GUEST_PUMP_H

#include "engine/base/buf.h"

#define PUMP_BUFFER_MAX_BYTES (64u * 1024)

MUST_CHECK enum err pump_start(int a_fd, int b_fd, struct span first_to_b,
			       struct span first_to_a);
MUST_CHECK enum err pump_start_connecting(int a_fd, int b_fd,
					  const char *failure);
size_t pump_count(void);

#endif
