/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_prepare.c - all that comes before QEMU: image, limits, fingerprint
 *
 * Runs in: kenaz-launch.
 * Trusts:  core. Not the image, which is verified against its manifest.
 * Never:   starts anything.
 */
#include <string.h>

#include "vm/jail.h"
#include "vm/launch_state.h"
#include "vm/vsock_packet.h"

static enum err check_request(struct launch *l,
			      const struct msg_launch_start *start,
			      struct buf *reason)
{
	bool kvm = span_is(start->accelerator, "kvm");

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
	l->config = (struct qemu_config){
		.kvm = kvm,
		.vsock = true,
		.memory_mib = start->memory_mib,
		.vcpus = start->vcpus,
		.cpu = l->image.cpu,
		.command_line = l->image.command_line,
	};
	l->guest_cid = start->guest_cid;
	return ERR_OK;
}

static enum err make_fingerprint(struct launch *l)
{
	struct args command = {0}, around = {0};
	struct buf document;
	enum err e;

	buf_init(&document, 16384);
	e = qemu_args_build(&l->config, &command);
	if (e == ERR_OK)
		e = jail_args_build(&command, l->config.kvm, &around);
	if (e == ERR_OK)
		e = fingerprint_args(&command, l->fingerprint.arguments);
	if (e == ERR_OK)
		e = fingerprint_args(&around, l->fingerprint.jail);
	if (e == ERR_OK)
		e = fingerprint_qemu(QEMU_PROGRAM, &l->fingerprint);
	if (e == ERR_OK)
		e = fingerprint_document(&l->fingerprint, &l->image, &l->config,
					 &document);
	if (e == ERR_OK)
		digest_sha256(buf_span(&document), l->fingerprint.digest);
	args_fini(&command);
	args_fini(&around);
	buf_fini(&document);
	return e;
}

static enum err send_fingerprint(struct launch *l)
{
	const struct fingerprint *f = &l->fingerprint;
	struct msg_vm_fingerprint m = {
		.image = span_text(l->image.name),
		.qemu_version = span_text(f->qemu_version),
		.accelerator = span_text(l->config.kvm ? "kvm" : "tcg"),
		.cpu = span_text(qemu_cpu(&l->config)),
		.kernel_command_line = span_text(l->image.command_line),
	};

	memcpy(m.fingerprint, f->digest, DIGEST_BYTES);
	memcpy(m.manifest, l->image.manifest_digest, DIGEST_BYTES);
	memcpy(m.kernel, l->image.kernel.digest, DIGEST_BYTES);
	memcpy(m.initrd, l->image.initrd.digest, DIGEST_BYTES);
	memcpy(m.qemu, f->qemu, DIGEST_BYTES);
	memcpy(m.arguments, f->arguments, DIGEST_BYTES);
	return chan_send_vm_fingerprint(l->core, &m, NULL, 0);
}

/**
 * launch_prepare() - Do everything up to vm_fingerprint
 * @l:		Launcher
 * @start:	What core asked for
 * @dir_fd:	The image's folder, borrowed
 * @reason:	Receives the sentence of a failure, or stays empty
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_RANGE; ERR_FORMAT; ERR_SYS; ERR_MEMORY.
 */
enum err launch_prepare(struct launch *l, const struct msg_launch_start *start,
			int dir_fd, struct buf *reason)
{
	char name[NAME_MAX_BYTES + 1];
	enum err e = span_copy_text(start->image, name, sizeof(name));

	if (e == ERR_OK)
		e = image_open(dir_fd, name, &l->image, reason);
	if (e == ERR_OK)
		e = check_request(l, start, reason);
	if (e != ERR_OK)
		return e;
	launch_send_stage(l, VM_STAGE_VERIFIED);
	e = make_fingerprint(l);
	if (e == ERR_NOT_FOUND) {
		return buf_put_text(reason,
				    QEMU_PROGRAM " is not installed; install "
						 "qemu-system-x86") == ERR_OK
			       ? e
			       : ERR_MEMORY;
	}
	if (e == ERR_OK)
		e = memory_new(l->config.memory_mib, &l->memory);
	if (e == ERR_OK)
		e = launch_make_device(l);
	if (e == ERR_OK)
		e = send_fingerprint(l);
	return e;
}
