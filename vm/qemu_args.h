/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_args.h - the canonical arguments of a session's QEMU */
#ifndef KENAZ_VM_QEMU_ARGS_H
#define KENAZ_VM_QEMU_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "vm/args.h"

#define QEMU_PROGRAM "/usr/bin/qemu-system-x86_64"
#define QEMU_TCG_TB_MIB                                      \
	32u /* translation cache; part of the memory account \
	     */
#define QEMU_VCPUS_MAX        16u
#define QEMU_PROBE_MEMORY_MIB 128u

/* The descriptors QEMU finds open, the same for every session. */
enum qemu_fd {
	QEMU_FD_MEMORY = 10,
	QEMU_FD_KERNEL = 11,
	QEMU_FD_INITRD = 12,
	QEMU_FD_CONSOLE = 13,
	QEMU_FD_QMP = 14,
	QEMU_FD_VSOCK = 15,
};

struct qemu_config {
	bool kvm;
	bool vsock; /* false for the probe, which has no device at all */
	uint32_t memory_mib;
	uint32_t vcpus;
	const char *cpu;          /* under software emulation */
	const char *command_line; /* of the kernel; printable ASCII */
};

MUST_CHECK enum err qemu_args_build(const struct qemu_config *config,
				    struct args *args);
const char *qemu_cpu(const struct qemu_config *config);

#endif
