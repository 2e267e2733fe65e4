/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pump.c - carry bytes both ways between two connected stream sockets
 *
 * Runs in: kenaz-egress.
 * Trusts:  nothing; looks at no byte.
 * Never:   blocks, holds more than PUMP_BUFFER_BYTES a direction.
 *
 * A side that ends its direction keeps the other one: the end is passed on
 * once all before it is.
 */
#include "engine/egress/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/**
 * pump_new() - Join two sockets
 * @guest_fd:	Non-blocking or not, borrowed
 * @remote_fd:	The same
 * @first:	Bytes of the guest that were read already, borrowed
 * @ret_pump:	Owned by the caller
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err pump_new(int guest_fd, int remote_fd, struct span first,
		  struct pump **ret_pump)
{
	struct pump *p;

	if (first.len_bytes > PUMP_BUFFER_BYTES)
		return ERR_LIMIT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return ERR_MEMORY;
	p->guest_fd = guest_fd;
	p->remote_fd = remote_fd;
	if (first.len_bytes)
		memcpy(p->up.data, first.data, first.len_bytes);
	p->up.len_bytes = first.len_bytes;
	*ret_pump = p;
	return ERR_OK;
}

/** pump_free() - Release; NULL is accepted; sockets stay open */
void pump_free(struct pump *p)
{
	free(p);
}

static enum err read_some(struct pump_half *h, int from, bool *ret_more)
{
	ssize_t n;

	*ret_more = false;
	if (h->ended || h->len_bytes)
		return ERR_OK;
	h->start = 0;
	n = recv(from, h->data, sizeof(h->data), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? ERR_OK : ERR_CLOSED;
	if (n == 0)
		h->ended = true;
	h->len_bytes = (size_t)n;
	*ret_more = true;
	return ERR_OK;
}

static enum err write_some(struct pump_half *h, int to)
{
	ssize_t n;

	while (h->len_bytes) {
		n = send(to, h->data + h->start, h->len_bytes,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == ENOBUFS ? ERR_OK
								   : ERR_CLOSED;
		h->start += (size_t)n;
		h->len_bytes -= (size_t)n;
		h->carried_bytes += (uint64_t)n;
	}
	if (h->ended && !h->shut) {
		h->shut = true;
		/* A side that is gone already needs no end. */
		if (shutdown(to, SHUT_WR) < 0 && errno != ENOTCONN)
			return ERR_CLOSED;
	}
	return ERR_OK;
}

static enum err run_half(struct pump_half *h, int from, int to, bool *moved)
{
	uint64_t limit = h->carried_bytes + PUMP_TURN_BYTES;
	bool more = true;
	enum err e = write_some(h, to);

	while (e == ERR_OK && more && h->carried_bytes < limit) {
		e = read_some(h, from, &more);
		if (e == ERR_OK && more) {
			*moved = true;
			e = write_some(h, to);
		}
	}
	return e;
}

/**
 * pump_run() - Carry what can be carried now, within a budget
 * @p:		Pump
 * @ret_moved:	Whether anything moved; always written
 *
 * Return: ERR_OK; ERR_CLOSED when a side broke.
 */
enum err pump_run(struct pump *p, bool *ret_moved)
{
	uint64_t before = p->up.carried_bytes + p->down.carried_bytes;
	enum err e;

	*ret_moved = false;
	e = run_half(&p->up, p->guest_fd, p->remote_fd, ret_moved);
	if (e == ERR_OK)
		e = run_half(&p->down, p->remote_fd, p->guest_fd, ret_moved);
	if (p->up.carried_bytes + p->down.carried_bytes != before)
		*ret_moved = true;
	return e;
}

/** pump_wants() - What to wait for: a set of enum pump_wants */
unsigned pump_wants(const struct pump *p)
{
	unsigned wants = 0;

	if (p->up.len_bytes)
		wants |= PUMP_WRITES_REMOTE;
	else if (!p->up.ended)
		wants |= PUMP_READS_GUEST;
	if (p->down.len_bytes)
		wants |= PUMP_WRITES_GUEST;
	else if (!p->down.ended)
		wants |= PUMP_READS_REMOTE;
	return wants;
}

/** pump_finished() - Whether both directions ended */
bool pump_finished(const struct pump *p)
{
	return p->up.shut && p->down.shut;
}
