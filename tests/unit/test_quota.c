/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_quota.c - limits: figures, the host's memory, users, cgroups
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/cgroup.h"
#include "engine/core/host_memory.h"
#include "engine/core/own_user.h"
#include "engine/core/quota.h"
#include "tests/lib/rig.h"

static struct config_limits limits(void)
{
	return (struct config_limits){.session_memory_max_mib = 4096,
				      .session_vcpus_max = 8,
				      .session_disk_max_mib = 1024,
				      .max_sessions = 10,
				      .max_sessions_user = 5,
				      .host_reserve_mib = 512};
}

static struct quota_refusal refused(const struct config_limits *l,
				    const struct quota_ask *ask,
				    const struct quota_use *user,
				    const struct quota_use *all,
				    const struct quota_host *host)
{
	struct quota_refusal r;

	assert_int_equal(quota_check(l, ask, user, all, host, &r), ERR_LIMIT);
	return r;
}

static void what_fits_is_allowed(void **state)
{
	struct config_limits l = limits();
	struct quota_use none = {0};
	struct quota_host host = {true, 1216, 0};
	struct quota_ask ask = {"ann", 512, 1, 0, false};
	struct quota_refusal r;

	(void)state;
	/* Exactly: 1216 available, 512 in reserve, 704 asked. */
	assert_int_equal(quota_check(&l, &ask, &none, &none, &host, &r),
			 ERR_OK);
	host.available_mib--;
	r = refused(&l, &ask, &none, &none, &host);
	assert_string_equal(r.limit, "host_reserve_mib");
	assert_int_equal(r.left, 703);
	/* What is not known refuses nobody. */
	host.known = false;
	assert_int_equal(quota_check(&l, &ask, &none, &none, &host, &r),
			 ERR_OK);
}

static void promises_count(void **state)
{
	struct config_limits l = limits();
	struct quota_use none = {0};
	struct quota_host host = {true, 4000, 3400};
	struct quota_ask ask = {"ann", 128, 1, 0, true};
	struct quota_refusal r = refused(&l, &ask, &none, &none, &host);

	(void)state;
	assert_string_equal(
		r.text, "memory: 224 MiB asked, 88 MiB left on this host (4000 "
			"MiB available, 3400 MiB promised to sessions, 512 MiB "
			"in reserve: limits.host_reserve_mib)");
}

static void emulation_takes_more(void **state)
{
	struct quota_ask tcg = {"ann", 512, 2, 7, false};
	struct quota_ask kvm = {"ann", 512, 2, 7, true};
	struct quota_use use = {0};

	(void)state;
	quota_add(&use, &tcg);
	quota_add(&use, &kvm);
	assert_int_equal(use.memory_mib, 1024 + 192 + 96);
	assert_int_equal(use.vcpus, 4);
	assert_int_equal(use.disk_mib, 14);
	assert_int_equal(use.sessions, 2);
}

static void each_refusal_has_its_figures(void **state)
{
	struct quota_use some = {2, 800, 4, 300}, none = {0};
	struct quota_host host = {0};
	struct quota_ask ask = {"ann", 408, 3, 200, false};
	struct config_limits l;
	struct quota_refusal r;

	(void)state;
	l = limits();
	l.user_memory_max_mib = 1312;
	r = refused(&l, &ask, &some, &some, &host);
	assert_string_equal(r.text,
			    "memory: 600 MiB asked, 512 MiB of 1312 MiB left "
			    "for user ann (limits.user_memory_max_mib)");
	assert_int_equal(r.asked, 600);
	assert_int_equal(r.left, 512);
	assert_int_equal(r.value, 1312);
	l = limits();
	l.user_vcpus_max = 6;
	r = refused(&l, &ask, &some, &some, &host);
	assert_string_equal(r.text, "vCPUs: 3 asked, 2 of 6 left for user ann "
				    "(limits.user_vcpus_max)");
	l = limits();
	l.user_disk_max_mib = 499;
	r = refused(&l, &ask, &some, &some, &host);
	assert_string_equal(r.limit, "user_disk_max_mib");
	l = limits();
	l.host_disk_max_mib = 200;
	r = refused(&l, &ask, &none, &some, &host);
	assert_int_equal(r.left, 0);
	assert_string_equal(r.limit, "host_disk_max_mib");
	l = limits();
	l.host_vcpus_max = 6;
	r = refused(&l, &ask, &none, &some, &host);
	assert_string_equal(r.limit, "host_vcpus_max");
	l = limits();
	l.host_memory_max_mib = 1399;
	r = refused(&l, &ask, &none, &some, &host);
	assert_string_equal(r.limit, "host_memory_max_mib");
	l = limits();
	l.max_sessions_user = 2;
	r = refused(&l, &ask, &some, &some, &host);
	assert_string_equal(r.limit, "max_sessions_user");
	l = limits();
	l.session_disk_max_mib = 199;
	r = refused(&l, &ask, &none, &none, &host);
	assert_string_equal(r.text, "disk: 200 MiB asked, one session may have "
				    "199 MiB (limits.session_disk_max_mib)");
	l.session_memory_max_mib = 407;
	r = refused(&l, &ask, &none, &none, &host);
	assert_string_equal(r.limit, "session_memory_max_mib");
}

