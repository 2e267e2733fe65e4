/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.c - what the launcher gives up once QEMU is on its way
 *
 * Runs in: kenaz-launch.
 * Trusts:  the kernel.
 * Never:   is put off until QEMU or the guest could have said something.
 *
 * Theory of operation. The launcher starts one bubblewrap, which needs mounts
 * and namespaces; Landlock and a list of system calls are inherited and would
 * take both away. A helper process that starts bubblewrap for a launcher that
 * is confined from the first line would need the same rights as long as it
 * lives, and a channel that parses what the launcher says. So the launcher
 * does it itself, before it has read one byte of QEMU's or the guest's (the
 * image is verified by digests, and core is trusted), and loses the rights in
 * the same turn of the loop: afterwards it can neither start a program nor
 * open a path nor make a socket that reaches anybody.
 */
#include "vm/confine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "vm/jail.h"

/**
 * confine_offer() - Offer this process and QEMU to a host short of memory
 *
 * Called first thing: later the process cannot open its own files. What it
 * starts inherits it. The engine's permanent processes stay at 0.
 */
void confine_offer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", CONFINE_OOM_SCORE);

	if (fd < 0 || write(fd, text, (size_t)len) != len)
		log_debug("no score for a host short of memory");
	if (fd >= 0)
		close(fd);
}

/**
 * confine_enter() - Keep the descriptors and lose the rest
 * @uid:	QEMU's user, when the launcher is root; 0 is nobody
 * @vsock:	Streams come from the host's vsock device
 *
 * The same user as QEMU's: else it could not end it. QEMU sees no process
 * but itself, and this one cannot be traced.
 *
 * Return: ERR_OK; ERR_JAIL; ERR_SYS; ERR_CLOSED when core has gone meanwhile.
 */
enum err confine_enter(uid_t uid, bool vsock)
{
	pid_t parent = getppid();
	int death_signal = 0;
	enum err e = ERR_OK;

	/* None where sessions outlive the engine. A change of user forgets it.
	 */
	if (prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) < 0)
		return ERR_JAIL;
	e = jail_become(uid, 0);
	if (e != ERR_OK)
		return e;
	if (!death_signal)
		return jail_enter(vsock ? JAIL_LAUNCH_VM_VSOCK
					: JAIL_LAUNCH_VM);
	if (prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0)
		return ERR_JAIL;
	if (getppid() != parent)
		return ERR_CLOSED;
	return jail_enter(vsock ? JAIL_LAUNCH_VM_VSOCK : JAIL_LAUNCH_VM);
}
