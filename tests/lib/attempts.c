/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attempts.c - what a captured process would try, one function each
 *
 * Runs in: a process that stands in for QEMU or the launcher, inside the very
 *	    jail of theirs, and, as a control, outside of any.
 * Never:   changes the machine when an attempt does succeed.
 */
#include "tests/lib/attempts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "vm/jail.h"
#include "vm/qemu_args.h"

#define SHARED_MAX_MIB (QEMU_PROBE_MEMORY_MIB + JAIL_EXTRA_MIB)

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* --- files ---------------------------------------------------------------- */

static bool reads_passwords(const struct attempt_goal *g)
{
	(void)g;
	return opens("/etc/passwd", O_RDONLY) || opens("/etc/shadow", O_RDONLY);
}

static bool lists_homes(const struct attempt_goal *g)
{
	(void)g;
	return opens("/home", O_RDONLY | O_DIRECTORY) ||
	       opens("/root", O_RDONLY | O_DIRECTORY);
}

static bool reads_other_session(const struct attempt_goal *g)
{
	return opens(g->file, O_RDONLY);
}

static bool writes_anywhere(const struct attempt_goal *g)
{
	static const char *const folders[] = {
		"",         "/tmp", "/var/tmp", "/dev/shm", "/dev",
		"/run",     "/usr", "/proc",    "/etc",     "/usr/share/qemu",
		"/usr/lib",
	};
	char path[128];
	size_t i;

	(void)g;
	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		(void)snprintf(path, sizeof(path), "%s/kenaz-attempt-%d",
			       folders[i], (int)getpid());
		if (opens(path, O_WRONLY | O_CREAT | O_EXCL)) {
			(void)unlink(path);
			return true;
		}
		if (mkdir(path, 0700) == 0) {
			(void)rmdir(path);
			return true;
		}
	}
	return false;
}

static bool writes_kernel_settings(const struct attempt_goal *g)
{
	(void)g;
	return opens("/proc/sys/kernel/core_pattern", O_WRONLY) ||
	       opens("/proc/sysrq-trigger", O_WRONLY) ||
	       opens("/proc/sys/kernel/modprobe", O_WRONLY);
}

static bool opens_devices(const struct attempt_goal *g)
{
	static const char *const paths[] = {"/dev/mem",   "/dev/kmsg",
					    "/dev/kvm",   "/dev/vda",
					    "/dev/fuse",  "/dev/net/tun",
					    "/dev/vsock", "/dev/tty"};
	size_t i;

	(void)g;
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		if (opens(paths[i], O_RDWR))
			return true;
	return false;
}

static bool makes_device(const struct attempt_goal *g)
{
	char path[64];

	(void)g;
	(void)snprintf(path, sizeof(path), "/tmp/kenaz-node-%d", (int)getpid());
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0)
		return false;
	(void)unlink(path);
	return true;
}

static bool runs_shell(const struct attempt_goal *g)
{
	char *const argv[] = {(char[]){"sh"}, (char[]){"-c"},
			      (char[]){"exit 11"}, NULL};

	(void)g;
	(void)execv("/bin/sh", argv);
	return false;
}

/* --- sockets -------------------------------------------------------------- */

static bool connects_tcp(const struct attempt_goal *g)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)g->port),
				 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static bool connects_unix(const char *name, bool is_abstract, int type)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	size_t len = strlen(name) + (is_abstract ? 1 : 0);

	if (fd < 0)
		return false;
	memcpy(to.sun_path + (is_abstract ? 1 : 0), name, strlen(name));
	return connect(fd, (struct sockaddr *)&to,
		       (socklen_t)(sizeof(sa_family_t) + len)) == 0;
}

static bool connects_socket_file(const struct attempt_goal *g)
{
	return connects_unix(g->socket, false, SOCK_STREAM);
}

static bool connects_abstract(const struct attempt_goal *g)
{
	return connects_unix(g->abstract, true, SOCK_STREAM);
}

