/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-gate: the only parser of what one session's guest sends
 *
 * Runs in: kenaz-gate, one process per session.
 * Trusts:  core, at the other end of descriptor 3.
 * Never:   opens a file or a network connection, holds a key.
 */
#include "engine/base/digest.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/gate/gate.h"
#include "engine/proto/child.h"

int main(int argc, char **argv)
{
	static uv_loop_t loop;
	struct chan *core = NULL;
	struct gate *gate;
	enum err e;

	log_init("kenaz-gate");
	if (uv_loop_init(&loop) != 0)
		die("no event loop: out of descriptors or memory");
	e = digest_init();
	if (e != ERR_OK)
		die("no SHA-256: %s", err_text(e));
	e = gate_new(&loop, &gate);
	if (e != ERR_OK)
		die("the HTTP server does not start: %s", err_text(e));
	e = child_begin(argc, argv, ROLE_GATE, &loop, &gate_core_handler, gate,
			&core);
	if (e == ERR_FORMAT)
		die("unknown option; kenaz-gate is started by kenazd and "
		    "takes -v, -vv and --trace TOPICS");
	if (e != ERR_OK)
		die("no channel to core on descriptor 3 (%s); kenaz-gate is "
		    "started by kenazd",
		    err_text(e));
	e = jail_enter(JAIL_GATE);
	if (e != ERR_OK)
		child_fatal(core, e,
			    "kenaz-gate cannot enter its jail; see the log "
			    "and `kenaz doctor`");
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return 1;
}
