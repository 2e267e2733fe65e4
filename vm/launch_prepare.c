/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_prepare.c - all that comes before QEMU: image, limits, fingerprint
 *
 * Runs in: kenaz-launch.
 * Trusts:  core. Not the image, which is verified against its manifest.
 * Never:   starts anything.
 */
#include <string.h>

#include "engine/base/text.h"
#include "engine/proto/bootdoc.h"
#include "vm/jail.h"
#include "vm/launch_state.h"
#include "vm/vsock_packet.h"

static enum err check_request(struct launch *l,
			      const struct msg_launch_start *start,
			      struct buf *reason)
{
	bool kvm = span_is(start->accelerator, "kvm");
	enum err e;

	if (!kvm && !span_is(start->accelerator, "tcg")) {
		return buf_put_text(reason, "the accelerator must be kvm or "
					    "tcg") == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->memory_mib < l->image.min_memory_mib ||
	    start->memory_mib > MEMORY_MAX_MIB) {
		return buf_printf(reason,
				  "memory of %u MiB: image %s needs %u to %u "
				  "MiB",
				  start->memory_mib, l->image.name,
				  l->image.min_memory_mib,
				  MEMORY_MAX_MIB) == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->vcpus == 0 || start->vcpus > QEMU_VCPUS_MAX) {
		return buf_printf(reason, "%u vCPUs: 1 to %u are possible",
				  start->vcpus, QEMU_VCPUS_MAX) == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->guest_cid <= VSOCK_HOST_CID ||
	    start->guest_cid == UINT32_MAX) {
		return buf_put_text(reason, "guest CID out of range") == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	if (start->start_mode > VM_START_RESTORE) {
		return buf_put_text(reason, "no such kind of start") == ERR_OK
			       ? ERR_RANGE
			       : ERR_MEMORY;
	}
	l->config = (struct qemu_config){
		.kvm = kvm,
		.vsock = l->kernel ? QEMU_VSOCK_KERNEL : QEMU_VSOCK_DEVICE,
		.start = (enum vm_start)start->start_mode,
		.memory_mib = start->memory_mib,
		.vcpus = start->vcpus,
		.cpu = l->image.cpu,
		.command_line = l->command_line,
		.uid = l->limits.uid,
		.cgroup_fd = l->limits.cgroup_fd,
	};
	l->guest_cid =
		l->kernel ? vhost_kernel_cid(l->kernel) : start->guest_cid;
	l->config.guest_cid = l->guest_cid;
	/* The guest looks for what it is told at boot only when told so. */
	e = text_format(l->command_line, sizeof(l->command_line), "%s%s",
			l->image.command_line,
			l->kernel ? " " BOOTDOC_OPTION : "");
	return e == ERR_OK ? launch_add_disks(l, reason) : e;
}

/* The vector as core writes it down: one argument a line. None has a line's
 * end in it, or this fails: core could not tell where it ends. */
static enum err put_vector(const struct args *args, struct buf *out)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < args->count; i++) {
		if (strchr(args->list[i], '\n'))
			return ERR_FORMAT;
		if (i)
			e = buf_put_u8(out, '\n');
		if (e == ERR_OK)
			e = buf_put_text(out, args->list[i]);
	}
	return e;
}

static enum err make_fingerprint(struct launch *l, struct buf *ret_argv)
{
	struct args command = {0}, around = {0};
	struct qemu_config canonical = l->config;
	struct buf document;
	enum err e;

	/* A random number would make equal machines differ. */
	canonical.guest_cid = QEMU_CANONICAL_CID;
	buf_init(&document, 16384);
	e = qemu_args_build(&canonical, &command);
	if (e == ERR_OK)
		e = jail_args_build(&command, l->config.kvm, &around);
	if (e == ERR_OK)
		e = fingerprint_args(&command, l->fingerprint.arguments);
	if (e == ERR_OK)
		e = fingerprint_args(&around, l->fingerprint.jail);
	if (e == ERR_OK)
		e = fingerprint_document(&l->fingerprint, &l->image, &l->config,
					 &document);
	if (e == ERR_OK)
		digest_sha256(buf_span(&document), l->fingerprint.digest);
	if (e == ERR_OK)
		e = put_vector(&around, ret_argv);
	args_fini(&command);
	args_fini(&around);
	buf_fini(&document);
	return e;
}

