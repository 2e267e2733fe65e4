/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.c - the sandbox around QEMU: bubblewrap's arguments, limits, start
 *
 * Runs in: kenaz-launch; jail_child() in the forked child before exec.
 * Trusts:  bubblewrap and the kernel.
 * Never:   starts QEMU without every part of the sandbox: under software
 *	    emulation it is the only boundary. No path of the user's is there
 *	    inside, no network, no capability, no device but /dev/kvm when KVM
 *	    is used, no descriptor but those listed.
 *
 * When the launcher is root, the child becomes the session's own user before
 * it does anything else, so that a break-out of QEMU owns no file, and can
 * neither signal nor trace the QEMU of another session.
 *
 * In order: descriptors, user, no new privileges, Landlock (TCP, sockets and
 * signals; files only mount namespaces can take away, as under a Landlock set
 * for files bubblewrap could not mount), resource limits; then bubblewrap:
 * namespaces, an empty root, no capabilities, and QEMU's list of system calls.
 */
#include "vm/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/landlock.h"
#include "vm/no_vsock.h"
#include "vm/qemu_filter.h"

/* Why the child ended before bubblewrap could say anything itself. */
enum child_exit {
	EXIT_DESCRIPTORS = 120,
	EXIT_ROOT,
	EXIT_PRIVILEGES,
	EXIT_LIMITS,
	EXIT_EXEC,
	EXIT_MISSING,
};

/* What QEMU 7.2 reads: its program, libraries, accelerator module and ROMs. */
static const char *const read_only[] = {
	"/usr/bin/qemu-system-x86_64",
	"/usr/lib/x86_64-linux-gnu",
	"/usr/lib64",
	"/usr/share/qemu",
	"/usr/share/seabios",
	"/etc/ld.so.cache",
};

/**
 * jail_args_build() - bubblewrap's arguments around a command
 * @command:	What runs inside; its first argument is the program
 * @kvm:	Whether /dev/kvm is needed
 * @args:	Empty; args_fini() when done, also after a failure
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err jail_args_build(const struct args *command, bool kvm,
			 struct args *args)
{
	static const char *const flags[] = {
		"--unshare-user",    "--unshare-net", "--unshare-ipc",
		"--unshare-uts",     "--unshare-pid", "--unshare-cgroup-try",
		"--die-with-parent", "--new-session", "--clearenv",
		"--disable-userns",  "--as-pid-1",
	};
	size_t i;

	args_add(args, JAIL_PROGRAM);
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		args_add(args, flags[i]);
	args_add(args, "--cap-drop");
	args_add(args, "ALL");
	args_add(args, "--hostname");
	args_add(args, "kenaz");
	args_add(args, "--json-status-fd");
	args_addf(args, "%d", JAIL_FD_STATUS);
	args_add(args, "--seccomp");
	args_addf(args, "%d", JAIL_FD_FILTER);
	for (i = 0; i < ARRAY_SIZE(read_only); i++) {
		args_add(args, "--ro-bind");
		args_add(args, read_only[i]);
		args_add(args, read_only[i]);
	}
	args_add(args, "--symlink");
	args_add(args, "usr/lib64");
	args_add(args, "/lib64");
	args_add(args, "--symlink");
	args_add(args, "usr/lib");
	args_add(args, "/lib");
	args_add(args, "--proc");
	args_add(args, "/proc");
	if (kvm) {
		args_add(args, "--dev-bind");
		args_add(args, "/dev/kvm");
		args_add(args, "/dev/kvm");
	}
	args_add(args, "--remount-ro");
	args_add(args, "/");
	args_add(args, "--chdir");
	args_add(args, "/");
	args_add(args, "--");
	args_append(args, command);
	return args->status;
}

/**
 * jail_report_parse() - Take one line that bubblewrap wrote
 * @report:	Updated
 * @text:	A line without its end
 * @len_bytes:	Its length
 *
 * Return: ERR_OK; ERR_FORMAT when it is no status line; ERR_MEMORY.
 */
