/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verity.c - a block device whose every block is checked when it is read
 *
 * Runs in: kenaz-guestd as PID 1, before anything of the session runs.
 * Trusts:  the kernel command line, whose root hash the host verified.
 * Never:   makes a device that can be written.
 *
 * The three requests of the device mapper that dmsetup would make (Linux,
 * include/uapi/linux/dm-ioctl.h; Documentation/admin-guide/device-mapper/
 * verity.rst): create, load a table of one target, resume.
 */
#include "guest/verity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CONTROL_PATH       "/dev/mapper/control"
#define DEVICE_NAME        "root"
#define SECTOR_BYTES       512u
#define TABLE_TEXT_BYTES   512u
#define SECTORS_IN_A_BLOCK (VERITY_BLOCK_BYTES / SECTOR_BYTES)

/* One request with room for one target. */
struct request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char text[TABLE_TEXT_BYTES];
};

static void begin(struct request *r, uint32_t flags)
{
	memset(r, 0, sizeof(*r));
	r->head.version[0] = DM_VERSION_MAJOR;
	r->head.data_size = sizeof(*r);
	r->head.data_start = offsetof(struct request, target);
	r->head.flags = flags;
	(void)snprintf(r->head.name, sizeof(r->head.name), DEVICE_NAME);
}

static enum err send(int fd, unsigned long what, struct request *r)
{
	return ioctl(fd, what, r) < 0 ? ERR_SYS : ERR_OK;
}

static enum err put_table(struct request *r, const char *device,
			  const struct verity *v)
{
	struct stat st;
	int n;

	if (stat(device, &st) < 0)
		return ERR_SYS;
	r->head.target_count = 1;
	r->target.length = v->data_blocks * SECTORS_IN_A_BLOCK;
	(void)snprintf(r->target.target_type, sizeof(r->target.target_type),
		       "verity");
	n = snprintf(r->text, sizeof(r->text),
		     "1 %u:%u %u:%u %u %u %" PRIu64 " %" PRIu64 " sha256 %s %s",
		     major(st.st_rdev), minor(st.st_rdev), major(st.st_rdev),
		     minor(st.st_rdev), VERITY_BLOCK_BYTES, VERITY_BLOCK_BYTES,
		     v->data_blocks, v->hash_block, v->root_hash, v->salt);
	return n > 0 && (size_t)n < sizeof(r->text) ? ERR_OK : ERR_LIMIT;
}

/**
 * verity_open() - Make the checked device of a plain one
 * @device:	Path of the block device with data and tree
 * @v:		Parameters
 * @ret_path:	Path of the new device, which is read-only
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT.
 */
enum err verity_open(const char *device, const struct verity *v,
		     char ret_path[VERITY_PATH_BYTES])
{
	struct request r;
	int fd = open(CONTROL_PATH, O_RDWR | O_CLOEXEC);
	enum err e;

	if (fd < 0)
		return ERR_SYS;
	begin(&r, 0);
	e = send(fd, DM_DEV_CREATE, &r);
	begin(&r, DM_READONLY_FLAG);
	if (e == ERR_OK)
		e = put_table(&r, device, v);
	if (e == ERR_OK)
		e = send(fd, DM_TABLE_LOAD, &r);
	begin(&r, 0);
	if (e == ERR_OK) /* without DM_SUSPEND_FLAG it is a resume */
		e = send(fd, DM_DEV_SUSPEND, &r);
	if (e == ERR_OK)
		(void)snprintf(ret_path, VERITY_PATH_BYTES, "/dev/dm-%u",
			       minor(r.head.dev));
	(void)close(fd);
	return e;
}
