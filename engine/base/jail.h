/* SPDX-License-Identifier: Apache-2.0 */
/* jail.h - what each process gives up for good before it meets foreign bytes */
#ifndef KENAZ_BASE_JAIL_H
#define KENAZ_BASE_JAIL_H

#include "engine/base/err.h"

/* One kind per program; the table in jail.c says what each keeps. */
enum jail_kind {
	JAIL_SPAWNER,   /* starts programs: no-new-privileges and limits only */
	JAIL_CORE,      /* files, unix sockets; no network, no programs */
	JAIL_AUDIT,     /* files under passed directories; no network */
	JAIL_BROKER,    /* network, vault files, resolver threads */
	JAIL_EGRESS,    /* network, resolver threads */
	JAIL_LAUNCH,    /* programs (the VM's jail); no network */
	JAIL_LAUNCH_VM, /* from QEMU's start on: its descriptors only */
	JAIL_LAUNCH_VM_VSOCK, /* the same, with the host's vsock */
	JAIL_GATE,            /* its descriptors only */
	JAIL_SCRIPTED,        /* its descriptors only */
	JAIL_CLIENT,   /* the user's command: starts programs, no core files */
	JAIL_KEYCHAIN, /* files and unix sockets of the session's bus */
	JAIL_VERIFY,   /* files only; no network namespace is needed */
	JAIL_COUNT
};

MUST_CHECK enum err jail_enter(enum jail_kind kind);

#endif
