/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vt_jail.c - give up everything but reading 0 and writing 1 and 2
 *
 * Runs in: kenaz-vt, before the first byte is read.
 * Trusts:  the kernel.
 * Never:   leaves a descriptor, a file, a new mapping or a new process within
 *	    reach of the parser: memory is set up before.
 */
#include "tui/vt/vt_jail.h"

#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static enum err limit(__rlimit_resource_t what, rlim_t most)
{
	const struct rlimit r = {.rlim_cur = most, .rlim_max = most};

	return setrlimit(what, &r) == 0 ? ERR_OK : ERR_SYS;
}

static enum err close_filter(void)
{
	static const struct {
		int call;
		int fd; /* -1: any arguments */
	} allowed[] = {
		{SCMP_SYS(read), STDIN_FILENO},
		{SCMP_SYS(write), STDOUT_FILENO},
		{SCMP_SYS(write), STDERR_FILENO},
		{SCMP_SYS(exit_group), -1},
		{SCMP_SYS(exit), -1},
		{SCMP_SYS(rt_sigreturn), -1},
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	enum err e = ERR_JAIL;
	size_t i;
	int r;

	if (!ctx)
		return ERR_MEMORY;
	for (i = 0; i < ARRAY_SIZE(allowed); i++) {
		if (allowed[i].fd < 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW,
					     allowed[i].call, 0);
		else
			r = seccomp_rule_add(
				ctx, SCMP_ACT_ALLOW, allowed[i].call, 1,
				SCMP_A0(SCMP_CMP_EQ,
					(scmp_datum_t)allowed[i].fd));
		if (r != 0)
			goto out;
	}
	if (seccomp_load(ctx) == 0)
		e = ERR_OK;
out:
	seccomp_release(ctx);
	return e;
}

/*
 * An empty network namespace where the system allows one. Where it does not,
 * the filter alone keeps the network away: no call that makes a socket is on
 * its list.
 */
static bool leave_network(void)
{
	return unshare(CLONE_NEWNET) == 0 ||
	       unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

/**
 * vt_jail_enter() - Close the sandbox around the calling process
 *
 * No new privileges, no core dump, no descriptor above 2, limits on memory
 * and processor time, and a system-call filter whose violation kills.
 *
 * Return: ERR_OK; ERR_SYS; ERR_JAIL; ERR_MEMORY. The caller ends on failure.
 */
enum err vt_jail_enter(void)
{
	enum err e = ERR_OK;

	(void)leave_network();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    close_range(3, ~0u, 0) != 0)
		return ERR_SYS;
	e = limit(RLIMIT_CORE, 0);
	if (e == ERR_OK)
		e = limit(RLIMIT_CPU, VT_CPU_MAX_S);
	if (e == ERR_OK)
		e = limit(RLIMIT_AS, VT_MEMORY_MAX_BYTES);
	if (e == ERR_OK)
		e = limit(RLIMIT_NPROC, 0);
	if (e == ERR_OK)
		e = limit(RLIMIT_NOFILE, 3);
	return e == ERR_OK ? close_filter() : e;
}
