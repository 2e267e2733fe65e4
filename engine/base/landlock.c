/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.c - give up files, TCP, foreign sockets and signals for good
 *
 * Runs in: kenaz-launch once QEMU is on its way, and QEMU itself.
 * Trusts:  the kernel.
 * Never:   opens a path: a set without rules allows nothing it handles.
 *
 * Raw system calls with the numbers of the kernel's uapi: the C library has
 * no wrappers, and Debian 12's header knows the first versions only. What an
 * older kernel does not know is left out; seccomp and namespaces hold then.
 */
#include "engine/base/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_VERSION 1u /* ask for the version, make nothing */

/* Bits of handled_access_fs up to each version. */
#define FS_VERSION_1 ((1ull << 13) - 1) /* execute ... make symlink */
#define FS_REFER     (1ull << 13)       /* version 2 */
#define FS_TRUNCATE  (1ull << 14)       /* version 3 */
#define FS_IOCTL_DEV (1ull << 15)       /* version 5 */
#define NET_TCP      3ull               /* version 4: bind, connect */
#define SCOPE_SOCKET 1ull               /* version 6 */
#define SCOPE_SIGNAL 2ull               /* version 6 */

/* struct landlock_ruleset_attr, version 6. */
struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

/** landlock_version() - What the kernel offers; 0 is nothing */
int landlock_version(void)
{
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);

	return version < 0 ? 0 : (int)version;
}

static struct ruleset ruleset_of(unsigned losses, int version)
{
	struct ruleset set = {0};

	if (losses & LANDLOCK_NO_FILES) {
		set.handled_access_fs = FS_VERSION_1;
		if (version >= 2)
			set.handled_access_fs |= FS_REFER;
		if (version >= 3)
			set.handled_access_fs |= FS_TRUNCATE;
		if (version >= 5)
			set.handled_access_fs |= FS_IOCTL_DEV;
	}
	if (losses & LANDLOCK_NO_TCP && version >= 4)
		set.handled_access_net = NET_TCP;
	if (losses & LANDLOCK_NO_FOREIGN_SOCKETS && version >= 6)
		set.scoped |= SCOPE_SOCKET;
	if (losses & LANDLOCK_NO_FOREIGN_SIGNALS && version >= 6)
		set.scoped |= SCOPE_SIGNAL;
	return set;
}

static size_t ruleset_size(int version)
{
	return version >= 6   ? sizeof(struct ruleset)
	       : version >= 4 ? offsetof(struct ruleset, scoped)
			      : offsetof(struct ruleset, handled_access_net);
}

/**
 * landlock_enter() - Lose rights; safe between fork and exec
 * @losses:	Bits of enum landlock_loss
 *
 * The caller must have set no_new_privs. A domain that handles files also
 * denies mount(2): whoever starts bubblewrap must not lose them before.
 *
 * Return: ERR_OK; ERR_UNSUPPORTED when the kernel knows nothing of it;
 *	   ERR_JAIL with errno.
 */
enum err landlock_enter(unsigned losses)
{
	int version = landlock_version();
	struct ruleset set;
	long fd, rc;
	int saved;

	if (version == 0)
		return ERR_UNSUPPORTED;
	set = ruleset_of(losses, version);
	if (!set.handled_access_fs && !set.handled_access_net && !set.scoped)
		return ERR_UNSUPPORTED;
	fd = syscall(SYS_landlock_create_ruleset, &set, ruleset_size(version),
		     0);
	if (fd < 0)
		return ERR_JAIL;
	rc = syscall(SYS_landlock_restrict_self, fd, 0);
	saved = errno;
	(void)close((int)fd);
	errno = saved;
	return rc < 0 ? ERR_JAIL : ERR_OK;
}
