/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.c - load the kernel modules that an image lists
 *
 * Runs in: kenaz-guestd as PID 1, before anything of the session runs.
 * Trusts:  the image: its digest was verified by the host before boot.
 * Never:   loads a module that a session names.
 *
 * One path a line, a module after what it depends on.
 */
#include "guest/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/log.h"

#define MODULES_PATH_MAX_BYTES 256

static enum err load_one(const char *path)
{
	enum err e = ERR_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYS;
	/* ENODEV: this CPU has not what the module is for. */
	if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST &&
	    errno != ENODEV)
		e = ERR_SYS;
	(void)close(fd);
	/* The initramfs is memory, and it is not needed there any more. */
	if (e == ERR_OK)
		(void)unlink(path);
	return e;
}

/**
 * modules_load() - Load every module of a list, in its order
 * @list_path:	File of the image; a missing one means that nothing is needed
 *
 * Return: ERR_OK; ERR_SYS when one could not be loaded (the rest is tried).
 */
enum err modules_load(const char *list_path)
{
	char line[MODULES_PATH_MAX_BYTES];
	enum err e = ERR_OK;
	FILE *f = fopen(list_path, "re");

	if (!f)
		return errno == ENOENT ? ERR_OK : ERR_SYS;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '\0')
			continue;
		if (load_one(line) != ERR_OK) {
			log_error("cannot load the module %s: %s", line,
				  strerror(errno));
			e = ERR_SYS;
		}
	}
	(void)fclose(f);
	return e;
}
