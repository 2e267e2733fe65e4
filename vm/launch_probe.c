/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_probe.c - find out whether guests boot on KVM here
 *
 * Runs in: kenaz-launch, instead of a session.
 * Trusts:  core.
 * Never:   takes /dev/kvm being there for a proof.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
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

/* The manifest names the image; a probe takes whichever is in the folder. */
static enum err probe_image_name(int dir_fd, char *ret_name, size_t cap_bytes)
{
	char raw[IMAGE_MANIFEST_MAX_BYTES];
	int fd = openat(dir_fd, "manifest.json",
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct image image;
	struct buf reason;
	ssize_t n;
	enum err e;

	if (fd < 0)
		return ERR_NOT_FOUND;
	n = read(fd, raw, sizeof(raw));
	close(fd);
	if (n < 0)
		return ERR_SYS;
	buf_init(&reason, REASON_MAX_BYTES);
	e = image_parse(span_of(raw, (size_t)n), &image, &reason);
	buf_fini(&reason);
	return e == ERR_OK ? span_copy_text(span_text(image.name), ret_name,
					    cap_bytes)
			   : e;
}

/** launch_on_probe() - Core asks whether KVM works; the process then ends */
enum err launch_on_probe(struct launch *l, struct chan_message *m)
{
	char name[NAME_MAX_BYTES + 1], text[256];
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
	e = probe_image_name(dir_fd, name, sizeof(name));
	if (e == ERR_OK)
		e = image_open(dir_fd, name, &l->image, &reason);
	close(dir_fd);
	if (e == ERR_OK)
		e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_OK)
		e = probe_start(l->loop, &l->image, ask.deadline_ns,
				on_probe_done, l, &l->probe);
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
