/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_packet.h - the header of a virtio-vsock packet (virtio 1.2, 5.10.6) */
#ifndef KENAZ_VM_VSOCK_PACKET_H
#define KENAZ_VM_VSOCK_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/err.h"

#define VSOCK_HEADER_BYTES 44u
#define VSOCK_HOST_CID     2u
#define VSOCK_TYPE_STREAM  1u

enum vsock_op {
	VSOCK_OP_INVALID = 0,
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

#define VSOCK_SHUTDOWN_RECEIVE 1u
#define VSOCK_SHUTDOWN_SEND    2u
#define VSOCK_SHUTDOWN_BOTH    3u

struct vsock_header {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len_bytes;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc_bytes;
	uint32_t fwd_cnt_bytes;
};

void vsock_header_encode(const struct vsock_header *h,
			 uint8_t ret_raw[static VSOCK_HEADER_BYTES]);
void vsock_header_decode(const uint8_t raw[static VSOCK_HEADER_BYTES],
			 struct vsock_header *ret_header);
const char *vsock_op_name(uint16_t op);

size_t iov_copy_out(const struct iovec *iov, size_t count, void *ret_data,
		    size_t len_bytes);
size_t iov_copy_in(const struct iovec *iov, size_t count, const void *data,
		   size_t len_bytes);
size_t iov_slice(const struct iovec *iov, size_t count, size_t skip_bytes,
		 size_t take_bytes, struct iovec *ret_iov, size_t max_count);

#endif
