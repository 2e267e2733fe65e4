/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_user.c - a user number that only one session of this host has
 *
 * Runs in: kenazd, when it is root.
 * Trusts:  the kernel's file locks.
 * Never:   gives out a number that another engine's session has.
 *
 * A number is taken by locking a file of that name in a folder that all of
 * root's engines share. kenaz-launch holds the descriptor as long as it runs,
 * so that the number is free when its QEMU is gone, whoever was killed.
 */
#include "engine/core/own_user.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/text.h"

/** own_user_is() - Whether a number may be a session's user */
bool own_user_is(uint32_t first, uint32_t uid)
{
	return uid >= first && uid - first < OWN_USER_COUNT;
}

/**
 * own_user_take() - Take a number that is free
 * @folder:		Root's alone; made when it is not there
 * @first:		Lowest number of OWN_USER_COUNT
 * @ret_uid:		The number, for user and group
 * @ret_lock_fd:	Frees it when the last copy is closed
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT when all are taken.
 */
enum err own_user_take(const char *folder, uint32_t first, uint32_t *ret_uid,
		       int *ret_lock_fd)
{
	uint32_t start = randombytes_uniform(OWN_USER_COUNT), i;
	char path[256];

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return ERR_SYS;
	for (i = 0; i < OWN_USER_COUNT; i++) {
		uint32_t uid = first + (start + i) % OWN_USER_COUNT;
		int fd;

		if (text_format(path, sizeof(path), "%s/%u", folder, uid) !=
		    ERR_OK)
			return ERR_LIMIT;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			  0600);
		if (fd < 0)
			return ERR_SYS;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			*ret_uid = uid;
			*ret_lock_fd = fd;
			return ERR_OK;
		}
		close(fd);
		if (errno != EWOULDBLOCK)
			return ERR_SYS;
	}
	return ERR_LIMIT;
}
