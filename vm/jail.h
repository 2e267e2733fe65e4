/* SPDX-License-Identifier: Apache-2.0 */
/* jail.h - the sandbox around QEMU: bubblewrap's arguments, limits, start */
#ifndef KENAZ_VM_JAIL_H
#define KENAZ_VM_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/err.h"
#include "vm/args.h"

#define JAIL_PROGRAM          "/usr/bin/bwrap"
#define JAIL_FD_FILTER        9  /* bubblewrap reads QEMU's filter here */
#define JAIL_FD_STATUS        16 /* bubblewrap reports here */
#define JAIL_FD_FIRST         10 /* lowest number a passed descriptor gets */
#define JAIL_FD_LAST          22
#define JAIL_FILES_MAX        256u
#define JAIL_TASKS_MAX        192u  /* QEMU, its threads, bubblewrap */
#define JAIL_EXTRA_MIB        2048u /* address space above the guest's memory */
#define JAIL_HEAP_MIB         1024u /* its private part */
#define JAIL_NOBODY           65534u
#define JAIL_STATUS_MAX_BYTES 4096u

/* A descriptor and the number it has inside. */
struct jail_fd {
	int fd; /* borrowed */
	int as; /* JAIL_FD_FIRST to JAIL_FD_LAST, or 2 for error texts */
};

struct jail_start {
	const struct args *command; /* what runs inside */
	const struct jail_fd *fds;
	size_t fd_count;
	bool kvm; /* /dev/kvm is there inside */
	uint32_t memory_mib;
	uid_t uid;     /* the launcher is root: who it becomes; 0: nobody */
	int cgroup_fd; /* folder it is born in, borrowed; 0 or -1: none */
	uint64_t file_bytes; /* largest file it may write; 0 is none at all */
};

enum jail_status { JAIL_STARTING, JAIL_RUNNING, JAIL_EXITED };

/* What bubblewrap said on its status descriptor. */
struct jail_report {
	enum jail_status status;
	pid_t child_pid; /* in the launcher's pid namespace; 0 unknown */
	int exit_code;
};

MUST_CHECK enum err jail_args_build(const struct args *command, bool kvm,
				    struct args *args);
MUST_CHECK enum err jail_report_parse(struct jail_report *report,
				      const char *text, size_t len_bytes);
const char *jail_exit_text(int code);
void jail_limit_tasks(pid_t child);
MUST_CHECK enum err jail_become(uid_t uid, gid_t kvm_group);
MUST_CHECK enum err jail_run(const struct jail_start *start, pid_t *ret_pid,
			     int *ret_pid_fd);

#endif