/* --- files of the kernel -------------------------------------------------- */

static enum err parse(const char *text, uint64_t *ret_mib)
{
	return host_memory_parse(span_text(text), ret_mib);
}

static void meminfo_is_read_strictly(void **state)
{
	uint64_t mib = 0;

	(void)state;
	assert_int_equal(parse("MemTotal:       10 kB\n"
			       "MemAvailable:   2097152 kB\nX: 1 kB\n",
			       &mib),
			 ERR_OK);
	assert_int_equal(mib, 2048);
	assert_int_equal(parse("MemTotal: 10 kB\n", &mib), ERR_NOT_FOUND);
	assert_int_equal(parse("", &mib), ERR_NOT_FOUND);
	assert_int_equal(parse("MemAvailable: 10 MB\n", &mib), ERR_FORMAT);
	assert_int_equal(parse("MemAvailable: 10\n", &mib), ERR_FORMAT);
	assert_int_equal(parse("MemAvailable: -1 kB\n", &mib), ERR_FORMAT);
	assert_int_equal(parse("MemAvailable: 99999999999999999999 kB\n", &mib),
			 ERR_FORMAT);
	assert_int_equal(parse("MemAvailable: 1 kB", &mib), ERR_SHORT);
	assert_int_equal(parse("MemAvailable: 1 kB\nMemAvailable: 2 kB\n",
			       &mib),
			 ERR_FORMAT);
	assert_int_equal(host_memory_available("/proc", &mib), ERR_OK);
	assert_true(mib > 0);
	assert_int_equal(host_memory_available("/nowhere", &mib),
			 ERR_NOT_FOUND);
}

static void statm_is_read_strictly(void **state)
{
	uint64_t mib = 0;

	(void)state;
	assert_int_equal(host_memory_parse_statm(span_text("900 512 3 4\n"),
						 4096, &mib),
			 ERR_OK);
	assert_int_equal(mib, 2);
	assert_int_equal(host_memory_parse_statm(span_text("900"), 4096, &mib),
			 ERR_FORMAT);
	assert_int_equal(host_memory_parse_statm(span_text("900 x 1"), 4096,
						 &mib),
			 ERR_FORMAT);
	assert_int_equal(host_memory_of("/proc", (uint32_t)getpid(), &mib),
			 ERR_OK);
}

/* --- cgroups in a plain folder -------------------------------------------- */

static void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *get(const char *dir, const char *name)
{
	static char text[256];
	char path[256];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? "no such file" : text;
}

static void own_path_is_found(void **state)
{
	static const char mounts[] =
		"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
		"41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:4 - "
		"cgroup2 cgroup2 rw\n";
	static const char part[] =
		"41 31 0:38 /pod/one /sys/fs/cgroup rw - cgroup2 none rw\n";
	char path[256], mount[256];

	(void)state;
	assert_int_equal(cgroup_parse_own(span_text("4:memory:/x\n0::/a/b\n"),
					  span_text(mounts), path, mount,
					  sizeof(path)),
			 ERR_OK);
	assert_string_equal(path, "/sys/fs/cgroup/unified/a/b");
	assert_string_equal(mount, "/sys/fs/cgroup/unified");
	assert_int_equal(cgroup_parse_own(span_text("0::/\n"),
					  span_text(mounts), path, mount,
					  sizeof(path)),
			 ERR_OK);
	assert_string_equal(path, mount);
	assert_int_equal(cgroup_parse_own(span_text("0::/pod/one/x\n"),
					  span_text(part), path, mount,
					  sizeof(path)),
			 ERR_OK);
	assert_string_equal(path, "/sys/fs/cgroup/x");
	assert_int_equal(cgroup_parse_own(span_text("0::/other\n"),
					  span_text(part), path, mount,
					  sizeof(path)),
			 ERR_NOT_FOUND);
	assert_int_equal(cgroup_parse_own(span_text("4:memory:/x\n"),
					  span_text(mounts), path, mount,
					  sizeof(path)),
			 ERR_NOT_FOUND);
	assert_int_equal(cgroup_parse_own(span_text("0::/\n"), span_text(""),
					  path, mount, sizeof(path)),
			 ERR_NOT_FOUND);
	assert_int_equal(cgroup_parse_own(span_text("0::/long/path\n"),
					  span_text(mounts), path, mount, 24),
			 ERR_LIMIT);
}

