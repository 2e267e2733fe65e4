/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.c - what each process gives up for good before it meets foreign bytes
 *
 * Runs in: every host process, once, after it opened what it needs.
 * Trusts:  the kernel.
 * Never:   goes on when a step fails: the caller must end.
 *
 * Steps: no core files, not dumpable (so no other process of the same user
 * reads its memory), no new privileges, an empty network namespace where no
 * network is due, no capabilities, and a seccomp allow-list made of groups.
 * What is not on the list kills the process: a list that is too short is
 * noticed, not worked around. The launcher's first filter is a deny-list,
 * because it starts bubblewrap, which needs namespaces and mounts; it starts
 * exactly one, and enters JAIL_LAUNCH_VM, with an allow-list and Landlock,
 * before it reads the first byte of QEMU or the guest. Landlock for files
 * cannot come earlier: under it nobody may mount, and bubblewrap would inherit
 * it. Its part for signals comes first, so that QEMU is inside.
 */
#include "engine/base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/landlock.h"
#include "engine/base/log.h"

#define FILES_MAX 4096

enum group {
	G_BASE = 1 << 0,        /* memory, clocks, loops, passed descriptors */
	G_FILES = 1 << 1,       /* opening, renaming, syncing files */
	G_NET = 1 << 2,         /* new internet and unix sockets */
	G_UNIX = 1 << 3,        /* new unix sockets only */
	G_THREADS = 1 << 4,     /* threads of a library's resolver */
	G_EXEC = 1 << 5,        /* no allow-list at all; see deny_list */
	G_PRIVATE_NET = 1 << 6, /* enter an empty network namespace */
	G_KEEP_CAPS = 1 << 7,   /* as root: keep them for what it starts */
	G_PARENT = 1 << 8,      /* wait for and kill what it started */
	G_GUEST_NET = 1 << 9,   /* sockets of the host's vsock */
	G_NO_PATHS = 1 << 10,   /* Landlock: no file by its path */
	G_OWN_ONLY = 1 << 11,   /* Landlock: signals to what it starts */
	G_GLIB = 1 << 12,       /* what GLib asks when it makes a thread */
};

/* What each keeps; jail.h says why. */
static const unsigned kinds[JAIL_COUNT] = {
	[JAIL_SPAWNER] = G_EXEC | G_KEEP_CAPS,
	[JAIL_CORE] = G_BASE | G_FILES | G_UNIX | G_THREADS | G_PRIVATE_NET,
	[JAIL_AUDIT] = G_BASE | G_FILES | G_PRIVATE_NET,
	[JAIL_BROKER] = G_BASE | G_FILES | G_NET | G_THREADS,
	[JAIL_EGRESS] = G_BASE | G_FILES | G_NET | G_THREADS,
	[JAIL_LAUNCH] = G_EXEC | G_KEEP_CAPS | G_PRIVATE_NET | G_OWN_ONLY,
	[JAIL_LAUNCH_VM] = G_BASE | G_PARENT | G_NO_PATHS,
	[JAIL_LAUNCH_VM_VSOCK] = G_BASE | G_PARENT | G_NO_PATHS | G_GUEST_NET,
	[JAIL_GATE] = G_BASE | G_PRIVATE_NET,
	[JAIL_CLIENT] = G_EXEC | G_KEEP_CAPS,
	/* The host's network namespace: a bus may have an abstract name. */
	[JAIL_KEYCHAIN] = G_BASE | G_FILES | G_UNIX | G_THREADS | G_GLIB,
	[JAIL_VERIFY] = G_BASE | G_FILES,
	[JAIL_SCRIPTED] = G_BASE | G_PRIVATE_NET,
};

#define S(name) SCMP_SYS(name)

