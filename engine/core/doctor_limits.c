/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_limits.c - what this host offers to hold a session within bounds
 *
 * Runs in: kenazd.
 * Trusts:  nothing it reads to be well formed: what is not is passed over.
 * Never:   changes anything.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/core/doctor.h"
#include "engine/core/own_user.h"

#define USERS_FILE_BYTES (256u * 1024)

__attribute__((format(printf, 6, 7))) static void
put(struct doctor_report *report, const char *id, enum doctor_status status,
    const char *cost, const char *fix, const char *format, ...)
{
	struct doctor_check *check;
	va_list list;

	if (report->count >= DOCTOR_CHECKS_MAX)
		return;
	check = &report->checks[report->count++];
	*check = (struct doctor_check){.status = status};
	(void)snprintf(check->id, sizeof(check->id), "%s", id);
	(void)snprintf(check->cost, sizeof(check->cost), "%s", cost);
	(void)snprintf(check->fix, sizeof(check->fix), "%s", fix);
	va_start(list, format);
	(void)vsnprintf(check->text, sizeof(check->text), format, list);
	va_end(list);
}

static void check_cgroups(const struct doctor_input *in,
			  struct doctor_report *report)
{
	if (!in->cgroups)
		return;
	if (in->cgroups->usable)
		put(report, "cgroup", DOCTOR_OK, "", "",
		    "each session has a cgroup of its own below %.200s",
		    in->cgroups->parent);
	else
		put(report, "cgroup", DOCTOR_WARN,
		    "sessions start, held by resource limits alone: a "
		    "captured QEMU could take the CPU and, in shared memory, "
		    "2 GiB more than its session has",
		    "run the engine as a service with Delegate=yes, as "
		    "systemd-run --user --scope -p Delegate=yes kenazd, or "
		    "name a cgroup v2 folder in engine.cgroup",
		    "%s",
		    in->cgroups->reason[0] ? in->cgroups->reason
					   : "not looked for yet");
}

static void check_landlock(const struct doctor_input *in,
			   struct doctor_report *report)
{
	int version = in->landlock_version;

	if (version >= 6)
		put(report, "landlock", DOCTOR_OK, "", "",
		    "Landlock version %d", version);
	else
		put(report, "landlock", DOCTOR_WARN,
		    version ? "QEMU's signals and sockets are held by "
			      "namespaces and system call filters alone"
			    : "the launcher's files, and QEMU's signals and "
			      "sockets, are held by namespaces and system "
			      "call filters alone",
		    "use Linux 6.12 or newer with landlock in its lsm= list",
		    "Landlock version %d, 6 is needed for all of it", version);
}

/* The number in a field of a line "a:b:c"; 0 when there is none. */
static uint64_t field(const char *line, size_t len, unsigned index)
{
	const char *end = line + len, *at = line, *stop;
	uint64_t value;

	while (index--) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at++)
			return 0;
	}
	stop = memchr(at, ':', (size_t)(end - at));
	if (!stop)
		stop = end;
	return text_parse_u64(span_of(at, (size_t)(stop - at)), 1, UINT32_MAX,
			      &value) == ERR_OK
		       ? value
		       : 0;
}

/* Whether a file of users or of ranges names a number of sessions' users. */
static bool names_one(const char *path, uint64_t first, bool ranges)
{
	uint64_t last = first + OWN_USER_COUNT - 1;
	char *text = malloc(USERS_FILE_BYTES), *at;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool found = false;
	ssize_t n = text && fd >= 0 ? read(fd, text, USERS_FILE_BYTES - 1) : 0;

	if (n > 0)
		text[n] = '\0';
	for (at = text; n > 0 && *at && !found;) {
		size_t len = strcspn(at, "\n");
		uint64_t from = field(at, len, ranges ? 1 : 2);
		uint64_t count = ranges ? field(at, len, 2) : 1;

		found = from && count && from <= last &&
			from + count - 1 >= first;
		at += len + (at[len] == '\n' ? 1 : 0);
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return found;
}

static void check_users(const struct doctor_input *in,
			struct doctor_report *report)
{
	static const struct {
		const char *path;
		bool ranges;
	} files[] = {{"/etc/passwd", false},
		     {"/etc/subuid", true},
		     {"/etc/subgid", true}};
	uint64_t first = in->config ? in->config->engine.session_uid_first
				    : OWN_USER_FIRST;
	size_t i;

	if (geteuid() != 0) {
		put(report, "session-users", DOCTOR_INFO,
		    "sessions share the engine's user; namespaces and "
		    "Landlock keep them apart",
		    "",
		    "only root's engine can give each session its own "
		    "user");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(files); i++)
		if (names_one(files[i].path, first, files[i].ranges)) {
			put(report, "session-users", DOCTOR_FAIL,
			    "a captured QEMU could be somebody's user",
			    "choose a free range with "
			    "engine.session_uid_first",
			    "%s uses numbers of %llu to %llu", files[i].path,
			    (unsigned long long)first,
			    (unsigned long long)first + OWN_USER_COUNT - 1);
			return;
		}
	put(report, "session-users", DOCTOR_OK, "", "",
	    "each session has a user of its own, of %llu to %llu",
	    (unsigned long long)first,
	    (unsigned long long)first + OWN_USER_COUNT - 1);
}

/** doctor_check_limits() - Add what holds sessions within bounds */
void doctor_check_limits(const struct doctor_input *input,
			 struct doctor_report *report)
{
	check_cgroups(input, report);
	if (input->cgroups)
		check_landlock(input, report);
	check_users(input, report);
}
