/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_disk.c - the disks of a session: its image's root, its own changes
 *
 * Runs in: kenaz-launch.
 * Trusts:  core, which opened the file for the changes.
 * Never:   gives a root file to QEMU without telling the guest its root hash.
 */
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "vm/launch_state.h"

/** launch_on_disk() - Core's file for the changes, or why there is none */
enum err launch_on_disk(struct launch *l, struct chan_message *m)
{
	struct msg_launch_disk disk;
	enum err e = msg_launch_disk_get(m->payload, &disk);

	if (e != ERR_OK || l->state != L_NEW || l->disk.fd >= 0)
		return e == ERR_OK ? ERR_STATE : e;
	l->disk.size_mib = disk.disk_mib;
	if (m->n_fds)
		l->disk.fd = launch_take_fd(m, 0);
	return buf_put_span(&l->disk_text, disk.text);
}

/* What guest/root.c reads. */
static enum err make_command_line(struct launch *l, struct buf *reason)
{
	const struct image_root *root = &l->image.root;
	char hash[DIGEST_HEX_BYTES], salt[DIGEST_HEX_BYTES];
	size_t len = strlen(l->command_line);
	enum err e = ERR_LIMIT;

	text_hex(root->verity.root_hash, DIGEST_BYTES, hash);
	text_hex(root->verity.salt, DIGEST_BYTES, salt);
	if (len < IMAGE_COMMAND_LINE_BYTES)
		e = text_format(
			l->command_line + len, IMAGE_COMMAND_LINE_BYTES - len,
			" kenaz.root=%s:%llu:%llu:%s:%s%s",
			manifest_filesystem_name(root->filesystem),
			(unsigned long long)root->verity.data_blocks,
			(unsigned long long)(root->verity.hash_offset_bytes /
					     IMAGE_BLOCK_BYTES),
			hash, salt, l->config.disk ? " kenaz.disk=1" : "");
	if (e == ERR_LIMIT &&
	    buf_put_text(reason, "the image's kernel command line is too long "
				 "to add its root image") != ERR_OK)
		e = ERR_MEMORY;
	return e;
}

/**
 * launch_add_disks() - Add an image's root and a disk for changes to the VM
 * @l:		Launcher with image and config
 * @reason:	One sentence when it fails
 *
 * Without a root file in the image nothing is added.
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for a template; ERR_NOT_FOUND; ERR_LIMIT;
 * ERR_CRYPTO; ERR_SYS; ERR_MEMORY.
 */
enum err launch_add_disks(struct launch *l, struct buf *reason)
{
	const char *text = "the state folder gave none";
	int fd = l->disk.fd;
	uint32_t size_mib = l->disk.size_mib;
	enum err e = ERR_OK;

	if (!l->image.has_root) {
		disk_close(&l->disk);
		return ERR_OK;
	}
	if (l->config.start != VM_START_COLD)
		return buf_printf(reason,
				  "image %s has a root file: no template can "
				  "be made of it",
				  l->image.name) == ERR_OK
			       ? ERR_UNSUPPORTED
			       : ERR_MEMORY;
	l->config.root = true;
	if (size_mib && fd < 0) {
		if (l->disk_text.len_bytes &&
		    buf_terminate(&l->disk_text, &text) != ERR_OK)
			return ERR_MEMORY;
		return buf_printf(reason, "image %s needs a disk of %u MiB: %s",
				  l->image.name, size_mib, text) == ERR_OK
			       ? ERR_NOT_FOUND
			       : ERR_MEMORY;
	}
	if (size_mib) {
		l->config.disk = &l->disk;
		e = disk_make(&l->disk, fd, size_mib, reason);
	}
	return e == ERR_OK ? make_command_line(l, reason) : e;
}

/** launch_send_disks() - Tell core what the VM's disks are */
enum err launch_send_disks(struct launch *l)
{
	const struct image_root *root = &l->image.root;
	struct msg_vm_disk m = {
		.root_bytes = root->file.size_bytes,
		.filesystem =
			span_text(manifest_filesystem_name(root->filesystem)),
		.disk_mib = l->config.disk ? l->config.disk->size_mib : 0,
	};

	if (!l->config.root)
		return ERR_OK;
	memcpy(m.root_hash, root->verity.root_hash, DIGEST_BYTES);
	memcpy(m.root, root->file.digest, DIGEST_BYTES);
	return chan_send_vm_disk(l->core, &m, NULL, 0);
}

/** launch_disk_failed() - The guest has got an I/O error from the host */
void launch_disk_failed(void *arg, bool no_space)
{
	struct launch *l = arg;
	struct msg_vm_disk_failed m = {.no_space = no_space};

	if (l->disk_failed)
		return;
	l->disk_failed = true;
	log_warn("the host could not read or write a disk of the guest%s",
		 no_space ? ": no space left" : "");
	if (chan_send_vm_disk_failed(l->core, &m, NULL, 0) != ERR_OK)
		log_debug("core was not told of a failed disk");
}
