/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_user.h - the back-end side of vhost-user for one vsock device */
#ifndef KENAZ_VM_VHOST_USER_H
#define KENAZ_VM_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "vm/guest_map.h"
#include "vm/virtqueue.h"

#define VHOST_USER_QUEUES   2u
#define VHOST_USER_TURN_MAX 32u /* messages */

struct vhost_user;

struct vhost_user_events {
	/* A ring runs from now on. Descriptors stay the server's. */
	enum err (*started)(void *arg, unsigned index, struct virtqueue *q,
			    int kick_fd, int call_fd);
	/* A ring is about to stop; the queue is still usable in this call. */
	void (*stopped)(void *arg, unsigned index);
	/* The interrupt descriptor of a running ring changed. */
	void (*call_changed)(void *arg, unsigned index, int call_fd);
	/* Both rings began anew at 0: the guest's driver was reset. */
	void (*guest_reset)(void *arg);
	/* Both rings are enabled: the guest's driver is up. */
	void (*driver_ok)(void *arg);
};

MUST_CHECK enum err vhost_user_new(int fd, int memory_fd, uint8_t *memory,
				   uint64_t memory_bytes, uint64_t guest_cid,
				   const struct vhost_user_events *events,
				   void *arg, struct vhost_user **ret_server);
void vhost_user_free(struct vhost_user *u);
MUST_CHECK enum err vhost_user_turn(struct vhost_user *u);
const char *vhost_user_fault(const struct vhost_user *u);

#endif
