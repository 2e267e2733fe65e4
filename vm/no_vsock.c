/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no_vsock.c - take AF_VSOCK away from this process and what it starts
 *
 * Runs in: kenaz-launch with its own device; in the forked child that becomes
 *	    QEMU, with either backend, between fork and exec.
 * Trusts:  the kernel.
 * Never:   allocates or takes a lock.
 *
 * AF_VSOCK does not belong to a network namespace: where the kernel knows it,
 * a captured QEMU in an empty namespace could still connect to listeners of
 * the host and of other guests. One filter of a handful of instructions
 * makes the family unknown.
 */
#include "vm/no_vsock.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define X32_BIT 0x40000000u

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS_EQUAL(value, skip) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))

/**
 * no_vsock_enter() - socket(AF_VSOCK) fails with EAFNOSUPPORT from here on
 *
 * Needs no-new-privileges, or CAP_SYS_ADMIN. Survives exec.
 *
 * Return: ERR_OK; ERR_JAIL.
 */
enum err no_vsock_enter(void)
{
	static struct sock_filter code[] = {
		LOAD(arch),
		UNLESS_EQUAL(AUDIT_ARCH_X86_64, 7), /* to the refusal */
		LOAD(nr),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
		UNLESS_EQUAL(SYS_socketpair, 2), /* to the permission */
		LOAD(args[0]), /* the low half: little-endian */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 1, 0),
		ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(SECCOMP_RET_ERRNO | EAFNOSUPPORT),
	};
	const struct sock_fprog program = {.len = sizeof(code) /
						  sizeof(code[0]),
					   .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
		       ? ERR_OK
		       : ERR_JAIL;
}
