/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_packet.c - the header of a virtio-vsock packet (virtio 1.2, 5.10.6)
 *
 * Runs in: kenaz-launch.
 * Trusts:  iovec bounds that the virtqueue has checked; no field of a packet.
 * Never:   reads a header out of guest memory twice.
 */
#include "vm/vsock_packet.h"

#include <endian.h>
#include <string.h>

static uint64_t get_le(const uint8_t *at, size_t len_bytes)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len_bytes; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static void put_le(uint8_t *at, uint64_t v, size_t len_bytes)
{
	size_t i;

	for (i = 0; i < len_bytes; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

/**
 * vsock_header_encode() - Write a header as it travels
 * @h:		Values
 * @ret_raw:	The bytes
 */
void vsock_header_encode(const struct vsock_header *h,
			 uint8_t ret_raw[static VSOCK_HEADER_BYTES])
{
	put_le(ret_raw, h->src_cid, 8);
	put_le(ret_raw + 8, h->dst_cid, 8);
	put_le(ret_raw + 16, h->src_port, 4);
	put_le(ret_raw + 20, h->dst_port, 4);
	put_le(ret_raw + 24, h->len_bytes, 4);
	put_le(ret_raw + 28, h->type, 2);
	put_le(ret_raw + 30, h->op, 2);
	put_le(ret_raw + 32, h->flags, 4);
	put_le(ret_raw + 36, h->buf_alloc_bytes, 4);
	put_le(ret_raw + 40, h->fwd_cnt_bytes, 4);
}

/**
 * vsock_header_decode() - Read a header from a private copy of its bytes
 * @raw:	The bytes
 * @ret_header:	Values, unchecked
 */
void vsock_header_decode(const uint8_t raw[static VSOCK_HEADER_BYTES],
			 struct vsock_header *ret_header)
{
	*ret_header = (struct vsock_header){
		.src_cid = get_le(raw, 8),
		.dst_cid = get_le(raw + 8, 8),
		.src_port = (uint32_t)get_le(raw + 16, 4),
		.dst_port = (uint32_t)get_le(raw + 20, 4),
		.len_bytes = (uint32_t)get_le(raw + 24, 4),
		.type = (uint16_t)get_le(raw + 28, 2),
		.op = (uint16_t)get_le(raw + 30, 2),
		.flags = (uint32_t)get_le(raw + 32, 4),
		.buf_alloc_bytes = (uint32_t)get_le(raw + 36, 4),
		.fwd_cnt_bytes = (uint32_t)get_le(raw + 40, 4),
	};
}

/** vsock_op_name() - Name of an operation for traces; any value is accepted */
const char *vsock_op_name(uint16_t op)
{
	static const char *const names[] = {
		"INVALID",  "REQUEST", "RESPONSE",      "RST",
		"SHUTDOWN", "RW",      "CREDIT_UPDATE", "CREDIT_REQUEST",
	};

	return op < ARRAY_SIZE(names) ? names[op] : "UNKNOWN";
}

/**
 * iov_copy_out() - Copy bytes from the front of a scatter list
 * @iov:	Segments
 * @count:	How many
 * @ret_data:	Where to
 * @len_bytes:	How many bytes
 *
 * Return: bytes copied; fewer than @len_bytes when the list is shorter.
 */
size_t iov_copy_out(const struct iovec *iov, size_t count, void *ret_data,
		    size_t len_bytes)
{
	size_t done = 0, i;

	for (i = 0; i < count && done < len_bytes; i++) {
		size_t n = iov[i].iov_len;

		if (n > len_bytes - done)
			n = len_bytes - done;
		memcpy((uint8_t *)ret_data + done, iov[i].iov_base, n);
		done += n;
	}
	/* Guest memory: what was copied is all that is ever looked at. */
	__asm__ volatile("" ::: "memory");
	return done;
}

/**
 * iov_copy_in() - Copy bytes to the front of a scatter list
 *
 * Return: bytes copied, as iov_copy_out().
 */
size_t iov_copy_in(const struct iovec *iov, size_t count, const void *data,
		   size_t len_bytes)
{
	size_t done = 0, i;

	for (i = 0; i < count && done < len_bytes; i++) {
		size_t n = iov[i].iov_len;

		if (n > len_bytes - done)
			n = len_bytes - done;
		memcpy(iov[i].iov_base, (const uint8_t *)data + done, n);
		done += n;
	}
	return done;
}

/**
 * iov_slice() - Describe a part of a scatter list
 * @iov:	Segments
 * @count:	How many
 * @skip_bytes:	Where the part begins
 * @take_bytes:	Its length at most
 * @ret_iov:	Segments of the part
 * @max_count:	Room in @ret_iov
 *
 * Return: number of segments written.
 */
size_t iov_slice(const struct iovec *iov, size_t count, size_t skip_bytes,
		 size_t take_bytes, struct iovec *ret_iov, size_t max_count)
{
	size_t out = 0, i;

	for (i = 0; i < count && take_bytes && out < max_count; i++) {
		uint8_t *base = iov[i].iov_base;
		size_t n = iov[i].iov_len;

		if (skip_bytes >= n) {
			skip_bytes -= n;
			continue;
		}
		base += skip_bytes;
		n -= skip_bytes;
		skip_bytes = 0;
		if (n > take_bytes)
			n = take_bytes;
		ret_iov[out++] = (struct iovec){.iov_base = base, .iov_len = n};
		take_bytes -= n;
	}
	return out;
}