enum err jail_report_parse(struct jail_report *report, const char *text,
			   size_t len_bytes)
{
	static const struct json_limits limits = {
		.max_bytes = JAIL_STATUS_MAX_BYTES,
		.max_tokens = 64,
		.max_depth = 4,
	};
	uint64_t value;
	struct json j;
	enum err e;

	json_init(&j);
	e = json_parse(&j, span_of(text, len_bytes), &limits);
	if (e != ERR_OK)
		goto out;
	if (json_uint(&j, json_get(&j, JSON_ROOT, "child-pid"), 1, INT32_MAX,
		      &value) == ERR_OK) {
		report->child_pid = (pid_t)value;
		report->status = JAIL_RUNNING;
	} else if (json_uint(&j, json_get(&j, JSON_ROOT, "exit-code"), 0, 255,
			     &value) == ERR_OK) {
		report->exit_code = (int)value;
		report->status = JAIL_EXITED;
	} else {
		e = ERR_FORMAT;
	}
out:
	json_fini(&j);
	return e;
}

static int set_limit(int which, rlim_t value)
{
	struct rlimit now, limit = {value, value};

	if (getrlimit((__rlimit_resource_t)which, &now) < 0)
		return -1;
	if (now.rlim_max < value)
		limit.rlim_cur = limit.rlim_max = now.rlim_max;
	return setrlimit((__rlimit_resource_t)which, &limit);
}

/* Give the passed descriptors their numbers and close all others. */
static int place_fds(const struct jail_start *start, int filter_fd)
{
	int moved[JAIL_FD_LAST + 1], filter;
	size_t i;

	/* First out of the way of every target, then into place. */
	for (i = 0; i < start->fd_count; i++) {
		moved[i] = fcntl(start->fds[i].fd, F_DUPFD_CLOEXEC,
				 JAIL_FD_LAST + 1);
		if (moved[i] < 0)
			return -1;
	}
	filter = fcntl(filter_fd, F_DUPFD_CLOEXEC, JAIL_FD_LAST + 1);
	if (filter < 0 || dup2(filter, JAIL_FD_FILTER) < 0)
		return -1;
	for (i = 0; i < start->fd_count; i++)
		if (dup2(moved[i], start->fds[i].as) < 0)
			return -1;
	for (i = 3; i <= JAIL_FD_LAST; i++) {
		size_t k;

		for (k = 0; k < start->fd_count; k++)
			if ((size_t)start->fds[k].as == i)
				break;
		if (k == start->fd_count && i != JAIL_FD_FILTER)
			(void)close((int)i);
	}
	return (int)syscall(SYS_close_range, JAIL_FD_LAST + 1, ~0U, 0);
}

/**
 * jail_become() - Stop being root for good
 * @uid:	Who instead; 0 is nobody. Its group has the same number
 * @kvm_group:	Group that may open /dev/kvm, or 0
 *
 * Safe between fork and exec; without effect when the caller is not root.
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err jail_become(uid_t uid, gid_t kvm_group)
{
	uid_t who = uid ? uid : JAIL_NOBODY;

	if (geteuid() != 0)
		return ERR_OK;
	if (setgroups(kvm_group ? 1 : 0, &kvm_group) < 0 ||
	    setresgid(who, who, who) < 0 || setresuid(who, who, who) < 0)
		return ERR_SYS;
	return ERR_OK;
}

static enum err leave_root(const struct jail_start *start)
{
	struct stat st;
	gid_t group = 0;

	if (start->kvm && stat("/dev/kvm", &st) == 0)
		group = st.st_gid;
	return jail_become(start->uid, group);
}

/*
 * Numbers of QEMU alone. Its private memory has a limit of its own, which
 * holds where there are no cgroups; nothing it opens can grow, a memory file
 * neither, except by file_bytes. As root every session has its own user,
 * and RLIMIT_NPROC counts that user's processes; else see jail_limit_tasks().
 */
static int set_limits(const struct jail_start *start, bool own_user)
{
	const struct {
		int which;
		rlim_t value;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_FSIZE, start->file_bytes},
		{RLIMIT_NOFILE, JAIL_FILES_MAX},
		{RLIMIT_AS, ((rlim_t)start->memory_mib + JAIL_EXTRA_MIB) << 20},
		{RLIMIT_DATA, (rlim_t)JAIL_HEAP_MIB << 20},
		{RLIMIT_STACK, (rlim_t)8 << 20},
		{RLIMIT_MEMLOCK, 0},
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_RTPRIO, 0},
		{RLIMIT_SIGPENDING, 256},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(limits); i++)
		if (set_limit(limits[i].which, limits[i].value) < 0)
			return -1;
	return own_user ? set_limit(RLIMIT_NPROC, JAIL_TASKS_MAX) : 0;
}

