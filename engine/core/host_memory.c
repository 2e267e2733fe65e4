/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_memory.c - how much memory the machine and its cgroup have left
 *
 * Runs in: kenazd.
 * Trusts:  the kernel's files for their figures; their form is checked.
 * Never:   guesses: a file that is not as expected is an error.
 */
#include "engine/core/host_memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/cgroup.h"
#include "engine/base/file.h"
#include "engine/base/text.h"

/* The line "KEY:   123 kB"; exactly one. */
static enum err take_kib(struct span text, const char *key, uint64_t *ret_kib)
{
	const char *at = (const char *)text.data;
	const char *end = at + text.len_bytes;
	size_t key_len = strlen(key);
	bool found = false;

	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		const char *number = at + key_len, *unit;

		if (!line_end)
			return ERR_SHORT;
		if ((size_t)(line_end - at) > key_len &&
		    memcmp(at, key, key_len) == 0) {
			while (number < line_end && *number == ' ')
				number++;
			unit = memchr(number, ' ', (size_t)(line_end - number));
			if (!unit || found || line_end - unit != 3 ||
			    memcmp(unit, " kB", 3) != 0 ||
			    text_parse_u64(span_of(number,
						   (size_t)(unit - number)),
					   0, UINT64_MAX >> 10,
					   ret_kib) != ERR_OK)
				return ERR_FORMAT;
			found = true;
		}
		at = line_end + 1;
	}
	return found ? ERR_OK : ERR_NOT_FOUND;
}

/**
 * host_memory_parse() - MemAvailable of /proc/meminfo
 * @meminfo:	Its bytes
 * @ret_mib:	What new programs can have without swapping
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_SHORT for a cut line; ERR_NOT_FOUND.
 */
enum err host_memory_parse(struct span meminfo, uint64_t *ret_mib)
{
	uint64_t kib;
	enum err e = take_kib(meminfo, "MemAvailable:", &kib);

	if (e == ERR_OK)
		*ret_mib = kib / 1024;
	return e;
}

/**
 * host_memory_parse_statm() - The resident memory of /proc/PID/statm
 * @statm:	Its bytes: "size resident shared ..."
 * @page_bytes:	Size of a page
 * @ret_mib:	Resident memory
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err host_memory_parse_statm(struct span statm, uint64_t page_bytes,
				 uint64_t *ret_mib)
{
	const uint8_t *first = memchr(statm.data, ' ', statm.len_bytes);
	const uint8_t *second = NULL;
	uint64_t pages;
	size_t rest;

	if (!first || page_bytes == 0)
		return ERR_FORMAT;
	rest = statm.len_bytes - (size_t)(first + 1 - statm.data);
	second = memchr(first + 1, ' ', rest);
	if (!second ||
	    text_parse_u64(span_of(first + 1, (size_t)(second - first - 1)), 0,
			   UINT64_MAX / page_bytes, &pages) != ERR_OK)
		return ERR_FORMAT;
	*ret_mib = (pages * page_bytes) >> 20;
	return ERR_OK;
}

/**
 * host_memory_available() - What is left, of the machine or of its cgroup
 * @proc_dir:	"/proc"; tests pass their own
 * @ret_mib:	The smaller one
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_SYS; as host_memory_parse().
 */
enum err host_memory_available(const char *proc_dir, uint64_t *ret_mib)
{
	uint8_t buffer[HOST_MEMORY_FILE_BYTES];
	uint64_t machine, group;
	struct span text;
	char path[256];
	enum err e = text_format(path, sizeof(path), "%s/meminfo", proc_dir);

	if (e == ERR_OK)
		e = file_read(path, buffer, sizeof(buffer), &text);
	if (e == ERR_OK)
		e = host_memory_parse(text, &machine);
	if (e != ERR_OK)
		return e;
	*ret_mib = machine;
	if (cgroup_memory_left(proc_dir, &group) == ERR_OK && group < machine)
		*ret_mib = group;
	return ERR_OK;
}

/** host_memory_left_mib() - host_memory_available(), 0 when not known */
uint64_t host_memory_left_mib(void)
{
	uint64_t mib;

	return host_memory_available("/proc", &mib) == ERR_OK ? mib : 0;
}

/**
 * host_memory_of() - What a process holds now
 * @proc_dir:	"/proc"
 * @pid:	Process
 * @ret_mib:	Resident memory
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_SYS; ERR_FORMAT.
 */
enum err host_memory_of(const char *proc_dir, uint32_t pid, uint64_t *ret_mib)
{
	uint8_t buffer[256];
	struct span text;
	char path[256];
	enum err e =
		text_format(path, sizeof(path), "%s/%u/statm", proc_dir, pid);

	if (e == ERR_OK)
		e = file_read(path, buffer, sizeof(buffer), &text);
	if (e == ERR_OK)
		e = host_memory_parse_statm(text,
					    (uint64_t)sysconf(_SC_PAGESIZE),
					    ret_mib);
	return e;
}
