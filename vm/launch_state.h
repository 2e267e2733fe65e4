/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_state.h - what the files of the launcher share
 *
 * launch.c has the states and messages, launch_prepare.c all that comes
 * before QEMU, launch_streams.c the guest's streams, launch_probe.c the probe
 * of an accelerator.
 */
#ifndef KENAZ_VM_LAUNCH_STATE_H
#define KENAZ_VM_LAUNCH_STATE_H

#include <uv.h>

#include "engine/proto/chan.h"
#include "vm/fingerprint.h"
#include "vm/image.h"
#include "vm/launch.h"
#include "vm/machine.h"
#include "vm/memory.h"
#include "vm/vsock_backend.h"

enum launch_state { L_NEW, L_VERIFIED, L_RUNNING, L_ENDED };

struct launch {
	uv_loop_t *loop;
	enum launch_state state;
	struct chan *core;
	struct chan *gate;
	struct image image;
	struct memory memory;
	struct qemu_config config;
	struct fingerprint fingerprint;
	uint8_t digest[DIGEST_BYTES];
	uint32_t guest_cid;
	struct vsock *device;
	struct vsock_backend *vsock;
	struct vhost_user *server;
	struct machine *machine;
	struct probe *probe;
	uv_poll_t vsock_poll;
	uv_poll_t server_poll;
	uv_timer_t expire_timer;
	bool connected_once;
	pid_t qemu_pid;
};

/* launch.c */
void launch_end_with(struct launch *l, enum err e, const char *text);
void launch_send_stage(struct launch *l, enum vm_stage stage);
void launch_fail_machine(struct launch *l, const char *what, const char *why);
int launch_take_fd(struct chan_message *m, size_t index);

/* launch_prepare.c */
MUST_CHECK enum err launch_prepare(struct launch *l,
				   const struct msg_launch_start *start,
				   int dir_fd, struct buf *reason);

/* launch_streams.c */
MUST_CHECK enum err launch_make_device(struct launch *l);
MUST_CHECK enum err launch_serve_device(struct launch *l, int server_fd);
MUST_CHECK enum err launch_on_connect(struct launch *l, struct chan_message *m);

/* launch_probe.c */
MUST_CHECK enum err launch_on_probe(struct launch *l, struct chan_message *m);

#endif
