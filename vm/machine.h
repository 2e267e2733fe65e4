/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - one jailed QEMU: its process, console and QMP on the loop */
#ifndef KENAZ_VM_MACHINE_H
#define KENAZ_VM_MACHINE_H

#include <uv.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/proto/limits.h"
#include "vm/console.h"
#include "vm/image.h"
#include "vm/memory.h"
#include "vm/qemu_args.h"

#define MACHINE_QUIT_MAX_MS 2000u

struct machine;

struct machine_events {
	/* The sandbox's process is there; @pid is QEMU's. */
	void (*spawned)(void *arg, pid_t pid);
	void (*qmp_ready)(void *arg, const char *version);
	void (*console)(void *arg); /* the guest wrote something */
	/* It is over; @text says why when @e is not ERR_OK. Called once; the
	 * owner may free the machine from here. */
	void (*ended)(void *arg, enum err e, const char *text);
};

MUST_CHECK enum err machine_start(uv_loop_t *loop,
				  const struct qemu_config *config,
				  const struct image *image,
				  const struct memory *memory, int vsock_fd,
				  const struct machine_events *events,
				  void *arg, struct machine **ret_machine);
struct console *machine_console(struct machine *m);
void machine_quit(struct machine *m, bool at_once);
void machine_kill(struct machine *m);
void machine_fail(struct machine *m, enum err e, const char *text);
void machine_free(struct machine *m);

#endif
