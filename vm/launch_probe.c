/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_probe.c - find out whether guests boot on KVM here
 *
 * Runs in: kenaz-launch, instead of a session.
 * Trusts:  core.
 * Never:   takes /dev/kvm being there for a proof.
 */
#include <stdio.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "vm/confine.h"
#include "vm/launch_state.h"
#include "vm/probe.h"

static void on_probe_done(void *arg, bool kvm, const char *reason,
			  uint64_t took_ns)
{
	struct launch *l = arg;
	struct msg_probe_result m = {
		.accelerator = span_text(kvm ? "kvm" : "tcg"),
		.qemu_version = span_text(l->fingerprint.qemu_version),
		.reason = span_text(reason),
		.took_ns = took_ns,
	};

	if (chan_send_probe_result(l->core, &m, NULL, 0) != ERR_OK ||
	    chan_flush(l->core) != ERR_OK)
		log_debug("core was not told of the probe");
	l->state = L_ENDED;
	uv_stop(l->loop);
}

/** launch_on_probe() - Core asks whether KVM works; the process then ends */
enum err launch_on_probe(struct launch *l, struct chan_message *m)
{
	char text[256];
	struct msg_launch_probe ask;
	const char *why = NULL;
	struct buf reason;
	int dir_fd;
	enum err e = msg_launch_probe_get(m->payload, &ask);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	l->state = L_VERIFIED;
	dir_fd = launch_take_fd(m, 0);
	buf_init(&reason, REASON_MAX_BYTES);
	/* A probe takes whichever image is in the folder. */
	e = image_open(dir_fd, NULL, &l->keys, &l->image, &reason);
	close(dir_fd);
	if (e == ERR_OK)
		e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_OK)
		e = probe_start(l->loop, &l->image, ask.deadline_ns,
				on_probe_done, l, &l->probe);
	if (e == ERR_OK && l->state != L_ENDED)
		e = confine_enter(0, false);
	if (e != ERR_OK) {
		if (reason.len_bytes && buf_terminate(&reason, &why) != ERR_OK)
			why = NULL;
		(void)snprintf(text, sizeof(text), "KVM was not probed: %s",
			       why ? why : err_text(e));
		on_probe_done(l, false, text, 0);
	}
	buf_fini(&reason);
	return ERR_OK;
}
