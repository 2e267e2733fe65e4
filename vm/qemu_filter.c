/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu_filter.c - the system calls that are left to QEMU
 *
 * Runs in: kenaz-launch; the filter itself in QEMU's process.
 * Trusts:  libseccomp and the kernel.
 * Never:   lets QEMU make a process, a socket that reaches anything, a
 *	    namespace, a mount or a device file, or switch off that it dies
 *	    with its launcher.
 *
 * An allow-list that bubblewrap installs just before it executes QEMU, so
 * that it holds from the first instruction on; QEMU's own -sandbox comes on
 * top. What is not on it fails with EPERM and does not kill: QEMU asks for
 * things that it can do without (io_uring, a memory policy), and an emulator
 * that is told "no" says which option failed. The list is what QEMU 7.2 was
 * seen to use, and the calls of its block layer, of its migration to and from
 * a descriptor, and of KVM.
 */
#include "vm/qemu_filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define S(name) SCMP_SYS(name)

/* clang-format off */
static const int allowed[] = {
	/* starting a program, memory */
	S(execve), S(arch_prctl), S(set_tid_address), S(set_robust_list),
	S(rseq), S(brk), S(mmap), S(munmap), S(mremap), S(mprotect),
	S(madvise), S(msync), S(mincore), S(membarrier), S(getrandom),
	S(uname), S(sysinfo), S(getrusage), S(times), S(getcpu),
	S(get_mempolicy), S(getrlimit),
	/* its threads and their signals */
	S(futex), S(sched_yield), S(sched_getaffinity), S(gettid), S(getpid),
	S(getppid), S(getuid), S(geteuid), S(getgid), S(getegid),
	S(getgroups), S(getpgrp), S(tgkill), S(rt_sigaction),
	S(rt_sigprocmask), S(rt_sigreturn), S(rt_sigsuspend),
	S(rt_sigpending), S(rt_sigtimedwait), S(sigaltstack), S(signalfd4),
	S(restart_syscall), S(exit), S(exit_group), S(seccomp),
	/* time and waiting */
	S(clock_gettime), S(clock_getres), S(clock_nanosleep), S(nanosleep),
	S(gettimeofday), S(time), S(timer_create), S(timer_settime),
	S(timer_gettime), S(timer_delete), S(timerfd_create),
	S(timerfd_settime), S(timerfd_gettime), S(poll), S(ppoll),
	S(select), S(pselect6), S(epoll_create1), S(epoll_ctl),
	S(epoll_wait), S(epoll_pwait), S(eventfd2), S(pipe2),
	/* what is open already, and the few files of its root */
	S(open), S(openat), S(close), S(close_range), S(read), S(readv),
	S(pread64), S(preadv), S(write), S(writev), S(pwrite64), S(pwritev),
	S(lseek), S(fstat), S(newfstatat), S(stat), S(lstat), S(statx),
	S(statfs), S(fstatfs), S(access), S(faccessat), S(faccessat2),
	S(readlink), S(readlinkat), S(getcwd), S(getdents64), S(dup),
	S(dup2), S(dup3), S(fcntl), S(flock), S(ioctl), S(fsync),
	S(fdatasync), S(sync_file_range), S(fallocate), S(ftruncate),
	S(fadvise64), S(copy_file_range), S(splice), S(memfd_create),
	/* sockets that it was given */
	S(sendmsg), S(recvmsg), S(sendto), S(recvfrom), S(sendmmsg),
	S(recvmmsg), S(getsockopt), S(setsockopt), S(getsockname),
	S(getpeername), S(shutdown),
};
/* clang-format on */

/* Naming a thread; what libseccomp and the C library ask for. */
static const unsigned long prctl_options[] = {
	PR_SET_NAME,
	PR_GET_NAME,
	PR_CAPBSET_READ,
	PR_GET_NO_NEW_PRIVS,
	PR_SET_NO_NEW_PRIVS,
	PR_GET_DUMPABLE,
	0x53564d41ul /* PR_SET_VMA: naming a mapping */,
};

/* Errors besides EPERM that a program takes as "use the older call". */
static const struct {
	int call;
	int error;
} answers[] = {
	{S(clone3), ENOSYS},
	{S(io_uring_setup), ENOSYS},
	{S(socket), EACCES},
	{S(socketpair), EACCES},
};

#undef S

static enum err add_rules(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp thread =
		SCMP_A0(SCMP_CMP_MASKED_EQ,
			CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS |
				CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
				CLONE_NEWUTS | CLONE_NEWCGROUP,
			CLONE_THREAD);
	/* Only the limits of this very process. */
	struct scmp_arg_cmp self = SCMP_A0_32(SCMP_CMP_EQ, 0);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(allowed); i++)
		if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0) < 0)
			return ERR_JAIL;
	for (i = 0; i < ARRAY_SIZE(prctl_options); i++) {
		struct scmp_arg_cmp option =
			SCMP_A0(SCMP_CMP_EQ, prctl_options[i]);

		if (seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl),
					   1, &option) < 0)
			return ERR_JAIL;
	}
	for (i = 0; i < ARRAY_SIZE(answers); i++)
		if (seccomp_rule_add(ctx,
				     SCMP_ACT_ERRNO((uint32_t)answers[i].error),
				     answers[i].call, 0) < 0)
			return ERR_JAIL;
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      &thread) < 0 ||
			       seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
						      SCMP_SYS(prlimit64), 1,
						      &self) < 0
		       ? ERR_JAIL
		       : ERR_OK;
}

/**
 * qemu_filter_new() - Make the filter as bubblewrap's --seccomp reads it
 * @ret_fd:	Memory file at its begin, owned by the caller
 *
 * Return: ERR_OK; ERR_JAIL; ERR_SYS with errno.
 */
enum err qemu_filter_new(int *ret_fd)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int fd = -1;
	enum err e = ERR_JAIL;

	if (!ctx)
		return ERR_JAIL;
	/* Tables are long: a tree of numbers costs each call less. */
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		goto out;
	e = add_rules(ctx);
	if (e != ERR_OK)
		goto out;
	e = ERR_SYS;
	fd = memfd_create("kenaz-filter", MFD_CLOEXEC);
	if (fd < 0)
		goto out;
	if (seccomp_export_bpf(ctx, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		goto out;
	*ret_fd = fd;
	fd = -1;
	e = ERR_OK;
out:
	if (fd >= 0)
		close(fd);
	seccomp_release(ctx);
	return e;
}
