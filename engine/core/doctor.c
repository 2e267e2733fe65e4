/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.c - what this host offers, what is missing and how to mend it
 *
 * Runs in: kenazd.
 * Trusts:  the host's /proc and /dev.
 * Never:   changes anything, starts a program, reads a key.
 */
#include "engine/core/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/proto/image_keys.h"

#define MIB                 (1024u * 1024u)
#define DISK_FAIL_MIB       64u
#define DISK_WARN_MIB       1024u
#define MEMLOCK_WARN_BYTES  (1024u * 1024u)
#define PROC_FILE_MAX_BYTES 4096u
#define FILES_BASE          320u /* log, vault, 256 clients */
#define FILES_A_SESSION     8u   /* in core: channels and streams */
#define QEMU_NAME           "qemu-system-x86_64"
#define PACKAGES            "install it: scripts/deps"

struct doctor {
	const struct doctor_input *in;
	struct doctor_report *report;
};

static void put_text(char *ret_text, const char *format, va_list args)
{
	char raw[DOCTOR_TEXT_MAX_BYTES];

	(void)vsnprintf(raw, sizeof(raw), format, args);
	(void)text_escape_line(span_text(raw), ret_text, DOCTOR_TEXT_MAX_BYTES);
}

static void add_check(struct doctor_report *report, const char *id,
		      enum doctor_status status, const char *cost,
		      const char *fix, const char *format, va_list args)
{
	struct doctor_check *check;

	if (report->count == DOCTOR_CHECKS_MAX)
		return;
	check = &report->checks[report->count++];
	check->status = status;
	(void)snprintf(check->id, sizeof(check->id), "%s", id);
	(void)snprintf(check->cost, sizeof(check->cost), "%s", cost);
	(void)snprintf(check->fix, sizeof(check->fix), "%s", fix);
	put_text(check->text, format, args);
}

/* Adds a check; the last slot is never passed. cost and fix are static. */
static void __attribute__((format(printf, 6, 7)))
add(const struct doctor *d, const char *id, enum doctor_status status,
    const char *cost, const char *fix, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_check(d->report, id, status, cost, fix, format, args);
	va_end(args);
}

/**
 * doctor_add() - Add a check of another part of the engine
 * @report:	Appended to, unless it is full
 * @id:		Short name
 * @status:	How bad it is
 * @cost:	What it costs, or ""
 * @fix:	How to mend it, or ""
 * @format:	What was found, as for printf
 */
void doctor_add(struct doctor_report *report, const char *id,
		enum doctor_status status, const char *cost, const char *fix,
		const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_check(report, id, status, cost, fix, format, args);
	va_end(args);
}

/* --- helpers -------------------------------------------------------------- */

static const char *or_else(const char *text, const char *otherwise)
{
	return text ? text : otherwise;
}

/* First bytes of a file below a folder, as text; false when unreadable. */
static bool read_below(const char *folder, const char *name, char *ret_text,
		       size_t cap_bytes)
{
	char path[PATHS_MAX_BYTES];
	ssize_t n;
	int fd;

	if (paths_join(folder, name, path, sizeof(path)) != ERR_OK)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, ret_text, cap_bytes - 1);
	close(fd);
	if (n < 0)
		return false;
	ret_text[n] = '\0';
	return true;
}

/* A number that stands alone in a file; -1 when there is none. */
static long long read_number(const char *folder, const char *name)
{
	char text[64];
	uint64_t value;

	if (!read_below(folder, name, text, sizeof(text)))
		return -1;
	text[strcspn(text, "\n")] = '\0';
	if (text_parse_u64(span_text(text), 0, INT64_MAX, &value) != ERR_OK)
		return -1;
	return (long long)value;
}

