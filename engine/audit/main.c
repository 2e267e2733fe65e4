/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-audit: the only writer of the log, the only log keys
 *
 * Runs in: kenaz-audit.
 * Trusts:  core, on descriptor 3, and the directories it passes.
 * Never:   parses a body, opens a path, reaches a network.
 */
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>

#include "engine/audit/random_pool.h"
#include "engine/audit/service.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/proto/child.h"

int main(int argc, char **argv)
{
	static const struct chan_handler handler = {service_on_message,
						    service_on_closed};
	struct service *service = NULL;
	struct chan *core = NULL;
	uv_loop_t loop;
	enum err e;

	if (sodium_init() < 0 || digest_init() != ERR_OK)
		die("kenaz-audit: libsodium or libgcrypt cannot be used");
	if (random_pool_use() != ERR_OK)
		log_debug("random bytes are asked for one by one");
	if (uv_loop_init(&loop) != 0)
		die("kenaz-audit: no event loop");
	/* A file size limit is a write error like others, not an end. */
	(void)signal(SIGXFSZ, SIG_IGN);
	e = service_new(&loop, &service);
	if (e != ERR_OK)
		die("kenaz-audit: %s", err_text(e));
	e = child_begin(argc, argv, ROLE_AUDIT, &loop, &handler, service,
			&core);
	if (e != ERR_OK)
		die("kenaz-audit is started by kenazd: %s", err_text(e));
	service->core = core;
	e = jail_enter(JAIL_AUDIT);
	if (e != ERR_OK)
		child_fatal(core, e, "kenaz-audit cannot be jailed");
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	service_exit(service, 1);
}