/* A datagram pair needs no socket(2) and can send to any address. */
static bool makes_datagram_pair(const struct attempt_goal *g)
{
	int pair[2];

	(void)g;
	return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0;
}

static bool opens_vsock(const struct attempt_goal *g)
{
	(void)g;
	return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool opens_netlink(const struct attempt_goal *g)
{
	(void)g;
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0;
}

static bool opens_packet(const struct attempt_goal *g)
{
	(void)g;
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0;
}

/* --- other processes ------------------------------------------------------ */

static bool signals_process(const struct attempt_goal *g)
{
	return kill(g->pid, 0) == 0;
}

static bool signals_by_descriptor(const struct attempt_goal *g)
{
	int fd = (int)syscall(SYS_pidfd_open, g->pid, 0);

	return fd >= 0 && syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0;
}

static bool signals_thread(const struct attempt_goal *g)
{
	return syscall(SYS_tgkill, g->pid, g->pid, 0) == 0;
}

static bool traces_process(const struct attempt_goal *g)
{
	if (ptrace(PTRACE_ATTACH, g->pid, NULL, NULL) < 0)
		return false;
	(void)waitpid(g->pid, NULL, __WALL);
	(void)ptrace(PTRACE_DETACH, g->pid, NULL, NULL);
	return true;
}

/* Same program, same address: forked from one another. */
static bool reads_process_memory(const struct attempt_goal *g)
{
	char byte;
	union {
		const void *from;
		void *to;
	} there = {&attempts_count};
	struct iovec ours = {&byte, 1}, theirs = {there.to, 1};

	return process_vm_readv(g->pid, &ours, 1, &theirs, 1, 0) == 1;
}

static bool takes_descriptor(const struct attempt_goal *g)
{
	int fd = (int)syscall(SYS_pidfd_open, g->pid, 0);

	return fd >= 0 && syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0;
}

static bool changes_limits(const struct attempt_goal *g)
{
	struct rlimit limit;

	return prlimit(g->pid, RLIMIT_CPU, NULL, &limit) == 0;
}

static bool sees_processes(const struct attempt_goal *g)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	(void)g;
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			count++;
	if (dir)
		closedir(dir);
	return count > 1;
}

static bool makes_process(const struct attempt_goal *g)
{
	pid_t pid = fork();

	(void)g;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return pid > 0;
}

static bool forgets_parent(const struct attempt_goal *g)
{
	(void)g;
	return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) == 0;
}

static bool leaves_session(const struct attempt_goal *g)
{
	(void)g;
	return setpgid(0, 0) == 0 || setsid() > 0;
}

/* --- rights --------------------------------------------------------------- */

static bool mounts(const struct attempt_goal *g)
{
	(void)g;
	return mount("none", "/proc", "tmpfs", 0, "size=4096") == 0;
}

static bool makes_user_namespace(const struct attempt_goal *g)
{
	(void)g;
	return unshare(CLONE_NEWUSER) == 0;
}

static bool makes_mount_namespace(const struct attempt_goal *g)
{
	(void)g;
	return unshare(CLONE_NEWNS) == 0;
}

static bool joins_namespace(const struct attempt_goal *g)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

	(void)g;
	return fd >= 0 && setns(fd, CLONE_NEWUTS) == 0;
}

static bool becomes_root(const struct attempt_goal *g)
{
	(void)g;
	return setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0 ||
	       setuid(getuid() + 1) == 0;
}

static bool changes_root(const struct attempt_goal *g)
{
	(void)g;
	return chroot("/proc") == 0;
}

static bool names_host(const struct attempt_goal *g)
{
	(void)g;
	return sethostname("captured", 8) == 0;
}

static bool raises_core_limit(const struct attempt_goal *g)
{
	struct rlimit core = {1, 1};

	(void)g;
	return setrlimit(RLIMIT_CORE, &core) == 0;
}

static bool raises_files_limit(const struct attempt_goal *g)
{
	struct rlimit now, more;

	(void)g;
	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return false;
	more.rlim_cur = more.rlim_max = now.rlim_max + 1;
	return setrlimit(RLIMIT_NOFILE, &more) == 0;
}