static bool find_program(const struct doctor *d, const char *name,
			 char ret_path[PATHS_MAX_BYTES])
{
	const char *at = or_else(d->in->search_path, getenv("PATH"));
	char folder[PATHS_MAX_BYTES];

	while (at && *at) {
		size_t len = strcspn(at, ":");

		if (len &&
		    span_copy_text(span_of(at, len), folder, sizeof(folder)) ==
			    ERR_OK &&
		    paths_join(folder, name, ret_path, PATHS_MAX_BYTES) ==
			    ERR_OK &&
		    access(ret_path, X_OK) == 0)
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

/* --- virtual machines ----------------------------------------------------- */

static void check_kvm(const struct doctor *d)
{
	static const char cost[] = "without KVM guests run under software "
				   "emulation, several times slower";
	const char *why = or_else(d->in->kvm_text, "no probe has run yet");
	char path[PATHS_MAX_BYTES];
	struct stat st;

	if (paths_join(or_else(d->in->dev_dir, "/dev"), "kvm", path,
		       sizeof(path)) != ERR_OK)
		return;
	if (stat(path, &st) != 0)
		add(d, "kvm", DOCTOR_WARN, cost,
		    "switch virtualisation on in the firmware, or nested "
		    "virtualisation in the outer host; load kvm_intel or "
		    "kvm_amd",
		    "%s does not exist", path);
	else if (access(path, R_OK | W_OK) != 0)
		add(d, "kvm", DOCTOR_WARN, cost,
		    "add the engine's user to the group kvm and log in again",
		    "%s cannot be opened: %s", path, strerror(errno));
	else if (d->in->kvm == DOCTOR_KVM_FAILS)
		add(d, "kvm", DOCTOR_WARN, cost,
		    "boot the host with working virtualisation; the verdict "
		    "is kept for this boot of the host and this QEMU",
		    "%s is there but no guest boots on it: %s", path, why);
	else if (d->in->kvm == DOCTOR_KVM_WORKS)
		add(d, "kvm", DOCTOR_OK, "", "", "a guest boots on %s", path);
	else
		add(d, "kvm", DOCTOR_INFO, "", "",
		    "%s can be opened; whether a guest boots on it is found "
		    "out at the first session",
		    path);
}

static void check_vhost_vsock(const struct doctor *d)
{
	char path[PATHS_MAX_BYTES];
	bool there;

	if (paths_join(or_else(d->in->dev_dir, "/dev"), "vhost-vsock", path,
		       sizeof(path)) != ERR_OK)
		return;
	there = access(path, F_OK) == 0;
	if (!d->in->config ||
	    d->in->config->engine.vsock != CONFIG_VSOCK_KERNEL)
		add(d, "vhost-vsock", DOCTOR_INFO,
		    there ? ""
			  : "none: Kenaz brings its own vsock device, which "
			    "needs no kernel module",
		    "", "%s %s", path,
		    there ? "is there and not used" : "does not exist");
	else if (access(path, R_OK | W_OK) == 0)
		add(d, "vhost-vsock", DOCTOR_WARN,
		    "with engine.vsock = \"kernel\", guests reach every "
		    "AF_VSOCK listener on this host and every local process "
		    "reaches the ports of guests",
		    "set engine.vsock to \"device\" in kenaz.toml, or see to "
		    "it that nothing else listens on AF_VSOCK",
		    "%s is there and used", path);
	else
		add(d, "vhost-vsock", DOCTOR_FAIL, "no session can be started",
		    there ? "add the engine's user to the group kvm, or set "
			    "engine.vsock to \"device\" in kenaz.toml"
			  : "load the module vhost_vsock, or set engine.vsock "
			    "to \"device\" in kenaz.toml",
		    "%s cannot be opened: %s", path, strerror(errno));
}

static void check_qemu(const struct doctor *d)
{
	static const char cost[] = "no session can be started";
	char path[PATHS_MAX_BYTES];
	const char *at = d->in->qemu_path;

	if (at ? access(at, X_OK) != 0 : !find_program(d, QEMU_NAME, path)) {
		add(d, "qemu", DOCTOR_FAIL, cost, PACKAGES, "%s is missing",
		    or_else(at, QEMU_NAME));
		return;
	}
	add(d, "qemu", DOCTOR_OK, "", "", "%s: %s", or_else(at, path),
	    or_else(d->in->qemu_version, "version not asked for yet"));
}

static void check_bubblewrap(const struct doctor *d)
{
	char path[PATHS_MAX_BYTES];

	if (find_program(d, "bwrap", path))
		add(d, "bubblewrap", DOCTOR_OK, "", "", "%s", path);
	else
		add(d, "bubblewrap", DOCTOR_FAIL,
		    "no session can be started: QEMU does not run without "
		    "its jail",
		    PACKAGES, "bwrap is missing");
}

static void check_namespaces(const struct doctor *d)
{
	static const char cost[] = "no session can be started: the jail is "
				   "made of user namespaces";
	const char *proc = or_else(d->in->proc_dir, "/proc");

	if (geteuid() == 0) {
		add(d, "namespaces", DOCTOR_OK, "", "",
		    "the engine runs as root and may make namespaces");
		return;
	}
	if (read_number(proc, "sys/user/max_user_namespaces") == 0)
		add(d, "namespaces", DOCTOR_FAIL, cost,
		    "sysctl user.max_user_namespaces=10000",
		    "user namespaces are switched off "
		    "(user.max_user_namespaces is 0)");
	else if (read_number(proc, "sys/kernel/unprivileged_userns_clone") == 0)
		add(d, "namespaces", DOCTOR_FAIL, cost,
		    "sysctl kernel.unprivileged_userns_clone=1",
		    "user namespaces are for root only "
		    "(kernel.unprivileged_userns_clone is 0)");
	else if (read_number(proc,
			     "sys/kernel/"
			     "apparmor_restrict_unprivileged_userns") == 1)
		add(d, "namespaces", DOCTOR_WARN, cost,
		    "allow userns for bwrap in an AppArmor profile",
		    "AppArmor restricts user namespaces on this host");
	else
		add(d, "namespaces", DOCTOR_OK, "", "",
		    "user namespaces can be made");
}

static void check_seccomp(const struct doctor *d)
{
	char text[PROC_FILE_MAX_BYTES];

	if (read_below(or_else(d->in->proc_dir, "/proc"),
		       "sys/kernel/seccomp/actions_avail", text,
		       sizeof(text)) &&
	    strstr(text, "kill_process"))
		add(d, "seccomp", DOCTOR_OK, "", "",
		    "system calls can be filtered");
	else
		add(d, "seccomp", DOCTOR_FAIL,
		    "no process of the engine starts without its filter",
		    "use a kernel with CONFIG_SECCOMP_FILTER",
		    "the kernel offers no seccomp filters");
}

static void check_image(const struct doctor *d)
{
	char path[PATHS_MAX_BYTES];

	if (!d->in->image_dir) {
		add(d, "image", DOCTOR_FAIL, "no session can be started",
		    "make image, or name a folder in [[image]] of kenaz.toml",
		    "no image is known");
		return;
	}
	if (paths_join(d->in->image_dir, "manifest.json", path, sizeof(path)) ==
		    ERR_OK &&
	    access(path, R_OK) == 0)
		add(d, "image", DOCTOR_OK, "", "", "%s", path);
	else
		add(d, "image", DOCTOR_FAIL, "no session can be started",
		    "make image",
		    "the default image's %s/manifest.json cannot be read: %s",
		    d->in->image_dir, strerror(errno));
}

static void check_image_keys(const struct doctor *d)
{
	if (!d->in->image_keys)
		return;
	if (d->in->image_keys->count)
		add(d, "image.keys", DOCTOR_OK, "", "",
		    "images signed by one of %zu keys may start",
		    d->in->image_keys->count);
	else
		add(d, "image.keys", DOCTOR_FAIL, "no session can be started",
		    "make image, or put public keys of those whose images you "
		    "start into image-keys of the configuration folder",
		    "no key is trusted to sign images");
}

/* --- room ----------------------------------------------------------------- */

/* The nearest folder above that exists. */
static bool stat_disk(const char *folder, struct statvfs *ret_disk)
{
	char path[PATHS_MAX_BYTES];
	char *slash;

	if (span_copy_text(span_text(folder), path, sizeof(path)) != ERR_OK)
		return false;
	while (statvfs(path, ret_disk) != 0) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return true;
}

static void check_disk(const struct doctor *d)
{
	static const char cost[] = "when the log cannot be written, every "
				   "request is refused";
	const char *folder = d->in->paths->state.path;
	unsigned long long mib;
	struct statvfs disk;

	if (!stat_disk(folder, &disk)) {
		add(d, "disk", DOCTOR_FAIL, cost,
		    "make the folder or pass --state-dir",
		    "%s cannot be used: %s", folder, strerror(errno));
		return;
	}
	mib = (unsigned long long)disk.f_bavail * disk.f_frsize / MIB;
	if (mib >= DISK_WARN_MIB)
		add(d, "disk", DOCTOR_OK, "", "", "%llu MiB are free for %s",
		    mib, folder);
	else
		add(d, "disk", mib < DISK_FAIL_MIB ? DOCTOR_FAIL : DOCTOR_WARN,
		    cost, "make room, or pass --state-dir",
		    "only %llu MiB are free for %s", mib, folder);
}

/* "MemAvailable:   123 kB" in MiB; 0 when it is not there. */
static uint64_t memory_available_mib(const struct doctor *d)
{
	char text[PROC_FILE_MAX_BYTES];
	uint64_t kib;
	char *at;

	if (!read_below(or_else(d->in->proc_dir, "/proc"), "meminfo", text,
			sizeof(text)))
		return 0;
	at = strstr(text, "MemAvailable:");
	if (!at)
		return 0;
	at += strlen("MemAvailable:");
	at += strspn(at, " ");
	if (text_parse_u64(span_of(at, strcspn(at, " \n")), 0, UINT32_MAX,
			   &kib) != ERR_OK)
		return 0;
	return kib / 1024;
}

static void check_memory(const struct doctor *d)
{
	uint64_t mib = memory_available_mib(d);
	uint32_t need = d->in->config ? d->in->config->limits.memory_mib : 512;

	if (mib == 0)
		add(d, "memory", DOCTOR_WARN, "", "",
		    "how much memory is available is not known");
	else if (mib < need)
		add(d, "memory", DOCTOR_WARN, "a session may not start",
		    "end programs, or lower limits.memory_mib in kenaz.toml",
		    "%llu MiB are available, a session takes %u",
		    (unsigned long long)mib, need);
	else
		add(d, "memory", DOCTOR_OK, "", "",
		    "%llu MiB are available, a session takes %u",
		    (unsigned long long)mib, need);
}

static void check_memlock(const struct doctor *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		add(d, "memlock", DOCTOR_OK, "", "",
		    "memory can be locked without a limit");
	else if (limit.rlim_cur < MEMLOCK_WARN_BYTES)
		add(d, "memlock", DOCTOR_WARN,
		    "keys that cannot be locked in memory are refused",
		    "raise memlock in /etc/security/limits.conf, or "
		    "LimitMEMLOCK in the unit",
		    "only %llu KiB of memory can be locked",
		    (unsigned long long)limit.rlim_cur / 1024);
	else
		add(d, "memlock", DOCTOR_OK, "", "",
		    "%llu KiB of memory can be locked",
		    (unsigned long long)limit.rlim_cur / 1024);
}

/* Channels and streams: what limits.max_sessions promises must fit. */
static void check_files(const struct doctor *d)
{
	uint32_t sessions =
		d->in->config ? d->in->config->limits.max_sessions : 64;
	rlim_t need = FILES_BASE + (rlim_t)sessions * FILES_A_SESSION;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < need)
		add(d, "files", DOCTOR_WARN,
		    "the engine refuses sessions and clients when it has no "
		    "descriptor left",
		    "raise the hard limit of nofile (LimitNOFILE in the unit) "
		    "or lower limits.max_sessions",
		    "%llu descriptors may be open, %u sessions take about "
		    "%llu",
		    (unsigned long long)limit.rlim_cur, sessions,
		    (unsigned long long)need);
	else
		add(d, "files", DOCTOR_OK, "", "",
		    "%llu descriptors may be open, %u sessions take about "
		    "%llu",
		    (unsigned long long)limit.rlim_cur, sessions,
		    (unsigned long long)need);
}

static void check_log_key(const struct doctor *d)
{
	const char *path = d->in->log_key_path;
	struct stat st;

	if (!path)
		return;
	if (stat(path, &st) != 0)
		add(d, "log-key", DOCTOR_INFO, "", "",
		    "%s: made when the log is first written", path);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		add(d, "log-key", DOCTOR_FAIL,
		    "who reads it can sign entries of the log",
		    "chmod 600 the file, then look who had access",
		    "%s can be used by others (mode %o)", path,
		    st.st_mode & 0777);
	else
		add(d, "log-key", DOCTOR_OK, "", "",
		    "%s; without a copy of it the log's next epoch cannot "
		    "be opened",
		    path);
}

/* --- folders, configuration, policy --------------------------------------- */

static void add_folder(const struct doctor *d, const char *id,
		       const struct paths_folder *folder)
{
	add(d, id, DOCTOR_INFO, "", "", "%s (from %s)", folder->path,
	    folder->source);
}

static void check_paths(const struct doctor *d)
{
	const struct paths *paths = d->in->paths;

	add_folder(d, "path.config", &paths->config);
	add_folder(d, "path.state", &paths->state);
	add_folder(d, "path.runtime", &paths->runtime);
	add(d, "path.socket", DOCTOR_INFO, "", "", "%s", paths->socket);
}

static void check_provider(const struct doctor *d)
{
	const struct config_provider *provider =
		config_default_provider(d->in->config);

	if (!provider)
		return;
	if (strcmp(provider->kind, CONFIG_SCRIPTED) == 0)
		add(d, "provider", DOCTOR_INFO,
		    "no model is called: a small program plays an agent's "
		    "task",
		    "kenaz setup, or kenaz provider add",
		    "the scripted provider answers, as no other is "
		    "configured");
	else
		add(d, "provider", DOCTOR_OK, "", "",
		    "%zu configured, the default is %s (%s)",
		    d->in->config->provider_count, provider->name,
		    provider->kind);
}

static void check_config(const struct doctor *d)
{
	const struct config *config = d->in->config;
	char id[DOCTOR_ID_MAX_BYTES];

	if (!config) {
		add(d, "config", DOCTOR_FAIL, "the engine does not start",
		    "mend the line that is named", "%s",
		    or_else(d->in->config_error, "did not load"));
		return;
	}
	if (config->from_file)
		add(d, "config", DOCTOR_OK, "", "", "%s", config->file);
	else
		add(d, "config", DOCTOR_INFO, "", "",
		    "there is no " CONFIG_FILE_NAME
		    "; the built-in defaults hold");
	check_provider(d);
	for (size_t i = 0; i < config_setting_count(); i++) {
		struct config_setting one;

		config_setting_at(config, i, &one);
		(void)snprintf(id, sizeof(id), "config.%.40s", one.name);
		add(d, id, DOCTOR_INFO, "", "", "%s = %s (%s)", one.name,
		    one.value, one.source);
	}
}

static void check_policy(const struct doctor *d)
{
	const struct policy *policy = d->in->policy;

	if (!policy) {
		add(d, "policy", DOCTOR_FAIL,
		    "the engine does not start; one that runs keeps the old "
		    "policy",
		    "mend the line that is named", "%s",
		    or_else(d->in->policy_error, "did not load"));
		return;
	}
	add(d, "policy", DOCTOR_OK, "", "",
	    "%zu rules and %zu tests in %zu files; digest %s",
	    policy_rule_count(policy), policy_test_count(policy),
	    policy_file_count(policy), policy_digest(policy));
	for (size_t i = 0; i < policy_warning_count(policy) && i < 16; i++)
		add(d, "policy.warning", DOCTOR_WARN, "",
		    "change or remove the rule", "%s",
		    policy_warning_at(policy, i));
	for (size_t i = 0; i < policy_default_count(); i++) {
		struct policy_setting one;

		policy_default_at(policy, i, &one);
		add(d, one.id, DOCTOR_INFO, "", "", "%s (%s)",
		    policy_effect_text(one.effect), one.source);
	}
}

/* What a crash or an upgrade of the engine does to the sessions. */
static void check_survival(const struct doctor *d)
{
	uint32_t adopt_s = d->in->config ? d->in->config->engine.adopt_s : 0;

	if (d->in->service)
		add(d, "survival", DOCTOR_OK, "", "",
		    "sessions outlive this engine: the next one has %u s to "
		    "adopt them, a service manager must leave their processes "
		    "alone (systemd: KillMode=process)",
		    adopt_s);
	else
		add(d, "survival", DOCTOR_INFO,
		    "a crash or an upgrade of the engine ends every session",
		    "run it as a service: kenazd --system, or engine.survive = "
		    "true in kenaz.toml with kenaz serve",
		    "sessions end with this engine");
	if (d->in->adopting)
		add(d, "survival.adopting", DOCTOR_WARN,
		    "their guests get no answer until they are taken over",
		    "wait; who does not answer in time is ended, and the log "
		    "says why",
		    "%zu sessions of an earlier engine are being taken over",
		    d->in->adopting);
}

/* One line a check: each looks at one thing and changes nothing. */
static void (*const checks[])(const struct doctor *d) = {
	check_kvm,      check_qemu,        check_bubblewrap, check_namespaces,
	check_seccomp,  check_vhost_vsock, check_image,      check_image_keys,
	check_disk,     check_memory,      check_memlock,    check_files,
	check_survival, check_log_key,     check_paths,      check_config,
	check_policy,
};

/**
 * doctor_run() - Look at everything
 * @input:	What the caller knows; paths must be set
 * @ret_report:	Always written
 *
 * Reads a few files below /proc and /dev; blocks no longer than they do.
 */
void doctor_run(const struct doctor_input *input,
		struct doctor_report *ret_report)
{
	const struct doctor d = {input, ret_report};

	size_t i;

	ret_report->count = 0;
	for (i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	doctor_check_limits(input, ret_report);
}

/** doctor_status_text() - "ok", "info", "warn" or "fail" */
const char *doctor_status_text(enum doctor_status status)
{
	static const char *const texts[] = {"ok", "info", "warn", "fail"};

	return texts[status];
}

/**
 * doctor_json() - A report as an object with a list "checks"
 * @report:	Report
 * @out:	Receives it
 */
void doctor_json(const struct doctor_report *report, struct jsonw *out)
{
	jsonw_begin_object(out);
	jsonw_key(out, "checks");
	jsonw_begin_array(out);
	for (size_t i = 0; i < report->count; i++) {
		const struct doctor_check *check = &report->checks[i];

		jsonw_begin_object(out);
		jsonw_put_cstr(out, "id", check->id);
		jsonw_put_cstr(out, "status",
			       doctor_status_text(check->status));
		jsonw_put_cstr(out, "text", check->text);
		jsonw_put_cstr(out, "cost", check->cost);
		jsonw_put_cstr(out, "fix", check->fix);
		jsonw_end_object(out);
	}
	jsonw_end_array(out);
	jsonw_end_object(out);
}
