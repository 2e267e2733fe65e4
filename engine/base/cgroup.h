/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - a cgroup v2 folder for each session, where the host allows it */
#ifndef KENAZ_BASE_CGROUP_H
#define KENAZ_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define CGROUP_PATH_BYTES   512u
#define CGROUP_NAME_BYTES   96u
#define CGROUP_REASON_BYTES 256u
#define CGROUP_FILE_BYTES   65536u
#define CGROUP_PERIOD_US    100000u

/* Where sessions get their folders, or why they get none. */
struct cgroups {
	bool usable;
	char parent[CGROUP_PATH_BYTES];
	char prefix[CGROUP_NAME_BYTES];
	char reason[CGROUP_REASON_BYTES]; /* for people, when not usable */
};

struct cgroup_limits {
	uint64_t memory_bytes;
	uint32_t tasks;
	uint32_t cpu_percent; /* of one CPU */
};

MUST_CHECK enum err cgroup_parse_own(struct span proc_cgroup,
				     struct span mountinfo, char *ret_path,
				     char *ret_mount, size_t cap_bytes);
MUST_CHECK enum err cgroup_memory_left(const char *proc_dir, uint64_t *ret_mib);
void cgroups_open(struct cgroups *g, const char *proc_dir, const char *setting,
		  const char *prefix, const pid_t *engine, size_t engine_count);
void cgroups_sweep(const struct cgroups *g);
MUST_CHECK enum err cgroup_make(const struct cgroups *g, const char *name,
				const struct cgroup_limits *limits,
				int *ret_fd);
MUST_CHECK enum err cgroup_remove(const struct cgroups *g, const char *name);
bool cgroup_was_out_of_memory(const struct cgroups *g, const char *name);

#endif
