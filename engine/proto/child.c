/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.c - how every child of core begins and ends
 *
 * Runs in: kenaz-audit, -broker, -egress, -launch, -gate.
 * Trusts:  core, at the other end of descriptor 3.
 * Never:   takes a secret or a guest's byte from its arguments.
 */
#include "engine/proto/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

#include "engine/base/log.h"

static bool is_seqpacket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_SEQPACKET;
}

/**
 * child_begin() - Read the options, open the channel to core, say hello
 * @argc:	From main()
 * @argv:	From main(); only -v, -vv and --trace TOPICS are options
 * @role:	What we are
 * @loop:	Initialised
 * @handler:	Copied; its on_closed should end the process at once
 * @context:	Borrowed
 * @ret_core:	Channel to core in state S_START
 *
 * Return: ERR_OK; ERR_STATE when descriptor 3 is no channel; ERR_FORMAT for
 *	   unknown options; ERR_SYS; ERR_MEMORY.
 */
enum err child_begin(int argc, char **argv, enum role role, uv_loop_t *loop,
		     const struct chan_handler *handler, void *context,
		     struct chan **ret_core)
{
	struct msg_hello hello = {.version = PROTO_VERSION,
				  .role = (uint32_t)role,
				  .pid = (uint32_t)getpid()};
	enum err e;
	int i;

	log_init(role_program(role) ? role_program(role) : role_name(role));
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0) {
			log_set_level(LOG_INFO);
		} else if (strcmp(argv[i], "-vv") == 0) {
			log_set_level(LOG_DEBUG);
		} else if (strcmp(argv[i], "--trace") == 0 && i + 1 < argc) {
			e = log_set_trace(argv[++i]);
			if (e != ERR_OK)
				return e;
		} else {
			return ERR_FORMAT;
		}
	}
	if (!is_seqpacket(CHAN_CHILD_FD))
		return ERR_STATE;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	e = chan_new(loop, CHAN_CHILD_FD, role, ROLE_CORE, handler, context,
		     ret_core);
	if (e != ERR_OK)
		return e;
	e = chan_send_hello(*ret_core, &hello, NULL, 0);
	return e == ERR_OK ? chan_flush(*ret_core) : e;
}

/**
 * child_fatal() - Tell core why, and end with exit code 1
 * @core:	Channel, or NULL
 * @error:	Error
 * @format:	As printf(3): one sentence: what, to what, what next
 */
void child_fatal(struct chan *core, enum err error, const char *format, ...)
{
	char text[REASON_MAX_BYTES];
	struct msg_fatal m = {.error = error};
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	m.text = span_text(text);
	log_error("%s", text);
	/* Nobody is left to tell when this fails too. */
	if (chan_is_open(core) &&
	    (chan_send_fatal(core, &m, NULL, 0) != ERR_OK ||
	     chan_flush(core) != ERR_OK))
		log_debug("core was not told");
	exit(1);
}
