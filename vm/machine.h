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
#include "vm/qmp.h"

#define MACHINE_QUIT_MAX_MS 2000u

struct machine;

struct machine_events {
	/* The sandbox's process is there; @pid is QEMU's. */
	void (*spawned)(void *arg, pid_t pid);
	void (*qmp_ready)(void *arg, const char *version);
	void (*console)(void *arg); /* the guest wrote something */
	/* The host could not read or write for a disk; NULL without disks. */
	void (*disk_failed)(void *arg, bool no_space);
	/* It is over; @text says why when @e is not ERR_OK. Called once; the
	 * owner may free the machine from here. */
	void (*ended)(void *arg, enum err e, const char *text);
	/* What qmp.h calls so; NULL when nobody sends commands. */
	void (*qmp_event)(void *arg, const char *name);
	void (*qmp_answer)(void *arg, uint64_t id, enum err e,
			   struct span text);
};

MUST_CHECK enum err
machine_start(uv_loop_t *loop, const struct qemu_config *config,
	      const struct image *image, const struct memory *memory,
	      int vsock_fd, int boot_fd, const struct machine_events *events,
	      void *arg, struct machine **ret_machine);
struct console *machine_console(struct machine *m);
struct qmp *machine_qmp(struct machine *m);
void machine_quit(struct machine *m, bool at_once);
void machine_kill(struct machine *m);
void machine_fail(struct machine *m, enum err e, const char *text);
void machine_free(struct machine *m);

#endif
