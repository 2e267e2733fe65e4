/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover.c - an engine that leaves its sessions to its successor
 *
 * Runs in: kenazd.
 * Trusts:  the administrator who asked for it.
 * Never:   leaves an intent without an outcome, or a session that the
 *	    successor could not adopt.
 *
 * Requests under way are cancelled and their outcomes written, tunnels are
 * closed, sessions that are not ready end. Then the log is closed and core
 * exits; launch and gate see their channels close without a dismissal.
 */
#include "engine/core/handover.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/core/infer.h"
#include "engine/core/keeping.h"
#include "engine/core/terminal.h"
#include "engine/core/tunnel.h"
#include "engine/core/vsock_door.h"

static bool stays(const struct session *s)
{
	return s->kept && s->state == SESSION_READY;
}

/**
 * handover_begin() - Stop, but leave the sessions that can be left
 * @e:		Engine
 * @why:	For the log on stderr
 *
 * Return: ERR_OK; ERR_STATE when this engine keeps no sessions or is stopping.
 */
enum err handover_begin(struct engine *e, const char *why)
{
	static const char reason[] = "the engine is being restarted";
	struct session *s, *after;

	if (!e->survive || e->stopping)
		return ERR_STATE;
	e->leaving = true;
	for (s = LIST_FIRST(&e->sessions); s; s = after) {
		after = LIST_NEXT(s, next);
		if (session_has_ended(s))
			continue;
		if (!stays(s)) {
			session_end(s, ERR_CANCELLED, reason);
			continue;
		}
		infers_end(s, reason);
		tunnels_end(s);
		vsock_door_end(s, reason);
		child_end(s->egress);
		s->egress = NULL;
	}
	engine_stop(e, why);
	return ERR_OK;
}

/** handover_is_due() - Whether all that had to be written is written */
bool handover_is_due(const struct engine *e)
{
	const struct session *s;

	LIST_FOREACH(s, &e->sessions, next)
	if (!session_has_ended(s) && (!stays(s) || s->n_infers))
		return false;
	return true;
}

/** handover_leave() - Let go of a session's processes; they go on */
void handover_leave(struct session *s)
{
	keeping_write(s);
	infers_end(s, "the engine is being restarted");
	terminals_drop(s);
	child_end(s->launch);
	child_end(s->gate);
	child_end(s->egress);
	s->launch = s->gate = s->egress = NULL;
}
