/* SPDX-License-Identifier: Apache-2.0 */
/* vhost_kernel.h - the kernel's vhost-vsock as a backend */
#ifndef KENAZ_VM_VHOST_KERNEL_H
#define KENAZ_VM_VHOST_KERNEL_H

#include "engine/base/buf.h"
#include "vm/vsock_backend.h"

#define VHOST_KERNEL_DEVICE         "/dev/vhost-vsock"
#define VHOST_KERNEL_LISTENERS      2u
#define VHOST_KERNEL_CONNECTS_MAX   32u /* towards the guest, unanswered */
#define VHOST_KERNEL_CONNECT_MAX_NS (5ull * 1000000000ull)
#define VHOST_KERNEL_TRIES_MAX      32u /* for a free CID or port */
#define VHOST_KERNEL_ACCEPTS_MAX    32u /* of one listener in a turn */
#define VHOST_KERNEL_BACKLOG        64
#define VHOST_KERNEL_CID_FIRST      (1u << 16)
#define VHOST_KERNEL_CID_LAST       ((1u << 31) - 1)
#define VHOST_KERNEL_PORT_FIRST     (1u << 16)
#define VHOST_KERNEL_PORT_LAST      ((1u << 31) - 1)

struct vhost_kernel;

uint32_t vhost_kernel_pick(uint32_t first, uint32_t last, uint32_t random);
MUST_CHECK enum err vhost_kernel_open(struct vhost_kernel **ret_kernel,
				      struct buf *reason);
void vhost_kernel_start(struct vhost_kernel *k,
			const struct vsock_events *events, void *arg);
struct vsock_backend *vhost_kernel_backend(struct vhost_kernel *k);
uint32_t vhost_kernel_cid(const struct vhost_kernel *k);
int vhost_kernel_take_device(struct vhost_kernel *k);
MUST_CHECK enum err vhost_kernel_boot_file(const struct vhost_kernel *k,
					   int *ret_fd);

#endif
