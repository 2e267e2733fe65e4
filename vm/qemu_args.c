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

#include "engine/proto/bootdoc.h"
#include "vm/memory.h"

/** qemu_cpu() - The CPU model that a configuration leads to */
const char *qemu_cpu(const struct qemu_config *config)
{
	return config->kvm ? "host" : config->cpu;
}

/** qemu_vsock_text() - How people and logs call a backend */
const char *qemu_vsock_text(enum qemu_vsock vsock)
{
	static const char *const texts[] = {
		[QEMU_VSOCK_NONE] = "none",
		[QEMU_VSOCK_DEVICE] = "device",
		[QEMU_VSOCK_KERNEL] = "kernel",
	};

	return texts[vsock];
}

static void add_machine(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-machine");
	args_add(a, "q35,memory-backend=m0,mem-merge=off,dump-guest-core=off,"
		    "usb=off,smbus=off,sata=off,vmport=off");
	args_add(a, "-global");
	args_add(a, "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
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

/* A restored guest has its kernel in its memory. */
static void add_boot(const struct qemu_config *c, struct args *a)
{
	if (c->start == VM_START_RESTORE)
		return;
	args_add(a, "-kernel");
	args_addf(a, "/proc/self/fd/%d", QEMU_FD_KERNEL);
	args_add(a, "-initrd");
	args_addf(a, "/proc/self/fd/%d", QEMU_FD_INITRD);
	args_add(a, "-append");
	args_add(a, c->command_line);
}

/* A template has no such device: a clone would have the template's secret. */
static void add_kernel_vsock(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-device");
	args_addf(a,
		  "vhost-vsock-pci,id=" QEMU_VSOCK_ID
		  ",vhostfd=%d,guest-cid=%u,bus=" QEMU_VSOCK_PORT,
		  QEMU_FD_VSOCK, c->guest_cid);
	args_add(a, "-fw_cfg");
	args_addf(a, "name=" BOOTDOC_NAME ",file=/proc/self/fd/%d",
		  QEMU_FD_BOOT);
}

static void add_devices(struct args *a)
{
	args_add(a, "-chardev");
	args_addf(a, "socket,id=console,fd=%d", QEMU_FD_CONSOLE);
	args_add(a, "-device");
	args_add(a, "isa-serial,chardev=console");
	args_add(a, "-chardev");
	args_addf(a, "socket,id=monitor,fd=%d", QEMU_FD_QMP);
	args_add(a, "-mon");
	args_add(a, "chardev=monitor,mode=control");
}

/*
 * vhost-user-vsock cannot be migrated, not even be there when a state is
 * loaded: a template has the empty port, and a clone plugs the device after
 * the load (vm/migration.c), before its CPUs run. The port has no power
 * switch, and no ACPI code is told of the device: guestd looks for it
 * (guest/plug.c), a tenth of a second before the kernel's own driver would.
 */
static void add_vsock(const struct qemu_config *c, struct args *a)
{
	args_add(a, "-device");
	args_add(a, "pcie-root-port,id=" QEMU_VSOCK_PORT
		    ",chassis=1,slot=1,power_controller_present=off");
	if (c->vsock == QEMU_VSOCK_KERNEL)
		add_kernel_vsock(c, a);
	if (c->vsock == QEMU_VSOCK_KERNEL || c->start == VM_START_MAKE)
		return;
	args_add(a, "-chardev");
	args_addf(a, "socket,id=" QEMU_VSOCK_CHARDEV ",fd=%d", QEMU_FD_VSOCK);
	if (c->start == VM_START_RESTORE) {
		args_add(a, "-S");
		args_add(a, "-incoming");
		args_add(a, "defer");
		return;
	}
	args_add(a, "-device");
	args_add(a, QEMU_VSOCK_DRIVER ",id=" QEMU_VSOCK_ID
				      ",chardev=" QEMU_VSOCK_CHARDEV
				      ",bus=" QEMU_VSOCK_PORT);
}

/*
 * Descriptors again, as members of sets: QEMU opens no path. What the guest
 * has flushed is worth nothing after a crash, so nobody waits for the host's
 * disk; a host that is full or broken is the guest's I/O error.
 */
static void add_disks(const struct qemu_config *c, struct args *a)
{
	if (c->root) {
		args_add(a, "-add-fd");
		args_addf(a, "fd=%d,set=%d", QEMU_FD_ROOT, QEMU_FD_ROOT);
		args_add(a, "-blockdev");
		args_addf(a,
			  "driver=file,node-name=root0,filename=/dev/fdset/%d,"
			  "read-only=on,locking=off",
			  QEMU_FD_ROOT);
		args_add(a, "-device");
		args_add(a, "virtio-blk-pci,id=root,drive=root0,num-queues=1,"
			    "disable-legacy=on,rerror=report,werror=report");
	}
	if (c->disk) {
		args_add(a, "-add-fd");
		args_addf(a, "fd=%d,set=%d", QEMU_FD_DISK, QEMU_FD_DISK);
		args_add(a, "-object");
		args_addf(a,
			  "secret,id=diskkey,format=raw,"
			  "file=/proc/self/fd/%d",
			  QEMU_FD_DISK_KEY);
		args_add(a, "-blockdev");
		args_addf(a,
			  "driver=luks,node-name=disk0,key-secret=diskkey,"
			  "cache.no-flush=on,file.driver=file,"
			  "file.filename=/dev/fdset/%d,file.locking=off",
			  QEMU_FD_DISK);
		args_add(a, "-device");
		args_add(a, "virtio-blk-pci,id=disk,drive=disk0,num-queues=1,"
			    "disable-legacy=on,rerror=report,werror=report");
	}
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
	add_devices(args);
	if (config->vsock)
		add_vsock(config, args);
	add_disks(config, args);
	return args->status;
}
