/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_state.h - what the files of the launcher share
 *
 * launch.c has the states and messages, launch_prepare.c all that comes
 * before QEMU, launch_disk.c disks, launch_streams.c the guest's streams,
 * launch_probe.c the probe of an accelerator, launch_template.c templates and
 * what goes on from them.
 */
#ifndef KENAZ_VM_LAUNCH_STATE_H
#define KENAZ_VM_LAUNCH_STATE_H

#include <uv.h>

#include "engine/proto/chan.h"
#include "vm/fingerprint.h"
#include "vm/disk.h"
#include "vm/image.h"
#include "vm/launch.h"
#include "vm/machine.h"
#include "vm/memory.h"
#include "vm/migration.h"
#include "vm/template.h"
#include "vm/vhost_kernel.h"
#include "vm/vsock_backend.h"

enum launch_state { L_NEW, L_VERIFIED, L_RUNNING, L_ENDED };

/* Only for VM_START_MAKE and VM_START_RESTORE. */
struct launch_template {
	struct template_key key;
	struct migration *migration;
	int state_fd; /* restore: for QEMU to read, made before it runs */
	struct memory_copy copy; /* restore: goes on while QEMU starts */
	uv_idle_t copy_idle;
	struct buf state; /* make: what QEMU wrote */
	int state_socket; /* make: ours */
	uv_poll_t state_poll;
	uv_timer_t boot_timer;
	uint64_t spawned_ns;
	bool copied;
	bool qmp_ready;
	bool booted;
	bool state_ended;
	bool saved;
};

/* What core said in launch_limits; zeroed without. */
struct launch_limits {
	bool given;
	uid_t uid;
	int uid_lock_fd; /* held until the end */
	int cgroup_fd;   /* until QEMU is started */
	uint64_t console_max_bytes;
	bool console_told;
};

struct launch {
	uv_loop_t *loop;
	enum launch_state state;
	struct chan *core;
	struct chan *gate;
	struct keep *keep;
	struct image image;
	struct image_keys keys; /* whose signatures count */
	struct memory memory;
	struct qemu_config config;
	struct disk disk;
	struct buf disk_text; /* why core has no file for a disk */
	bool disk_failed;     /* and core has heard of it */
	struct fingerprint fingerprint;
	uint8_t digest[DIGEST_BYTES];
	uint32_t guest_cid;
	struct launch_limits limits;
	struct vsock *device;
	struct vsock_backend *vsock;
	/* With the kernel's vsock; why it cannot be used, when it is NULL. */
	bool wants_kernel;
	struct vhost_kernel *kernel;
	char kernel_reason[REASON_MAX_BYTES];
	char command_line[QEMU_COMMAND_LINE_BYTES + 32];
	struct vhost_user *server;
	struct machine *machine;
	struct launch_template template;
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
				   int dir_fd, const int template[2],
				   struct buf *reason);

/* launch_limits.c */
MUST_CHECK enum err launch_on_limits(struct launch *l, struct chan_message *m);
void launch_limits_spawned(struct launch *l);
void launch_limits_console(struct launch *l);

/* launch_keep.c */
void launch_refuse_egress(struct launch *l, int *fd);

/* launch_disk.c */
MUST_CHECK enum err launch_on_disk(struct launch *l, struct chan_message *m);
MUST_CHECK enum err launch_add_disks(struct launch *l, struct buf *reason);
MUST_CHECK enum err launch_send_disks(struct launch *l);
void launch_disk_failed(void *arg, bool no_space);

/* launch_streams.c */
MUST_CHECK enum err launch_make_device(struct launch *l);
MUST_CHECK enum err launch_serve_device(struct launch *l, int server_fd);
MUST_CHECK enum err launch_connect_device(struct launch *l, int *ret_vsock_fd,
					  int *ret_boot_fd);
MUST_CHECK enum err launch_on_connect(struct launch *l, struct chan_message *m);
void launch_log_traffic(const struct launch *l);

/* launch_image.c */
MUST_CHECK enum err launch_on_image_keys(struct launch *l,
					 struct chan_message *m);
MUST_CHECK enum err launch_on_inspect(struct launch *l, struct chan_message *m);

/* launch_template.c */
MUST_CHECK enum err launch_make_memory(struct launch *l,
				       const struct msg_launch_start *start,
				       const int template[2],
				       struct buf *reason);
void launch_template_spawned(struct launch *l);
void launch_template_qmp_ready(struct launch *l);
void launch_template_console(struct launch *l);
void launch_template_qmp_event(void *arg, const char *name);
void launch_template_qmp_answer(void *arg, uint64_t id, enum err e,
				struct span text);
MUST_CHECK enum err launch_template_finish(struct launch *l);

/* launch_probe.c */
MUST_CHECK enum err launch_on_probe(struct launch *l, struct chan_message *m);

#endif
