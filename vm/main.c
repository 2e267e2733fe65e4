/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-launch: one process for each virtual machine
 *
 * Runs in: kenaz-launch, started by core's spawner.
 * Trusts:  core, at the other end of descriptor 3.
 * Never:   has a network or a key; outlives core or leaves a VM behind.
 */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/proto/child.h"
#include "vm/confine.h"
#include "vm/launch.h"
#include "vm/no_vsock.h"

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	if (keep_takes(m->type))
		return keep_on_message(launch_keep(context), c, m);
	return launch_on_message(context, m);
}

/* Core is gone: so is everything of ours, unless another one may come. */
static void on_closed(struct chan *c, void *context, enum err reason)
{
	if (keep_lost_core(launch_keep(context), c, reason))
		return;
	launch_kill(context);
	_exit(reason == ERR_CLOSED ? 0 : 1);
}

static const struct chan_handler handler = {on_message, on_closed};

/* Takes "--kernel-vsock" out of the arguments. */
static bool take_kernel_vsock(int *argc, char **argv)
{
	bool found = false;
	int i, kept = 1;

	for (i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--kernel-vsock") == 0)
			found = true;
		else
			argv[kept++] = argv[i];
	}
	*argc = kept;
	return found;
}

int main(int argc, char **argv)
{
	struct launch *launch;
	struct chan *core = NULL;
	uv_loop_t loop;
	bool kernel_vsock;
	enum err e;

	log_init("kenaz-launch");
	confine_offer();
	if (uv_loop_init(&loop) != 0 || launch_new(&loop, &launch) != ERR_OK ||
	    launch_set_keep(launch, &handler) != ERR_OK)
		die("out of memory");
	kernel_vsock = take_kernel_vsock(&argc, argv);
	e = child_begin(argc, argv, ROLE_LAUNCH, &loop, &handler, launch,
			&core);
	if (e == ERR_FORMAT)
		die("usage: kenaz-launch [-v|-vv] [--trace TOPICS]");
	if (e != ERR_OK)
		die("this program is started by kenazd: %s", err_text(e));
	launch_set_core(launch, core);
	e = sodium_init() < 0 ? ERR_CRYPTO : digest_init();
	if (e == ERR_OK)
		e = launch_choose_vsock(launch, kernel_vsock);
	if (e == ERR_OK)
		e = jail_enter(JAIL_LAUNCH);
	if (e == ERR_OK && !kernel_vsock)
		e = no_vsock_enter();
	if (e != ERR_OK)
		child_fatal(core, e, "kenaz-launch cannot drop its rights: %s",
			    err_text(e));
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	launch_kill(launch);
	return 0;
}
