/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_lock.c - one engine a state folder
 *
 * Runs in: kenazd, before its loop and its jail.
 * Trusts:  the state folder, which is the engine's own.
 * Never:   breaks another engine's lock: the kernel drops it with the last
 *	    process that has it, core or its audit (audit_client.c).
 */
#include "engine/core/state_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/paths.h"

#define RETRY_MS 20

static bool answers(const char *socket_path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(socket_path);
	bool good = false;
	int fd;

	if (len == 0 || len >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, socket_path, len + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	good = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return good;
}

/* Where the holder answers; "" while it has not said so. */
static void read_holder(int fd, char *ret_path, size_t cap_bytes)
{
	ssize_t n = pread(fd, ret_path, cap_bytes - 1, 0);

	ret_path[n > 0 ? n : 0] = '\0';
	ret_path[strcspn(ret_path, "\n")] = '\0';
}

static enum err write_holder(int fd, const char *socket_path)
{
	size_t len = strlen(socket_path);

	if (ftruncate(fd, 0) != 0 ||
	    pwrite(fd, socket_path, len, 0) != (ssize_t)len)
		return ERR_SYS;
	return ERR_OK;
}

/**
 * state_lock_take() - Become the one engine of a state folder
 * @state_dir:		It exists
 * @socket_path:	Where this engine will answer
 * @ret_error:		Written on failure: the sentence
 * @ret_fd:		Held until the process ends; written on success
 *
 * Waits while another engine is on its way up or down, not for one that runs.
 *
 * Return: ERR_OK; ERR_EXISTS when another engine has it; ERR_SYS.
 */
enum err state_lock_take(const char *state_dir, const char *socket_path,
			 struct conf_error *ret_error, int *ret_fd)
{
	char path[PATHS_MAX_BYTES], holder[PATHS_SOCKET_MAX_BYTES] = "";
	unsigned waited_ms = 0;
	enum err err;
	int fd;

	err = paths_join(state_dir, PATHS_LOCK_NAME, path, sizeof(path));
	if (err != ERR_OK)
		return err;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "cannot open %.300s: %s", path, strerror(errno));
		return ERR_SYS;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		bool held = errno == EWOULDBLOCK;

		if (errno == EINTR)
			continue;
		read_holder(fd, holder, sizeof(holder));
		if (held && !answers(holder) &&
		    waited_ms < STATE_LOCK_WAIT_MAX_MS) {
			(void)poll(NULL, 0, RETRY_MS);
			waited_ms += RETRY_MS;
			continue;
		}
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       held ? "another engine uses %.200s; end it with "
				      "'kenaz --socket %s engine stop' or give "
				      "another --state-dir"
				    : "cannot lock %.200s",
			       state_dir, holder);
		close(fd);
		return held ? ERR_EXISTS : ERR_SYS;
	}
	err = write_holder(fd, socket_path);
	if (err != ERR_OK) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "cannot write %.300s: %s", path,
			       strerror(errno));
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return ERR_OK;
}