static const int base_calls[] = {
	S(read),
	S(write),
	S(readv),
	S(writev),
	S(close),
	S(close_range),
	S(fstat),
	S(newfstatat),
	S(lseek),
	S(mmap),
	S(munmap),
	S(mprotect),
	S(mremap),
	S(madvise),
	S(brk),
	S(mlock),
	S(munlock),
	S(mlock2),
	S(rt_sigaction),
	S(rt_sigprocmask),
	S(rt_sigreturn),
	S(sigaltstack),
	S(futex),
	S(clock_gettime),
	S(clock_getres),
	S(clock_nanosleep),
	S(nanosleep),
	S(gettimeofday),
	S(time),
	S(getpid),
	S(gettid),
	S(getppid),
	S(tgkill),
	S(exit),
	S(exit_group),
	S(epoll_create1),
	S(epoll_ctl),
	S(epoll_wait),
	S(epoll_pwait),
	S(poll),
	S(ppoll),
	S(select),
	S(pselect6),
	S(eventfd2),
	S(pipe2),
	S(fcntl),
	S(ioctl),
	S(recvmsg),
	S(sendmsg),
	S(recvfrom),
	S(sendto),
	S(recvmmsg),
	S(sendmmsg),
	S(getsockopt),
	S(setsockopt),
	S(getsockname),
	S(getpeername),
	S(accept4),
	S(accept),
	S(listen), /* on a socket that core bound: sessions that wait */
	S(shutdown),
	S(dup),
	S(dup2),
	S(dup3),
	S(memfd_create),
	S(ftruncate),
	S(getrandom),
	S(sched_yield),
	S(restart_syscall),
	S(getrlimit),
	S(sched_getaffinity),
	S(membarrier),
	S(rseq),
	S(set_robust_list),
	S(uname),
	S(sysinfo),
	S(getuid),
	S(geteuid),
	S(getgid),
	S(getegid),
	S(timerfd_create),
	S(timerfd_settime),
	S(timerfd_gettime),
	S(getrusage),
	S(times),
	S(splice),
	S(sendfile),
	S(pidfd_open),
};

static const int file_calls[] = {
	S(open),       S(openat),   S(openat2),   S(creat),
	S(unlink),     S(unlinkat), S(rename),    S(renameat),
	S(renameat2),  S(fsync),    S(fdatasync), S(sync_file_range),
	S(pread64),    S(pwrite64), S(preadv),    S(pwritev),
	S(fallocate),  S(mkdir),    S(mkdirat),   S(rmdir),
	S(getdents64), S(access),   S(faccessat), S(faccessat2),
	S(stat),       S(lstat),    S(statx),     S(readlink),
	S(readlinkat), S(chmod),    S(fchmod),    S(fchmodat),
	S(fchown),     S(flock),    S(utimensat), S(statfs),
	S(fstatfs),    S(getcwd),   S(umask),     S(truncate),
	S(link),       S(linkat),   S(getgroups), S(fadvise64),
};

/* Of QEMU and its sandbox by pid descriptor: no kill(2), no new one. */
static const int parent_calls[] = {
	S(wait4),  S(waitid),  S(pidfd_send_signal), S(pread64),   S(pwrite64),
	S(preadv), S(pwritev), S(fallocate),         S(fdatasync), S(fadvise64),
};

static const int glib_calls[] = {
	S(sched_getattr),
	S(sched_setattr),
};

static const int socket_calls[] = {
	S(connect),
	S(bind),
};

/* For programs that start others: no way to reach deeper into the kernel. */
static const int deny_list[] = {
	S(ptrace),
	S(process_vm_readv),
	S(process_vm_writev),
	S(bpf),
	S(perf_event_open),
	S(userfaultfd),
	S(kexec_load),
	S(kexec_file_load),
	S(init_module),
	S(finit_module),
	S(delete_module),
	S(add_key),
	S(request_key),
	S(keyctl),
	S(swapon),
	S(swapoff),
	S(reboot),
	S(acct),
	S(quotactl),
	S(iopl),
	S(ioperm),
	S(settimeofday),
	S(clock_settime),
	S(adjtimex),
	S(open_by_handle_at),
	S(io_uring_setup),
	S(io_uring_enter),
	S(io_uring_register),
	S(lookup_dcookie),
	S(nfsservctl),
	S(vhangup),
	S(personality),
};

#undef S

