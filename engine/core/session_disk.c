/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_disk.c - what core has to do with a session's disks
 *
 * Runs in: kenazd.
 * Trusts:  the launcher that core started, for what the image's manifest says.
 * Never:   gives the file of a session's changes a name, or sees its key.
 *
 * Core opens the file, because the launcher may open nothing, and forgets it:
 * from then on only the launcher and QEMU hold it, so its blocks are free the
 * moment they are gone. Whether the image needs a disk only the launcher
 * knows; a folder that cannot give one is its refusal's reason.
 */
#include "engine/core/session_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Where changes lie while a session lives. */
static const char *disk_folder(const struct engine *e)
{
	return e->config->engine.disk_dir ? e->config->engine.disk_dir
					  : e->paths.state.path;
}

static enum err open_disk(const char *folder, uint32_t disk_mib, int *ret_fd,
			  char *ret_text, size_t cap_bytes)
{
	struct statvfs fs;
	uint64_t free_mib;
	int fd = open(folder, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		(void)snprintf(ret_text, cap_bytes,
			       "%.300s gives no file without a name (%s); set "
			       "engine.disk_dir to a folder on ext4, xfs, "
			       "btrfs or tmpfs, or limits.disk_mib to 0",
			       folder, strerror(errno));
		return ERR_SYS;
	}
	if (fstatvfs(fd, &fs) < 0)
		fs = (struct statvfs){0};
	free_mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
	if (free_mib < disk_mib) {
		close(fd);
		(void)snprintf(
			ret_text, cap_bytes,
			"%.300s has %llu MiB left; make room there, or set "
			"engine.disk_dir or limits.disk_mib",
			folder, (unsigned long long)free_mib);
		return ERR_LIMIT;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/**
 * session_disk_give() - Give the launcher a file for the session's changes
 * @e:		Engine
 * @launch:	The launcher, before launch_start
 *
 * Return: as chan_send_launch_disk().
 */
enum err session_disk_give(struct engine *e, struct chan *launch)
{
	uint32_t disk_mib = e->config->limits.disk_mib;
	struct msg_launch_disk m = {.disk_mib = disk_mib};
	char text[REASON_MAX_BYTES / 2] = "";
	int fd = -1;

	if (disk_mib && open_disk(disk_folder(e), disk_mib, &fd, text,
				  sizeof(text)) != ERR_OK)
		m.text = span_text(text);
	return chan_send_launch_disk(launch, &m, &fd, fd < 0 ? 0 : 1);
}

/** session_disk_take() - The launcher says what the disks are */
enum err session_disk_take(struct session_disk *d, struct span payload)
{
	struct msg_vm_disk m;
	enum err e = msg_vm_disk_get(payload, &m);

	if (e != ERR_OK || d->known)
		return e == ERR_OK ? ERR_STATE : e;
	memcpy(d->root_hash, m.root_hash, DIGEST_BYTES);
	memcpy(d->root, m.root, DIGEST_BYTES);
	d->root_bytes = m.root_bytes;
	d->disk_mib = m.disk_mib;
	(void)text_escape_line(m.filesystem, d->filesystem,
			       sizeof(d->filesystem));
	d->known = true;
	return ERR_OK;
}

/** session_disk_failed() - A read or write of the guest failed on the host */
enum err session_disk_failed(struct session *s, struct span payload)
{
	struct msg_vm_disk_failed m;
	struct buf b;
	enum err e = msg_vm_disk_failed_get(payload, &m);

	if (e != ERR_OK)
		return e;
	s->disk.failed = true;
	s->disk.no_space = m.no_space != 0;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	e = attrs_put_text(&b, "kenaz.reason",
			   span_text(m.no_space ? "no space left on the host"
						: "input or output error"));
	if (e == ERR_OK)
		session_note(s, "vm.disk_failed", buf_span(&b));
	buf_fini(&b);
	return ERR_OK;
}

static enum err put_hex(struct buf *b, const char *key, const uint8_t *digest)
{
	char text[2 * DIGEST_BYTES + 1];

	text_hex(digest, DIGEST_BYTES, text);
	return attrs_put_text(b, key, span_text(text));
}

/** session_disk_attrs() - The part of vm.start; nothing without disks */
enum err session_disk_attrs(const struct session_disk *d, struct buf *b)
{
	enum err e;

	if (!d->known)
		return ERR_OK;
	e = put_hex(b, "kenaz.image.root", d->root);
	if (e == ERR_OK)
		e = put_hex(b, "kenaz.image.root_hash", d->root_hash);
	if (e == ERR_OK)
		e = attrs_put_u64(b, "kenaz.vm.disk_mib", d->disk_mib);
	return e;
}

/** session_disk_show() - The part of session.show; nothing without disks */
void session_disk_show(struct jsonw *w, const struct session *s)
{
	if (!s->disk.known)
		return;
	jsonw_key(w, "disk");
	jsonw_begin_object(w);
	jsonw_key(w, "root");
	jsonw_hex(w, span_of(s->disk.root, DIGEST_BYTES));
	jsonw_key(w, "root_hash");
	jsonw_hex(w, span_of(s->disk.root_hash, DIGEST_BYTES));
	jsonw_put_u64(w, "root_bytes", s->disk.root_bytes);
	jsonw_put_cstr(w, "filesystem", s->disk.filesystem);
	jsonw_put_u64(w, "disk_mib", s->disk.disk_mib);
	if (s->disk.failed)
		jsonw_put_cstr(w, "failed",
			       s->disk.no_space ? "no space left on the host"
						: "input or output error");
	jsonw_end_object(w);
}