static void limits_are_written(void **state)
{
	const struct cgroup_limits l = {320u << 20, 192, 225};
	char dir[128], group[256];
	struct cgroups g;
	int fd = -1;

	(void)state;
	assert_int_equal(rig_temp_dir(dir, sizeof(dir)), 0);
	put(dir, "cgroup.controllers", "cpu memory pids\n");
	cgroups_open(&g, "/proc", dir, "kenaz-abc-", NULL, 0);
	assert_true(g.usable);
	assert_int_equal(cgroup_make(&g, "one", &l, &fd), ERR_OK);
	(void)snprintf(group, sizeof(group), "%s/kenaz-abc-one", dir);
	assert_string_equal(get(group, "memory.max"), "335544320");
	assert_string_equal(get(group, "memory.swap.max"), "0");
	assert_string_equal(get(group, "memory.oom.group"), "1");
	assert_string_equal(get(group, "pids.max"), "192");
	assert_string_equal(get(group, "cpu.max"), "225000 100000");
	close(fd);
	/* Still busy: what is left in it is killed first. */
	assert_int_equal(cgroup_remove(&g, "one"), ERR_AGAIN);
	assert_string_equal(get(group, "cgroup.kill"), "1");
	put(group, "memory.events", "low 0\noom 1\noom_kill 0\n");
	assert_false(cgroup_was_out_of_memory(&g, "one"));
	put(group, "memory.events", "low 0\noom 1\noom_kill 2\n");
	assert_true(cgroup_was_out_of_memory(&g, "one"));
	assert_int_equal(cgroup_remove(&g, "never was"), ERR_OK);
	rig_remove_dir(dir);
}

static void only_ours_are_swept(void **state)
{
	static const char *const names[] = {"kenaz-abc-left", "kenaz-xyz-other",
					    "somebody"};
	char dir[128], path[256];
	struct cgroups g;
	struct stat st;
	size_t i;

	(void)state;
	assert_int_equal(rig_temp_dir(dir, sizeof(dir)), 0);
	put(dir, "cgroup.controllers", "memory pids\n");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	cgroups_open(&g, "/proc", dir, "kenaz-abc-", NULL, 0);
	cgroups_sweep(&g);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(stat(path, &st), i == 0 ? -1 : 0);
	}
	rig_remove_dir(dir);
}

static void what_cannot_be_used_is_said(void **state)
{
	char dir[128];
	struct cgroups g;

	(void)state;
	assert_int_equal(rig_temp_dir(dir, sizeof(dir)), 0);
	cgroups_open(&g, "/proc", "off", "k-", NULL, 0);
	assert_false(g.usable);
	assert_non_null(strstr(g.reason, "engine.cgroup"));
	put(dir, "cgroup.controllers", "cpu io pids\n");
	cgroups_open(&g, "/proc", dir, "k-", NULL, 0);
	assert_false(g.usable);
	assert_non_null(strstr(g.reason, "memory"));
	cgroups_open(&g, dir, "auto", "k-", NULL, 0);
	assert_false(g.usable);
	assert_non_null(strstr(g.reason, "not mounted"));
	rig_remove_dir(dir);
}

static void users_are_never_shared(void **state)
{
	uint32_t uids[64];
	int fds[64], again;
	char dir[128];
	size_t i, k;

	(void)state;
	assert_int_equal(rig_temp_dir(dir, sizeof(dir)), 0);
	for (i = 0; i < ARRAY_SIZE(uids); i++) {
		assert_int_equal(own_user_take(dir, OWN_USER_FIRST, &uids[i],
					       &fds[i]),
				 ERR_OK);
		assert_true(uids[i] >= OWN_USER_FIRST &&
			    uids[i] < OWN_USER_FIRST + OWN_USER_COUNT);
		for (k = 0; k < i; k++)
			assert_int_not_equal(uids[i], uids[k]);
	}
	for (i = 0; i < ARRAY_SIZE(uids); i++)
		close(fds[i]);
	assert_int_equal(own_user_take("/proc/nowhere", 1, uids, &again),
			 ERR_SYS);
	rig_remove_dir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_is_allowed),
		cmocka_unit_test(promises_count),
		cmocka_unit_test(emulation_takes_more),
		cmocka_unit_test(each_refusal_has_its_figures),
		cmocka_unit_test(meminfo_is_read_strictly),
		cmocka_unit_test(statm_is_read_strictly),
		cmocka_unit_test(own_path_is_found),
		cmocka_unit_test(limits_are_written),
		cmocka_unit_test(only_ours_are_swept),
		cmocka_unit_test(what_cannot_be_used_is_said),
		cmocka_unit_test(users_are_never_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
