/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_credit.c - buffer space accounting of a stream (virtio 1.2, 5.10.6.3)
 *
 * Runs in: kenaz-launch.
 * Trusts:  its own counters; every figure of the guest is checked.
 * Never:   lets an unsigned difference wrap into a huge credit.
 *
 * All counters are free running and wrap at 2^32, as on the wire.
 */
#include "vm/vsock_stream.h"

/**
 * credit_update_peer() - Take over what the guest says about its buffer
 * @c:			Counters
 * @alloc_bytes:	Its buffer; any value, it may shrink
 * @fwd_bytes:		Bytes it has consumed since the stream began
 *
 * Return: ERR_OK; ERR_RANGE when it claims more than was ever sent or less
 *	   than it claimed before.
 */
enum err credit_update_peer(struct vsock_credit *c, uint32_t alloc_bytes,
			    uint32_t fwd_bytes)
{
	uint32_t flying_before = c->tx_bytes - c->peer_fwd_bytes;
	uint32_t flying_now = c->tx_bytes - fwd_bytes;

	if (flying_now > flying_before)
		return ERR_RANGE;
	c->peer_alloc_bytes = alloc_bytes;
	c->peer_fwd_bytes = fwd_bytes;
	return ERR_OK;
}

/** credit_left() - How many bytes may be sent to the guest now */
uint32_t credit_left(const struct vsock_credit *c)
{
	uint32_t flying = c->tx_bytes - c->peer_fwd_bytes;

	return flying < c->peer_alloc_bytes ? c->peer_alloc_bytes - flying : 0;
}

/**
 * credit_receive() - Count bytes from the guest
 * @c:		Counters
 * @len_bytes:	Untrusted
 *
 * Return: ERR_OK; ERR_LIMIT when the guest ignored the space it was told.
 */
enum err credit_receive(struct vsock_credit *c, uint32_t len_bytes)
{
	uint32_t held = c->rx_bytes - c->fwd_bytes;

	if (len_bytes > c->alloc_bytes - held)
		return ERR_LIMIT;
	c->rx_bytes += len_bytes;
	return ERR_OK;
}

/**
 * credit_update_due() - Whether the guest should hear of freed space
 * @c:	Counters
 *
 * A sender may use no more of our buffer than it has itself (Linux does, so
 * that a peer cannot make it queue without end): its window is the smaller of
 * both, and it is that window which must not run dry unnoticed.
 */
bool credit_update_due(const struct vsock_credit *c)
{
	uint32_t window = c->alloc_bytes < c->peer_alloc_bytes
				  ? c->alloc_bytes
				  : c->peer_alloc_bytes;
	uint32_t freed = c->fwd_bytes - c->fwd_told_bytes;

	return freed > 0 && freed >= window / 4;
}
