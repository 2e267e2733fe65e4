/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_limits.c - the limits that core sets for a VM before it starts
 *
 * Runs in: kenaz-launch.
 * Trusts:  core.
 * Never:   gives up the lock of its user's number while QEMU may run.
 */
#include <unistd.h>

#include "engine/base/log.h"
#include "vm/launch_state.h"

/** launch_on_limits() - Core says what the VM that follows may have */
enum err launch_on_limits(struct launch *l, struct chan_message *m)
{
	struct msg_launch_limits limits;
	struct launch_limits *to = &l->limits;
	enum err e = msg_launch_limits_get(m->payload, &limits);
	size_t wanted, at = 0;

	if (e != ERR_OK)
		return e;
	wanted = (limits.uid ? 1u : 0u) + (limits.has_cgroup ? 1u : 0u);
	if (l->state != L_NEW || to->given || m->n_fds != wanted)
		return ERR_STATE;
	to->given = true;
	to->uid = limits.uid;
	if (limits.uid)
		to->uid_lock_fd = launch_take_fd(m, at++);
	if (limits.has_cgroup)
		to->cgroup_fd = launch_take_fd(m, at);
	to->console_max_bytes = limits.console_max_bytes;
	return ERR_OK;
}

/** launch_limits_spawned() - QEMU was started, in its cgroup */
void launch_limits_spawned(struct launch *l)
{
	machine_console(l->machine)->max_bytes = l->limits.console_max_bytes;
	if (l->limits.cgroup_fd > 0)
		close(l->limits.cgroup_fd);
	l->limits.cgroup_fd = 0;
	l->config.cgroup_fd = 0;
}

/** launch_limits_console() - The guest wrote: was that the last of it? */
void launch_limits_console(struct launch *l)
{
	const struct console *c = machine_console(l->machine);
	struct msg_vm_limit m = {.limit = span_text("console_bytes"),
				 .value = console_limit(c)};

	if (!c->cut || l->limits.console_told)
		return;
	l->limits.console_told = true;
	if (chan_send_vm_limit(l->core, &m, NULL, 0) != ERR_OK)
		log_debug("core was not told of a limit");
}
