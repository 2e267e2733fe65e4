/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_args.h - the canonical arguments of a session's QEMU */
#ifndef KENAZ_VM_QEMU_ARGS_H
#define KENAZ_VM_QEMU_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/err.h"
#include "engine/proto/msg.h"
#include "vm/args.h"

#define QEMU_PROGRAM "/usr/bin/qemu-system-x86_64"
#define QEMU_TCG_TB_MIB                                      \
	32u /* translation cache; part of the memory account \
	     */
#define QEMU_VCPUS_MAX        16u
#define QEMU_PROBE_MEMORY_MIB 128u

/* The vsock device: on the command line, or plugged after a restore. */
#define QEMU_VSOCK_PORT    "port0"
#define QEMU_VSOCK_CHARDEV "vsock"
#define QEMU_VSOCK_ID      "vsock0"
#define QEMU_VSOCK_DRIVER  "vhost-user-vsock-pci"

/* The descriptors QEMU finds open, the same for every session. */
enum qemu_fd {
	QEMU_FD_MEMORY = 10,
	QEMU_FD_KERNEL = 11,
	QEMU_FD_INITRD = 12,
	QEMU_FD_CONSOLE = 13,
	QEMU_FD_QMP = 14,
	QEMU_FD_VSOCK = 15,
	QEMU_FD_ROOT = 20,
	QEMU_FD_DISK = 21,
	QEMU_FD_DISK_KEY = 22,
	QEMU_FD_BOOT = 17, /* what the guest is told before any stream */
};

/* How the guest's vsock device is served; NONE for the probe. */
enum qemu_vsock { QEMU_VSOCK_NONE, QEMU_VSOCK_DEVICE, QEMU_VSOCK_KERNEL };

#define QEMU_CANONICAL_CID      3u    /* where sessions must look equal */
#define QEMU_COMMAND_LINE_BYTES 1024u /* the NUL included */

struct disk;

struct qemu_config {
	bool kvm;
	enum qemu_vsock vsock;
	uint32_t guest_cid; /* of the kernel's device only */
	enum vm_start start;
	uint32_t memory_mib;
	uint32_t vcpus;
	const char *cpu;          /* under software emulation */
	const char *command_line; /* of the kernel; printable ASCII */
	uid_t uid;     /* QEMU's user when the launcher is root; 0: nobody */
	int cgroup_fd; /* folder it is born in, borrowed; 0: none */
	bool root;     /* the image has a root file */
	const struct disk *disk; /* for the session's changes, or NULL */
};

MUST_CHECK enum err qemu_args_build(const struct qemu_config *config,
				    struct args *args);
const char *qemu_cpu(const struct qemu_config *config);
const char *qemu_vsock_text(enum qemu_vsock vsock);

#endif
