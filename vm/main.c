/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-launch: one process for each virtual machine
 *
 * Runs in: kenaz-launch, started by core's spawner.
 * Trusts:  core, at the other end of descriptor 3.
 * Never:   has a network or a key; outlives core or leaves a VM behind.
 */
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/proto/child.h"
#include "vm/launch.h"

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	(void)c;
	return launch_on_message(context, m);
}

/* Core is gone: so is everything of ours, at once. */
static void on_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	launch_kill(context);
	_exit(reason == ERR_CLOSED ? 0 : 1);
}

static const struct chan_handler handler = {on_message, on_closed};

int main(int argc, char **argv)
{
	struct launch *launch;
	struct chan *core = NULL;
	uv_loop_t loop;
	enum err e;

	log_init("kenaz-launch");
	if (uv_loop_init(&loop) != 0 || launch_new(&loop, &launch) != ERR_OK)
		die("out of memory");
	e = child_begin(argc, argv, ROLE_LAUNCH, &loop, &handler, launch,
			&core);
	if (e == ERR_FORMAT)
		die("usage: kenaz-launch [-v|-vv] [--trace TOPICS]");
	if (e != ERR_OK)
		die("this program is started by kenazd: %s", err_text(e));
	launch_set_core(launch, core);
	e = digest_init();
	if (e == ERR_OK)
		e = jail_enter(JAIL_LAUNCH);
	if (e != ERR_OK)
		child_fatal(core, e, "kenaz-launch cannot drop its rights: %s",
			    err_text(e));
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	launch_kill(launch);
	return 0;
}
