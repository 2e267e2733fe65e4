/* SPDX-License-Identifier: Apache-2.0 */
/* guest_line.h - JSON lines to and from the guest, as pure functions */
#ifndef KENAZ_GATE_GUEST_LINE_H
#define KENAZ_GATE_GUEST_LINE_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/proto/msg.h"

#define GUEST_ANSWER_MAX_BYTES 4096u /* receipt, event, announcement */
#define GUEST_HELLO_MAX_BYTES  16384u
#define GUEST_NONCE_BYTES      32u
#define GUEST_ENTROPY_BYTES    64u

/* What a guest says of itself; guest-claimed. */
struct guest_facts {
	char guestd[65];
	char kernel[129];
	uint64_t uptime_ns;
};

struct guest_event {
	char event[33];
	char name[NAME_MAX_BYTES + 1];
	int32_t code;
	bool signalled;
};

MUST_CHECK enum err guest_line_hello(struct buf *out,
				     const struct msg_guest_hello_begin *m,
				     uint64_t wall_us);
MUST_CHECK enum err guest_line_check(struct span line, struct span nonce,
				     const uint8_t receipt[DIGEST_BYTES],
				     struct guest_facts *ret_facts,
				     const char **ret_why);
MUST_CHECK enum err guest_line_event(struct span line,
				     struct guest_event *ret_event);
MUST_CHECK enum err guest_line_announce(struct span body,
					struct guest_facts *ret_facts);

#endif
