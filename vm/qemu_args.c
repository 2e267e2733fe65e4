/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu_args.c - the canonical arguments of a session's QEMU
 *
 * Runs in: kenaz-launch; pure.
 * Trusts:  the configuration, whose texts the image parser has checked.
 * Never:   names a path but QEMU's own, a secret, or a network device.
 *
 * The machine is q35 with what the guest needs and nothing else: its vsock
 * device sits on a root port, so that it can be plugged after a restore.
 * Everything that QEMU opens is a descriptor at a fixed number, which makes
 * the vector equal for equal sessions; the fingerprint hashes it as it is.
 */
#include "vm/qemu_args.h"

#include "vm/memory.h"

/** qemu_cpu() - The CPU model that a configuration leads to */
const char *qemu_cpu(const struct qemu_config *config)
{
	return config->kvm ? "host" : config->cpu;
}

static void add_machine(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-machine");
	args_add(a, "q35,memory-backend=m0,mem-merge=off,dump-guest-core=off,"
		    "usb=off,smbus=off,sata=off,vmport=off");
	args_add(a, "-accel");
	if (c->kvm)
		args_add(a, "kvm");
	else
		args_addf(a, "tcg,tb-size=%u", QEMU_TCG_TB_MIB);
	args_add(a, "-cpu");
	args_add(a, qemu_cpu(c));
	args_add(a, "-smp");
	args_addf(a, "%u", c->vcpus);
	args_add(a, "-m");
	args_addf(a, "%uM", c->memory_mib);
	args_add(a, "-object");
	args_addf(a,
		  "memory-backend-file,id=m0,size=%uM,"
		  "mem-path=/proc/self/fd/%d,share=on,merge=off,dump=off",
		  c->memory_mib, QEMU_FD_MEMORY);
}

static void add_boot(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-kernel");
	args_addf(a, "/proc/self/fd/%d", QEMU_FD_KERNEL);
	args_add(a, "-initrd");
	args_addf(a, "/proc/self/fd/%d", QEMU_FD_INITRD);
	args_add(a, "-append");
	args_add(a, c->command_line);
}

static void add_devices(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-chardev");
	args_addf(a, "socket,id=console,fd=%d", QEMU_FD_CONSOLE);
	args_add(a, "-device");
	args_add(a, "isa-serial,chardev=console");
	args_add(a, "-chardev");
	args_addf(a, "socket,id=monitor,fd=%d", QEMU_FD_QMP);
	args_add(a, "-mon");
	args_add(a, "chardev=monitor,mode=control");
	if (!c->vsock)
		return;
	args_add(a, "-chardev");
	args_addf(a, "socket,id=vsock,fd=%d", QEMU_FD_VSOCK);
	args_add(a, "-device");
	args_add(a, "pcie-root-port,id=port0,chassis=1,slot=1");
	args_add(a, "-device");
	args_add(a, "vhost-user-vsock-pci,id=vsock0,chardev=vsock,bus=port0");
}

/**
 * qemu_args_build() - Build the vector
 * @config:	What the session needs
 * @args:	Empty; args_fini() when done, also after a failure
 *
 * Return: ERR_OK; ERR_RANGE; ERR_LIMIT for texts too long; ERR_MEMORY.
 */
enum err qemu_args_build(const struct qemu_config *config, struct args *args)
{
	if (config->memory_mib < MEMORY_MIN_MIB ||
	    config->memory_mib > MEMORY_MAX_MIB || config->vcpus == 0 ||
	    config->vcpus > QEMU_VCPUS_MAX)
		return ERR_RANGE;
	args_add(args, QEMU_PROGRAM);
	args_add(args, "-nodefaults");
	args_add(args, "-no-user-config");
	args_add(args, "-no-reboot");
	args_add(args, "-display");
	args_add(args, "none");
	args_add(args, "-sandbox");
	args_add(args, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
		       "resourcecontrol=deny");
	add_machine(config, args);
	add_boot(config, args);
	add_devices(config, args);
	return args->status;
}
