/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c - where Kenaz's other programs are, and the clock
 *
 * Runs in: kenaz.
 * Trusts:  the folder that kenaz itself was started from, and the one that
 *	    was set when it was built.
 * Never:   searches PATH.
 */
#include "tui/program.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/**
 * program_find() - Find one of Kenaz's programs
 * @name:	"kenazd"
 * @ret_path:	Array of @cap_bytes; written on success
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_NOT_FOUND.
 */
enum err program_find(const char *name, char *ret_path, size_t cap_bytes)
{
	char self[PROGRAM_PATH_MAX_BYTES];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int len;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash) {
			*slash = '\0';
			len = snprintf(ret_path, cap_bytes, "%s/%s", self,
				       name);
			if (len > 0 && (size_t)len < cap_bytes &&
			    access(ret_path, X_OK) == 0)
				return ERR_OK;
		}
	}
	len = snprintf(ret_path, cap_bytes, "%s/%s", KENAZ_LIBEXECDIR, name);
	if (len > 0 && (size_t)len < cap_bytes && access(ret_path, X_OK) == 0)
		return ERR_OK;
	return ERR_NOT_FOUND;
}

/** clock_now_ns() - CLOCK_MONOTONIC */
uint64_t clock_now_ns(void)
{
	struct timespec t = {0};

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
