/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame_rule.c - which terminal frames may come from which side
 *
 * Runs in: kenaz-gate.
 * Trusts:  frame_get() for type, size and reserved bits.
 * Never:   lets a guest send what only a client may, or the reverse.
 */
#include "engine/gate/frame_rule.h"

static const struct {
	bool from_guest, from_client;
	uint8_t stream_min, stream_max; /* from the guest */
} rules[] = {
	[FRAME_DATA] = {true, true, 1, 2},
	[FRAME_EOF] = {true, true, 1, 2},
	[FRAME_RESIZE] = {false, true, 0, 0},
	[FRAME_SIGNAL] = {false, true, 0, 0},
	[FRAME_EXIT] = {true, false, 0, 0},
	[FRAME_ERROR] = {true, false, 0, 0},
};

/**
 * frame_is_legal() - Whether a frame may come from this side
 * @f:		Frame that frame_get() accepted
 * @from_guest:	Side it came from
 */
bool frame_is_legal(const struct frame *f, bool from_guest)
{
	size_t i = (size_t)f->type;
	int32_t code;
	uint8_t signalled;

	if (i >= ARRAY_SIZE(rules))
		return false;
	if (!from_guest)
		return rules[i].from_client && f->stream == 0;
	if (f->type == FRAME_EXIT &&
	    (frame_get_exit(f, &code, &signalled) != ERR_OK || signalled > 1))
		return false;
	return rules[i].from_guest && f->stream >= rules[i].stream_min &&
	       f->stream <= rules[i].stream_max;
}