static enum err allow_all(scmp_filter_ctx ctx, const int *calls, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);

		if (rc < 0 && rc != -EDOM && rc != -EEXIST)
			return ERR_JAIL;
	}
	return ERR_OK;
}

/* A datagram socket could send to any path: pairs of streams only. */
static enum err allow_pairs(scmp_filter_ctx ctx)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		struct scmp_arg_cmp is[] = {
			SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX),
			SCMP_A1_32(SCMP_CMP_MASKED_EQ, 0xf, (uint32_t)types[i]),
		};

		if (seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
					   SCMP_SYS(socketpair), 2, is) < 0)
			return ERR_JAIL;
	}
	return ERR_OK;
}

/* Who makes no sockets cannot connect to those of others either. */
static enum err allow_domains(scmp_filter_ctx ctx, unsigned groups)
{
	static const struct {
		unsigned domain;
		unsigned groups;
	} domains[] = {
		{AF_UNIX, G_UNIX | G_NET}, {AF_INET, G_NET},
		{AF_INET6, G_NET},         {AF_NETLINK, G_NET},
		{AF_VSOCK, G_GUEST_NET},
	};
	enum err e = allow_pairs(ctx);
	bool any = false;
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(domains); i++) {
		struct scmp_arg_cmp is =
			SCMP_A0_32(SCMP_CMP_EQ, domains[i].domain);

		if (!(domains[i].groups & groups))
			continue;
		any = true;
		if (seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
					   SCMP_SYS(socket), 1, &is) < 0)
			e = ERR_JAIL;
	}
	if (e != ERR_OK)
		return e;
	/* Others fail as if the kernel did not know them. */
	if (!any)
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT),
					SCMP_SYS(socket), 0) < 0
			       ? ERR_JAIL
			       : ERR_OK;
	if (!(groups & G_GUEST_NET) &&
	    seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT),
				   SCMP_SYS(socket), 1,
				   &SCMP_A0_32(SCMP_CMP_GT, AF_NETLINK)) < 0)
		return ERR_JAIL;
	return allow_all(ctx, socket_calls, ARRAY_SIZE(socket_calls));
}

static enum err allow_threads(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp thread =
		SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);

	/* glibc falls back to clone(2), whose flags can be checked. */
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      &thread) < 0 ||
			       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
						SCMP_SYS(clone3), 0) < 0
		       ? ERR_JAIL
		       : ERR_OK;
}

/* Of itself; the launcher also those of the QEMU that it started. */
static enum err allow_limits(scmp_filter_ctx ctx, unsigned groups)
{
	struct scmp_arg_cmp self = SCMP_A0_32(SCMP_CMP_EQ, 0);

	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64),
				      groups & G_PARENT ? 0 : 1, &self) < 0
		       ? ERR_JAIL
		       : ERR_OK;
}

static enum err load_filter(unsigned groups)
{
	bool exec = (groups & G_EXEC) != 0;
	scmp_filter_ctx ctx =
		seccomp_init(exec ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
	enum err e = ERR_OK;
	size_t i;

	if (!ctx)
		return ERR_JAIL;
	if (exec) {
		for (i = 0; e == ERR_OK && i < ARRAY_SIZE(deny_list); i++) {
			int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
						  deny_list[i], 0);

			if (rc < 0 && rc != -EDOM)
				e = ERR_JAIL;
		}
	} else {
		e = allow_all(ctx, base_calls, ARRAY_SIZE(base_calls));
		/* Renaming threads and PR_SET_PDEATHSIG are harmless. */
		if (e == ERR_OK && seccomp_rule_add(ctx, SCMP_ACT_ALLOW,
						    SCMP_SYS(prctl), 0) < 0)
			e = ERR_JAIL;
		if (e == ERR_OK && (groups & G_FILES))
			e = allow_all(ctx, file_calls, ARRAY_SIZE(file_calls));
		if (e == ERR_OK)
			e = allow_limits(ctx, groups);
		if (e == ERR_OK)
			e = allow_domains(ctx, groups);
		if (e == ERR_OK && (groups & G_PARENT))
			e = allow_all(ctx, parent_calls,
				      ARRAY_SIZE(parent_calls));
		if (e == ERR_OK && (groups & G_THREADS))
			e = allow_threads(ctx);
		if (e == ERR_OK && (groups & G_GLIB))
			e = allow_all(ctx, glib_calls, ARRAY_SIZE(glib_calls));
		/* Asked for by libraries, never needed. */
		if (e == ERR_OK && !(groups & G_FILES) &&
		    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES),
				     SCMP_SYS(openat), 0) < 0)
			e = ERR_JAIL;
		if (e == ERR_OK && !(groups & G_FILES) &&
		    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES),
				     SCMP_SYS(readlink), 0) < 0)
			e = ERR_JAIL;
	}
	if (e == ERR_OK && seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) < 0)
		e = ERR_JAIL;
	if (e == ERR_OK && seccomp_load(ctx) < 0)
		e = ERR_JAIL;
	seccomp_release(ctx);
	return e;
}

