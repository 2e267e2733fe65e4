/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_keep.c - a virtual machine that outlives core for a while
 *
 * Runs in: kenaz-launch of a service engine.
 * Trusts:  core, and the one that adopts it (engine/proto/keep.h).
 * Never:   lets QEMU live on when nobody comes.
 *
 * The guest runs on meanwhile. Its streams to the gate are passed on, and the
 * gate refuses what they ask; those for egress end here with a reason.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "vm/launch_state.h"

static const char egress_failed[] = "failed the engine is being restarted\n";

static void on_adopted(void *context, struct chan *core, uint64_t away_ns)
{
	struct launch *l = context;
	struct msg_launch_view m = {
		.away_ns = away_ns,
		.running = l->state == L_RUNNING ? 1 : 0,
		.qemu_pid = (uint32_t)l->qemu_pid,
	};

	chan_free(l->core);
	l->core = core;
	log_info("another engine took this session over");
	if (chan_send_launch_view(core, &m, NULL, 0) != ERR_OK)
		log_error("the new core was not told what is here");
}

static void on_given_up(void *context, const char *why)
{
	log_info("ending: %s", why);
	launch_kill(context);
	_exit(0);
}

static const struct keep_handler handler = {on_adopted, on_given_up};

/**
 * launch_set_keep() - Be ready to outlive core, when it says so
 * @l:			Launcher
 * @core_handler:	Of the channel to core; its context is @l
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err launch_set_keep(struct launch *l,
			 const struct chan_handler *core_handler)
{
	return keep_new(l->loop, ROLE_LAUNCH, core_handler, &handler, l,
			&l->keep);
}

/** launch_keep() - What decides whether the end of core is the end */
struct keep *launch_keep(struct launch *l)
{
	return l->keep;
}

/**
 * launch_refuse_egress() - Say why a stream to the egress port ends
 * @l:	Launcher
 * @fd:	Stream, owned; -1 is written when it was refused and closed
 */
void launch_refuse_egress(struct launch *l, int *fd)
{
	if (!keep_is_away(l->keep))
		return;
	/* The guest sees the end of the stream in any case. */
	(void)send(*fd, egress_failed, sizeof(egress_failed) - 1,
		   MSG_NOSIGNAL | MSG_DONTWAIT);
	close(*fd);
	*fd = -1;
}