/* --- the kernel's far corners --------------------------------------------- */

#define CALL(name, ...)                                                        \
	static bool name(const struct attempt_goal *g)                         \
	{                                                                      \
		(void)g;                                                       \
		return syscall(__VA_ARGS__) >= 0 ||                            \
		       (errno != EPERM && errno != ENOSYS && errno != EACCES); \
	}

/* Arguments are bad: an answer that judges them means "was let in". */
CALL(adds_key, SYS_add_key, "user", "kenaz", NULL, 0, -1)
CALL(reads_key, SYS_keyctl, 0, -3, 0)
CALL(loads_bpf, SYS_bpf, 9999, NULL, 0)
CALL(opens_counter, SYS_perf_event_open, NULL, 0, -1, -1, 0)
CALL(catches_faults, SYS_userfaultfd, 0x7fff0000)
CALL(makes_ring, SYS_io_uring_setup, 0, NULL)
CALL(opens_by_handle, SYS_open_by_handle_at, -1, NULL, 0)
CALL(loads_module, SYS_init_module, NULL, 0, "")
CALL(loads_kernel, SYS_kexec_load, 0, 0, NULL, 0)
CALL(moves_root, SYS_pivot_root, NULL, NULL)
CALL(starts_swap, SYS_swapon, NULL, 0)
CALL(sets_clock, SYS_clock_settime, 0, NULL)
CALL(sets_personality, SYS_personality, 0xffffffff)
CALL(opens_tree, SYS_open_tree, -1, "", 0)
CALL(opens_filesystem, SYS_fsopen, NULL, 0)
CALL(makes_queue, SYS_mq_open, NULL, 0)
CALL(makes_shared_segment, SYS_shmget, 0, 0, 0)
CALL(watches_files, SYS_fanotify_init, 0xffffffff, 0)

/* --- more than its share -------------------------------------------------- */

static int sleeper(void *unused)
{
	(void)unused;
	for (;;)
		(void)syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
	return 0;
}

