/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_stamp.c - notice that an image or QEMU changed on disk
 *
 * Runs in: kenazd.
 * Trusts:  the kernel's change time, which no program can set.
 * Never:   reads a file: launch has verified the bytes when it started.
 *
 * A machine that waits was verified when it was started. It may stand for a
 * new start only while what it was made of is what a cold start would find.
 */
#include "engine/core/image_stamp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"

struct file {
	char name[256];
	struct stat st;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name,
		      ((const struct file *)b)->name);
}

static enum err put_file(struct buf *b, const char *name, const struct stat *st)
{
	return buf_printf(b, "%s %ju %ju %o %jd %jd.%09ld %jd.%09ld\n", name,
			  (uintmax_t)st->st_dev, (uintmax_t)st->st_ino,
			  (unsigned)st->st_mode, (intmax_t)st->st_size,
			  (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
			  (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static enum err list_folder(int dir_fd, struct file *files, size_t *ret_count)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	enum err err = ERR_OK;
	struct dirent *entry;
	size_t n = 0;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return ERR_SYS;
	}
	while (err == ERR_OK && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (n == IMAGE_STAMP_FILES_MAX) {
			err = ERR_LIMIT;
		} else if (fstatat(fd, entry->d_name, &files[n].st, 0) < 0) {
			err = ERR_SYS;
		} else {
			err = span_copy_text(span_text(entry->d_name),
					     files[n].name,
					     sizeof(files[n].name));
			n++;
		}
	}
	closedir(dir);
	*ret_count = n;
	return err;
}

/**
 * image_stamp() - Sum up which files an image has and when they last changed
 * @dir_fd:	Its folder, borrowed
 * @program:	A further file, QEMU; one that is not there counts as such
 * @ret_stamp:	Equal as long as nothing was written, replaced or renamed
 *
 * Return: ERR_OK; ERR_LIMIT for a folder with too many files; ERR_SYS with
 *	   errno; ERR_MEMORY.
 */
enum err image_stamp(int dir_fd, const char *program,
		     uint8_t ret_stamp[DIGEST_BYTES])
{
	struct file *files = calloc(IMAGE_STAMP_FILES_MAX, sizeof(*files));
	struct stat st = {0};
	size_t i, n = 0;
	struct buf b;
	enum err err;

	if (!files)
		return ERR_MEMORY;
	buf_init(&b, IMAGE_STAMP_FILES_MAX * 512u);
	err = list_folder(dir_fd, files, &n);
	if (err != ERR_OK)
		goto out;
	qsort(files, n, sizeof(*files), by_name);
	for (i = 0; err == ERR_OK && i < n; i++)
		err = put_file(&b, files[i].name, &files[i].st);
	if (err == ERR_OK && stat(program, &st) < 0 && errno != ENOENT)
		err = ERR_SYS;
	if (err == ERR_OK)
		err = put_file(&b, program, &st);
	if (err == ERR_OK)
		digest_sha256(buf_span(&b), ret_stamp);
out:
	buf_fini(&b);
	free(files);
	return err;
}