static enum err send_fingerprint(struct launch *l, struct span argv)
{
	const struct fingerprint *f = &l->fingerprint;
	struct msg_vm_fingerprint m = {
		.image = span_text(l->image.name),
		.qemu_version = span_text(f->qemu_version),
		.accelerator = span_text(l->config.kvm ? "kvm" : "tcg"),
		.cpu = span_text(qemu_cpu(&l->config)),
		.kernel_command_line = span_text(l->config.command_line),
		.image_key = span_text(l->image.signer.name),
		.image_key_id = span_text(l->image.signer.id),
		.start = span_text(fingerprint_start_name(l->config.start)),
		.argv = argv,
		.vsock = span_text(qemu_vsock_text(l->config.vsock)),
	};

	memcpy(m.fingerprint, f->digest, DIGEST_BYTES);
	memcpy(m.manifest, l->image.manifest_digest, DIGEST_BYTES);
	memcpy(m.kernel, l->image.kernel.digest, DIGEST_BYTES);
	memcpy(m.initrd, l->image.initrd.digest, DIGEST_BYTES);
	memcpy(m.qemu, f->qemu, DIGEST_BYTES);
	memcpy(m.arguments, f->arguments, DIGEST_BYTES);
	memcpy(m.template, f->template, DIGEST_BYTES);
	memcpy(m.jail, f->jail, DIGEST_BYTES);
	return chan_send_vm_fingerprint(l->core, &m, NULL, 0);
}

/* Secret and context are of one boot: nothing is restored on the kernel's. */
static enum err check_kernel(struct launch *l,
			     const struct msg_launch_start *start,
			     struct buf *reason)
{
	const char *text = l->kernel_reason;

	if (l->kernel && start->start_mode == VM_START_COLD)
		return ERR_OK;
	if (l->kernel)
		text = "a template cannot be used with engine.vsock = "
		       "\"kernel\"";
	return buf_put_text(reason, text) == ERR_OK ? ERR_UNSUPPORTED
						    : ERR_MEMORY;
}

/**
 * launch_prepare() - Do everything up to vm_fingerprint
 * @l:		Launcher
 * @start:	What core asked for
 * @dir_fd:	The image's folder, borrowed
 * @template:	Memory and state of the template to go on from, borrowed; or
 *		-1 and -1
 * @reason:	Receives the sentence of a failure, or stays empty
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_RANGE; ERR_FORMAT; ERR_SYS; ERR_MEMORY.
 */
enum err launch_prepare(struct launch *l, const struct msg_launch_start *start,
			int dir_fd, const int template[2], struct buf *reason)
{
	char name[NAME_MAX_BYTES + 1];
	struct buf argv;
	enum err e = span_copy_text(start->image, name, sizeof(name));

	if (e == ERR_OK && l->wants_kernel)
		e = check_kernel(l, start, reason);
	/* The files of the image are in the template already. */
	if (e == ERR_OK && start->start_mode == VM_START_RESTORE)
		e = image_read(dir_fd, name, &l->keys, &l->image, reason);
	else if (e == ERR_OK)
		e = image_open(dir_fd, name, &l->keys, &l->image, reason);
	if (e == ERR_OK)
		e = check_request(l, start, reason);
	if (e != ERR_OK)
		return e;
	launch_send_stage(l, VM_STAGE_VERIFIED);
	e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_NOT_FOUND) {
		return buf_put_text(reason,
				    QEMU_PROGRAM " is not installed; install "
						 "qemu-system-x86") == ERR_OK
			       ? e
			       : ERR_MEMORY;
	}
	buf_init(&argv, ARGV_TEXT_MAX_BYTES);
	if (e == ERR_OK)
		e = launch_make_memory(l, start, template, reason);
	if (e == ERR_OK)
		e = make_fingerprint(l, &argv);
	if (e == ERR_OK && l->config.start != VM_START_MAKE)
		e = launch_make_device(l);
	if (e == ERR_OK)
		e = launch_send_disks(l);
	if (e == ERR_OK)
		e = send_fingerprint(l, buf_span(&argv));
	buf_fini(&argv);
	return e;
}