/* Threads without the C library, as small as the kernel allows. */
static bool makes_many_threads(const struct attempt_goal *g)
{
	const size_t stack_bytes = 16384, most = 4 * JAIL_TASKS_MAX;
	char *stacks = mmap(NULL, most * stack_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t n;

	(void)g;
	if (stacks == MAP_FAILED)
		return false;
	for (n = 0; n < most; n++)
		if (clone(sleeper, stacks + (n + 1) * stack_bytes,
			  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
				  CLONE_THREAD | CLONE_SYSVSEM,
			  NULL) < 0)
			break;
	return n > JAIL_TASKS_MAX;
}

static bool maps_more_than(size_t limit_mib, int flags)
{
	const size_t step_mib = 64;
	size_t got_mib = 0;

	while (got_mib <= limit_mib &&
	       mmap(NULL, step_mib << 20, PROT_READ | PROT_WRITE,
		    flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
		got_mib += step_mib;
	return got_mib > limit_mib;
}

static bool takes_private_memory(const struct attempt_goal *g)
{
	(void)g;
	return maps_more_than(JAIL_HEAP_MIB, MAP_PRIVATE);
}

static bool takes_shared_memory(const struct attempt_goal *g)
{
	(void)g;
	return maps_more_than(SHARED_MAX_MIB, MAP_SHARED);
}

static bool grows_memory_file(const struct attempt_goal *g)
{
	int fd = memfd_create("attempt", MFD_CLOEXEC);

	(void)g;
	(void)signal(SIGXFSZ, SIG_IGN);
	return fd >= 0 && (ftruncate(fd, 1 << 20) == 0 ||
			   fallocate(fd, 0, 0, 1 << 20) == 0 ||
			   pwrite(fd, "x", 1, 1 << 20) == 1);
}

static bool fills_descriptors(const struct attempt_goal *g)
{
	int last = 0, fd;

	(void)g;
	while (last < 4 * (int)JAIL_FILES_MAX && (fd = dup(0)) >= 0)
		last = fd;
	return last >= (int)JAIL_FILES_MAX;
}

static bool locks_memory(const struct attempt_goal *g)
{
	void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)g;
	return at != MAP_FAILED && mlock(at, 1 << 20) == 0;
}

/* --- the descriptors it was given ----------------------------------------- */

static bool resizes_guest_memory(const struct attempt_goal *g)
{
	struct stat st;

	(void)g;
	(void)signal(SIGXFSZ, SIG_IGN);
	return fstat(QEMU_FD_MEMORY, &st) < 0 ||
	       ftruncate(QEMU_FD_MEMORY, st.st_size / 2) == 0 ||
	       ftruncate(QEMU_FD_MEMORY, st.st_size * 2) == 0 ||
	       fallocate(QEMU_FD_MEMORY, 0, st.st_size, 4096) == 0;
}

static bool seals_guest_memory(const struct attempt_goal *g)
{
	(void)g;
	return fcntl(QEMU_FD_MEMORY, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0;
}

static bool writes_memory_file(int fd)
{
	char path[64];
	int again;

	(void)signal(SIGXFSZ, SIG_IGN);
	if (pwrite(fd, "x", 1, 0) == 1 || ftruncate(fd, 0) == 0 ||
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) !=
		    MAP_FAILED)
		return true;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	return again >= 0 &&
	       (pwrite(again, "x", 1, 0) == 1 || ftruncate(again, 0) == 0 ||
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again,
		     0) != MAP_FAILED);
}

static bool changes_kernel(const struct attempt_goal *g)
{
	(void)g;
	return writes_memory_file(QEMU_FD_KERNEL);
}

static bool changes_initrd(const struct attempt_goal *g)
{
	(void)g;
	return writes_memory_file(QEMU_FD_INITRD);
}

/* bubblewrap's own, and any that were forgotten. */
static bool finds_more_descriptors(const struct attempt_goal *g)
{
	int fd;

	(void)g;
	for (fd = 3; fd < 1024; fd++)
		if ((fd < QEMU_FD_MEMORY || fd > QEMU_FD_VSOCK) &&
		    fcntl(fd, F_GETFD) >= 0)
			return true;
	return false;
}

static bool types_into_terminal(const struct attempt_goal *g)
{
	unsigned long tiocsti = 0x5412;
	int fd;

	(void)g;
	for (fd = 0; fd < 32; fd++)
		if (ioctl(fd, tiocsti, "x") == 0)
			return true;
	return false;
}

#define BOTH (AT_QEMU | AT_LAUNCH)

const struct attempt attempts[] = {
	{"reads_passwords", reads_passwords, BOTH | AT_OUTSIDE},
	{"lists_homes", lists_homes, BOTH | AT_OUTSIDE},
	{"reads_other_session", reads_other_session, BOTH | AT_OUTSIDE},
	{"writes_anywhere", writes_anywhere, BOTH | AT_OUTSIDE},
	{"writes_kernel_settings", writes_kernel_settings, BOTH},
	{"opens_devices", opens_devices, BOTH},
	{"makes_device", makes_device, BOTH | AT_OUTSIDE | AT_ROOT},
	{"runs_shell", runs_shell, BOTH},
	{"connects_tcp", connects_tcp, BOTH | AT_OUTSIDE},
	{"connects_socket_file", connects_socket_file, BOTH | AT_OUTSIDE},
	{"connects_abstract", connects_abstract, BOTH | AT_OUTSIDE},
	{"makes_datagram_pair", makes_datagram_pair, BOTH | AT_OUTSIDE},
	{"opens_vsock", opens_vsock, BOTH},
	{"opens_netlink", opens_netlink, BOTH | AT_OUTSIDE},
	{"opens_packet", opens_packet, BOTH | AT_OUTSIDE | AT_ROOT},
	{"signals_process", signals_process, BOTH | AT_OUTSIDE},
	{"signals_by_descriptor", signals_by_descriptor, BOTH | AT_OUTSIDE},
	{"signals_thread", signals_thread, BOTH | AT_OUTSIDE},
	{"traces_process", traces_process, BOTH | AT_OUTSIDE | AT_ROOT},
	{"reads_process_memory", reads_process_memory,
	 BOTH | AT_OUTSIDE | AT_ROOT},
	{"takes_descriptor", takes_descriptor, BOTH | AT_OUTSIDE | AT_ROOT},
	{"changes_limits", changes_limits, AT_QEMU | AT_OUTSIDE},
	{"sees_processes", sees_processes, BOTH | AT_OUTSIDE},
	{"makes_process", makes_process, BOTH | AT_OUTSIDE},
	{"forgets_parent", forgets_parent, AT_QEMU | AT_OUTSIDE},
	{"leaves_session", leaves_session, BOTH},
	{"mounts", mounts, BOTH},
	{"makes_user_namespace", makes_user_namespace, BOTH | AT_OUTSIDE},
	{"makes_mount_namespace", makes_mount_namespace,
	 BOTH | AT_OUTSIDE | AT_ROOT},
	{"joins_namespace", joins_namespace, BOTH | AT_OUTSIDE | AT_ROOT},
	{"becomes_root", becomes_root, BOTH | AT_OUTSIDE | AT_ROOT},
	{"changes_root", changes_root, BOTH | AT_OUTSIDE | AT_ROOT},
	{"names_host", names_host, BOTH},
	{"raises_core_limit", raises_core_limit, BOTH},
	{"raises_files_limit", raises_files_limit, BOTH},
	{"adds_key", adds_key, BOTH},
	{"reads_key", reads_key, BOTH},
	{"loads_bpf", loads_bpf, BOTH},
	{"opens_counter", opens_counter, BOTH},
	{"catches_faults", catches_faults, BOTH},
	{"makes_ring", makes_ring, BOTH},
	{"opens_by_handle", opens_by_handle, BOTH},
	{"loads_module", loads_module, BOTH},
	{"loads_kernel", loads_kernel, BOTH},
	{"moves_root", moves_root, BOTH},
	{"starts_swap", starts_swap, BOTH},
	{"sets_clock", sets_clock, BOTH},
	{"sets_personality", sets_personality, BOTH},
	{"opens_tree", opens_tree, BOTH},
	{"opens_filesystem", opens_filesystem, BOTH},
	{"makes_queue", makes_queue, BOTH},
	{"makes_shared_segment", makes_shared_segment, BOTH},
	{"watches_files", watches_files, BOTH},
	{"makes_many_threads", makes_many_threads, BOTH | AT_OUTSIDE},
	{"takes_private_memory", takes_private_memory, AT_QEMU | AT_OUTSIDE},
	{"takes_shared_memory", takes_shared_memory, AT_QEMU | AT_OUTSIDE},
	{"grows_memory_file", grows_memory_file, AT_QEMU | AT_OUTSIDE},
	{"fills_descriptors", fills_descriptors, AT_QEMU | AT_OUTSIDE},
	{"locks_memory", locks_memory, AT_QEMU | AT_OUTSIDE},
	{"resizes_guest_memory", resizes_guest_memory, AT_QEMU},
	{"seals_guest_memory", seals_guest_memory, AT_QEMU},
	{"changes_kernel", changes_kernel, AT_QEMU},
	{"changes_initrd", changes_initrd, AT_QEMU},
	{"finds_more_descriptors", finds_more_descriptors, AT_QEMU},
	{"types_into_terminal", types_into_terminal, BOTH},
};

const size_t attempts_count = ARRAY_SIZE(attempts);

/** attempt_find() - Look an attempt up by its name; NULL is none */
const struct attempt *attempt_find(const char *name)
{
	size_t i;

	for (i = 0; i < attempts_count; i++)
		if (strcmp(attempts[i].name, name) == 0)
			return &attempts[i];
	return NULL;
}
