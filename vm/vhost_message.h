/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_message.h - one vhost-user message with its descriptors, as it comes */
#ifndef KENAZ_VM_VHOST_MESSAGE_H
#define KENAZ_VM_VHOST_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define VHOST_USER_FDS_MAX      8u
#define VHOST_USER_HEADER_BYTES 12u
#define VHOST_USER_BODY_MAX     272u /* bytes: above a full memory table */

/* Plain data; zeroed is an empty message. */
struct vhost_message {
	uint32_t request; /* these three are set from the header by its user */
	uint32_t flags;
	uint32_t size_bytes;
	uint8_t raw[VHOST_USER_HEADER_BYTES + VHOST_USER_BODY_MAX];
	size_t have_bytes;
	int fds[VHOST_USER_FDS_MAX]; /* owned */
	size_t fd_count;
};

MUST_CHECK enum err vhost_message_fill(struct vhost_message *m, int fd,
				       size_t want_bytes);
void vhost_message_drop(struct vhost_message *m);

#endif