/**
 * jail_limit_tasks() - Limit the processes and threads inside the sandbox
 * @child:	The process that bubblewrap reported
 *
 * For a launcher that is not root: RLIMIT_NPROC counts within the sandbox's
 * user namespace, so it can only be set once that is there. A failure means
 * that the process has ended already, or that it is another user's, who has
 * the limit since its start.
 */
void jail_limit_tasks(pid_t child)
{
	struct rlimit tasks = {JAIL_TASKS_MAX, JAIL_TASKS_MAX};

	if (geteuid() != 0)
		(void)prlimit(child, RLIMIT_NPROC, &tasks, NULL);
}

/* In the child: only calls that are safe between fork and exec. */
static void jail_child(const struct jail_start *start, const struct args *args,
		       int filter_fd, pid_t parent)
{
	static char *const no_environment[] = {NULL};
	bool root = geteuid() == 0;
	sigset_t none;
	enum err e;
	int null_fd;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
	    place_fds(start, filter_fd) < 0)
		_exit(EXIT_DESCRIPTORS);
	if (leave_root(start) != ERR_OK)
		_exit(EXIT_ROOT);
	/* After the change of user, which forgets the signal. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    getppid() != parent || no_vsock_enter() != ERR_OK)
		_exit(EXIT_PRIVILEGES);
	/* Not files: bubblewrap could not mount any more. */
	e = landlock_enter(LANDLOCK_NO_TCP | LANDLOCK_NO_FOREIGN_SOCKETS |
			   LANDLOCK_NO_FOREIGN_SIGNALS);
	if (e != ERR_OK && e != ERR_UNSUPPORTED)
		_exit(EXIT_PRIVILEGES);
	if (set_limits(start, root && start->uid != 0) < 0)
		_exit(EXIT_LIMITS);
	(void)execve(args->list[0], args->list, no_environment);
	_exit(errno == ENOENT ? EXIT_MISSING : EXIT_EXEC);
}

/* With a cgroup the child is born inside: there is no moment outside of it. */
static pid_t fork_into(int cgroup_fd)
{
	struct clone_args how = {
		.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned long long)cgroup_fd,
	};

	if (cgroup_fd <= 0)
		return fork();
	return (pid_t)syscall(SYS_clone3, &how, sizeof(how));
}

/**
 * jail_exit_text() - Why a sandbox that said nothing ended
 * @code:	Exit code of the process that jail_run() started
 *
 * Return: static text, never NULL.
 */
const char *jail_exit_text(int code)
{
	static const struct {
		enum child_exit code;
		const char *text;
	} table[] = {
		{EXIT_DESCRIPTORS, "descriptors could not be placed"},
		{EXIT_ROOT, "root's rights could not be dropped"},
		{EXIT_PRIVILEGES, "privileges could not be dropped"},
		{EXIT_LIMITS, "resource limits could not be set"},
		{EXIT_EXEC, JAIL_PROGRAM " could not be executed"},
		{EXIT_MISSING, JAIL_PROGRAM " is not installed"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if ((int)table[i].code == code)
			return table[i].text;
	return "no reason given";
}

/**
 * jail_run() - Start a command inside the sandbox
 * @start:	What, with which descriptors
 * @ret_pid:	bubblewrap's process
 * @ret_pid_fd:	Readable once it has ended; owned by the caller
 *
 * Whether the sandbox could be built is known from its status descriptor:
 * nothing but {"child-pid"...} there means that the command runs.
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT; ERR_MEMORY.
 */
enum err jail_run(const struct jail_start *start, pid_t *ret_pid,
		  int *ret_pid_fd)
{
	struct args args = {0};
	pid_t parent = getpid(), pid;
	int filter_fd = -1;
	enum err e = jail_args_build(start->command, start->kvm, &args);

	if (e == ERR_OK && start->fd_count > JAIL_FD_LAST)
		e = ERR_LIMIT;
	if (e == ERR_OK)
		e = qemu_filter_new(&filter_fd);
	if (e != ERR_OK)
		goto out;
	pid = fork_into(start->cgroup_fd);
	if (pid == 0)
		jail_child(start, &args, filter_fd, parent);
	e = ERR_SYS;
	if (pid < 0)
		goto out;
	*ret_pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*ret_pid_fd < 0) {
		(void)kill(pid, SIGKILL);
		goto out;
	}
	(void)fcntl(*ret_pid_fd, F_SETFD, FD_CLOEXEC);
	*ret_pid = pid;
	e = ERR_OK;
out:
	if (filter_fd >= 0)
		close(filter_fd);
	args_fini(&args);
	return e;
}