static enum err write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return ERR_JAIL;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? ERR_JAIL : ERR_OK;
}

/* Root needs no user namespace; anybody else maps only himself. */
static enum err leave_network(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[64];
	enum err e;

	if (unshare(CLONE_NEWNET) == 0)
		return ERR_OK;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return ERR_JAIL;
	e = write_proc("/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (e == ERR_OK)
		e = write_proc("/proc/self/uid_map", map);
	(void)snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (e == ERR_OK)
		e = write_proc("/proc/self/gid_map", map);
	return e;
}

static enum err drop_capabilities(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2];
	unsigned long cap;

	memset(none, 0, sizeof(none));
	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno != EINVAL && errno != EPERM)
			return ERR_JAIL;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return ERR_JAIL;
	return syscall(SYS_capset, &head, none) < 0 ? ERR_JAIL : ERR_OK;
}

/* A kernel that knows nothing of it leaves the other steps. */
static enum err enter_landlock(unsigned groups)
{
	unsigned losses = 0;
	enum err e;

	if (groups & G_OWN_ONLY)
		losses |= LANDLOCK_NO_TCP | LANDLOCK_NO_FOREIGN_SOCKETS |
			  LANDLOCK_NO_FOREIGN_SIGNALS;
	if (groups & G_NO_PATHS)
		losses |= LANDLOCK_NO_FILES;
	if (losses == 0)
		return ERR_OK;
	e = landlock_enter(losses);
	return e == ERR_UNSUPPORTED ? ERR_OK : e;
}

/**
 * jail_enter() - Give up for good what this kind of process does not need
 * @kind:	Kind
 *
 * Open files that are needed later first. A namespace that cannot be had is
 * an error: the caller ends with a sentence that says so.
 *
 * Return: ERR_OK; ERR_JAIL.
 */
enum err jail_enter(enum jail_kind kind)
{
	struct rlimit no_core = {0, 0};
	struct rlimit files = {FILES_MAX, FILES_MAX};
	struct rlimit now;
	unsigned groups;
	enum err e;

	if ((unsigned)kind >= JAIL_COUNT)
		return ERR_JAIL;
	groups = kinds[kind];
	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return ERR_JAIL;
	if (now.rlim_max < files.rlim_max)
		files.rlim_cur = files.rlim_max = now.rlim_max;
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 ||
	    setrlimit(RLIMIT_NOFILE, &files) < 0)
		return ERR_JAIL;
	if (groups & G_PRIVATE_NET) {
		e = leave_network();
		if (e != ERR_OK) {
			log_error("no empty network namespace: %s; allow user "
				  "namespaces (sysctl user.max_user_namespaces,"
				  " kernel.unprivileged_userns_clone)",
				  strerror(errno));
			return e;
		}
	}
	/* After the maps: a non-dumpable process may not write its own. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_JAIL;
	e = enter_landlock(groups);
	if (e != ERR_OK)
		return e;
	if (!(groups & G_KEEP_CAPS)) {
		e = drop_capabilities();
		if (e != ERR_OK)
			return e;
	}
	return load_filter(groups);
}
