/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_doctor.c - what is found, what it costs, how it is mended
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   depends on the machine: /dev and /proc are folders of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/core/doctor.h"

static char root[] = "/tmp/kenaz-doctor-XXXXXX";
static struct doctor_report report;

static const char *below(const char *name)
{
	static char path[8][256];
	static unsigned int next;
	char *at = path[next++ % 8];

	(void)snprintf(at, sizeof(path[0]), "%s/%s", root, name);
	return at;
}

static void put(const char *name, const char *text, mode_t mode)
{
	int fd = open(below(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static const struct doctor_check *find(const char *id)
{
	for (size_t i = 0; i < report.count; i++)
		if (strcmp(report.checks[i].id, id) == 0)
			return &report.checks[i];
	fail_msg("there is no check %s", id);
	return &report.checks[0];
}

static struct paths test_paths(void)
{
	struct paths paths = {0};

	(void)snprintf(paths.state.path, sizeof(paths.state.path),
		       "%s/not/yet/there", root);
	paths.state.source = "--state-dir";
	paths.config.source = "HOME";
	paths.runtime.source = "XDG_RUNTIME_DIR";
	return paths;
}

static void test_bare_host(void **state)
{
	struct paths paths = test_paths();
	const struct doctor_input in = {.paths = &paths,
					.config_error = "kenaz.toml:3: bad",
					.policy_error = "policy.toml:4: bad",
					.dev_dir = root,
					.proc_dir = root,
					.search_path = root};
	const struct doctor_check *check;

	(void)state;
	doctor_run(&in, &report);
	check = find("kvm");
	assert_int_equal(check->status, DOCTOR_WARN);
	assert_non_null(strstr(check->cost, "software emulation"));
	assert_int_equal(find("qemu")->status, DOCTOR_FAIL);
	assert_int_equal(find("bubblewrap")->status, DOCTOR_FAIL);
	assert_int_equal(find("seccomp")->status, DOCTOR_FAIL);
	assert_int_equal(find("image")->status, DOCTOR_FAIL);
	assert_int_equal(find("vhost-vsock")->status, DOCTOR_INFO);
	check = find("config");
	assert_int_equal(check->status, DOCTOR_FAIL);
	assert_string_equal(check->text, "kenaz.toml:3: bad");
	assert_string_equal(find("policy")->text, "policy.toml:4: bad");
	assert_non_null(strstr(find("disk")->text, "/not/yet/there"));
	for (size_t i = 0; i < report.count; i++)
		if (report.checks[i].status == DOCTOR_FAIL)
			assert_true(report.checks[i].fix[0] != 0);
}

static void test_good_host(void **state)
{
	struct paths paths = test_paths();
	struct config *config = NULL;
	struct policy *policy = NULL;
	struct conf_error error;
	char log_key[256];
	struct doctor_input in = {.paths = &paths,
				  .dev_dir = root,
				  .proc_dir = root,
				  .search_path = root,
				  .image_dir = root,
				  .log_key_path = log_key,
				  .kvm = DOCTOR_KVM_WORKS,
				  .qemu_version = "7.2.0"};

	(void)state;
	(void)snprintf(log_key, sizeof(log_key), "%s/log.key", root);
	conf_error_init(&error);
	assert_int_equal(config_parse(span_text("[limits]\nvcpus = 2\n"),
				      "kenaz.toml", &error, &config),
			 ERR_OK);
	assert_int_equal(policy_parse(NULL, 0, &error, &policy), ERR_OK);
	in.config = config;
	in.policy = policy;
	put("kvm", "", 0600);
	put("qemu-system-x86_64", "", 0700);
	put("bwrap", "", 0700);
	put("manifest.json", "{}", 0600);
	put("log.key", "x", 0600);
	put("meminfo", "MemTotal: 8000000 kB\nMemAvailable:  4096000 kB\n",
	    0600);
	assert_int_equal(mkdir(below("sys"), 0700), 0);
	assert_int_equal(mkdir(below("sys/kernel"), 0700), 0);
	assert_int_equal(mkdir(below("sys/kernel/seccomp"), 0700), 0);
	put("sys/kernel/seccomp/actions_avail", "kill_process errno\n", 0600);
	doctor_run(&in, &report);
	assert_int_equal(find("kvm")->status, DOCTOR_OK);
	assert_non_null(strstr(find("qemu")->text, "7.2.0"));
	assert_int_equal(find("bubblewrap")->status, DOCTOR_OK);
	assert_int_equal(find("seccomp")->status, DOCTOR_OK);
	assert_int_equal(find("image")->status, DOCTOR_OK);
	assert_int_equal(find("log-key")->status, DOCTOR_OK);
	assert_string_equal(find("memory")->text,
			    "4000 MiB are available, a session takes 512");
	assert_string_equal(find("config.limits.vcpus")->text,
			    "limits.vcpus = 2 (kenaz.toml:2)");
	assert_string_equal(find("config.limits.memory_mib")->text,
			    "limits.memory_mib = 512 (built-in)");
	assert_string_equal(find("default.egress")->text, "deny (built-in)");
	assert_string_equal(find("path.state")->text + strlen(root),
			    "/not/yet/there (from --state-dir)");
	assert_int_equal(find("provider")->status, DOCTOR_INFO);
	put("log.key", "x", 0640);
	in.kvm = DOCTOR_KVM_FAILS;
	in.kvm_text = "no output within 5 s\x1b[2J";
	doctor_run(&in, &report);
	assert_int_equal(find("log-key")->status, DOCTOR_FAIL);
	assert_int_equal(find("kvm")->status, DOCTOR_WARN);
	assert_non_null(strstr(find("kvm")->text, "no output within 5 s"));
	assert_null(strchr(find("kvm")->text, 0x1b));
	config_free(config);
	policy_free(policy);
}

static void test_json(void **state)
{
	struct jsonw json;
	struct buf out;

	(void)state;
	report.count = 1;
	report.checks[0] = (struct doctor_check){.id = "kvm",
						 .status = DOCTOR_WARN,
						 .text = "t",
						 .cost = "c",
						 .fix = "f"};
	buf_init(&out, 4096);
	jsonw_init(&json, &out);
	doctor_json(&report, &json);
	assert_int_equal(jsonw_finish(&json), ERR_OK);
	assert_true(span_is(buf_span(&out),
			    "{\"checks\":[{\"id\":\"kvm\",\"status\":\"warn\","
			    "\"text\":\"t\",\"cost\":\"c\",\"fix\":\"f\"}]}"));
	buf_fini(&out);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	static const char *const names[] = {"kvm",
					    "qemu-system-x86_64",
					    "bwrap",
					    "manifest.json",
					    "log.key",
					    "meminfo",
					    "sys/kernel/seccomp/actions_avail",
					    "sys/kernel/seccomp",
					    "sys/kernel",
					    "sys"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)remove(below(names[i]));
	return rmdir(root);
}

static void test_survival(void **state)
{
	struct paths paths = test_paths();
	struct doctor_input in = {.paths = &paths,
				  .dev_dir = root,
				  .proc_dir = root,
				  .search_path = root};

	(void)state;
	doctor_run(&in, &report);
	assert_int_equal(find("survival")->status, DOCTOR_INFO);
	assert_non_null(strstr(find("survival")->cost, "ends every session"));
	assert_non_null(strstr(find("survival")->fix, "engine.survive"));
	in.service = true;
	in.adopting = 2;
	doctor_run(&in, &report);
	assert_int_equal(find("survival")->status, DOCTOR_OK);
	assert_int_equal(find("survival.adopting")->status, DOCTOR_WARN);
	assert_non_null(strstr(find("survival.adopting")->text, "2 sessions"));
}

static void test_files(void **state)
{
	struct paths paths = test_paths();
	const struct doctor_input in = {.paths = &paths,
					.dev_dir = root,
					.proc_dir = root,
					.search_path = root};
	struct rlimit before, low;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	doctor_run(&in, &report);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(find("files")->status, DOCTOR_WARN);
	assert_true(find("files")->cost[0] && find("files")->fix[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_survival),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_bare_host),
		cmocka_unit_test(test_good_host),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
