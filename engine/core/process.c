/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - other processes: which one a number means
 *
 * Runs in: kenazd.
 * Trusts:  the kernel's /proc.
 * Never:   takes a process for another that had its number before.
 *
 * Numbers are used again; a number with the time its process started, of one
 * boot of the host, is not. See proc(5), /proc/PID/stat, field 22.
 */
#include "engine/core/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/text.h"

#define STAT_MAX_BYTES 1024u
#define FIELDS_TO_SKIP 19u /* from the state, field 3, to the start time */

/**
 * process_parse_started() - The start time in the text of /proc/PID/stat
 * @stat:		Text; the name in it may hold spaces and parentheses
 * @ret_started:	Clock ticks since boot
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_RANGE.
 */
enum err process_parse_started(struct span stat, uint64_t *ret_started)
{
	size_t at = stat.len_bytes, end, skipped;

	while (at && stat.data[at - 1] != ')')
		at--;
	if (at == 0 || at == stat.len_bytes || stat.data[at] != ' ')
		return ERR_FORMAT;
	at++;
	for (skipped = 0; skipped < FIELDS_TO_SKIP && at < stat.len_bytes; at++)
		if (stat.data[at] == ' ')
			skipped++;
	for (end = at; end < stat.len_bytes && stat.data[end] != ' ' &&
		       stat.data[end] != '\n';)
		end++;
	if (skipped < FIELDS_TO_SKIP)
		return ERR_FORMAT;
	return text_parse_u64(span_of(stat.data + at, end - at), 0, UINT64_MAX,
			      ret_started);
}

/**
 * process_started() - When a process was started
 * @pid:		Number
 * @ret_started:	Clock ticks since boot
 *
 * Return: ERR_OK; ERR_NOT_FOUND when there is none; ERR_FORMAT.
 */
enum err process_started(pid_t pid, uint64_t *ret_started)
{
	char path[64], text[STAT_MAX_BYTES];
	struct span stat;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	/* It may end between the two calls, too. */
	if (file_read(path, text, sizeof(text), &stat) != ERR_OK ||
	    stat.len_bytes == 0)
		return ERR_NOT_FOUND;
	return process_parse_started(stat, ret_started);
}

/**
 * process_open() - A descriptor of a process, if it is still that one
 * @pid:	Number
 * @started:	What process_started() said of it
 * @ret_fd:	pidfd, owned by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND when it has ended; ERR_SYS.
 */
enum err process_open(pid_t pid, uint64_t started, int *ret_fd)
{
	uint64_t now = 0;
	enum err e;
	int fd;

	if (pid <= 0)
		return ERR_NOT_FOUND;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH ? ERR_NOT_FOUND : ERR_SYS;
	/* Behind pidfd_open(): the number cannot change hands any more. */
	e = process_started(pid, &now);
	if (e == ERR_OK && now != started)
		e = ERR_NOT_FOUND;
	if (e != ERR_OK) {
		close(fd);
		return e;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/** process_boot_id() - Name of this boot of the host; "unknown" without one */
void process_boot_id(char ret_id[PROCESS_BOOT_BYTES])
{
	struct span id;

	if (file_read("/proc/sys/kernel/random/boot_id", ret_id,
		      PROCESS_BOOT_BYTES, &id) != ERR_OK ||
	    id.len_bytes == 0) {
		(void)snprintf(ret_id, PROCESS_BOOT_BYTES, "unknown");
		return;
	}
	ret_id[id.len_bytes] = '\0';
	ret_id[strcspn(ret_id, "\n")] = '\0';
}
