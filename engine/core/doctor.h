/* SPDX-License-Identifier: Apache-2.0 */
/* doctor.h - what this host offers, what is missing and how to mend it */
#ifndef KENAZ_CORE_DOCTOR_H
#define KENAZ_CORE_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/cgroup.h"
#include "engine/base/jsonw.h"
#include "engine/base/paths.h"
#include "engine/core/config.h"
#include "engine/core/policy.h"

#define DOCTOR_CHECKS_MAX     128u
#define DOCTOR_ID_MAX_BYTES   48u
#define DOCTOR_TEXT_MAX_BYTES 320u

enum doctor_status { DOCTOR_OK, DOCTOR_INFO, DOCTOR_WARN, DOCTOR_FAIL };
struct image_keys;

enum doctor_kvm { DOCTOR_KVM_UNKNOWN, DOCTOR_KVM_WORKS, DOCTOR_KVM_FAILS };

/* What the caller already knows; NULL is "not known". */
struct doctor_input {
	const struct paths *paths;
	const struct config *config; /* NULL: did not load */
	const char *config_error;    /* the sentence, when it did not */
	const struct policy *policy; /* NULL: did not load */
	const char *policy_error;    /* the sentence, when it did not */
	const char *qemu_path;       /* NULL: looked for in PATH */
	const char *qemu_version;    /* first line of --version, or NULL */
	const char *image_dir;       /* folder of the default image */
	const char *log_key_path;    /* audit's own key */
	const struct image_keys *image_keys; /* NULL: not known */
	enum doctor_kvm kvm;                 /* cached verdict of the probe */
	const char *kvm_text;                /* its reason, or NULL */
	const char *dev_dir;                 /* "/dev"; tests pass their own */
	const struct cgroups *cgroups;       /* of sessions, or NULL */
	int landlock_version;                /* with cgroups */
	const char *proc_dir;                /* "/proc" */
	const char *search_path;             /* PATH; NULL: the environment's */
	bool service;                        /* sessions outlive this engine */
	size_t adopting;                     /* sessions not taken over yet */
};

struct doctor_check {
	char id[DOCTOR_ID_MAX_BYTES];
	enum doctor_status status;
	char text[DOCTOR_TEXT_MAX_BYTES]; /* what was found */
	char cost[DOCTOR_TEXT_MAX_BYTES]; /* what its absence costs, or "" */
	char fix[DOCTOR_TEXT_MAX_BYTES];  /* how to mend it, or "" */
};

struct doctor_report {
	size_t count;
	struct doctor_check checks[DOCTOR_CHECKS_MAX];
};

void doctor_run(const struct doctor_input *input,
		struct doctor_report *ret_report);
void doctor_check_limits(const struct doctor_input *input,
			 struct doctor_report *report);
void doctor_add(struct doctor_report *report, const char *id,
		enum doctor_status status, const char *cost, const char *fix,
		const char *format, ...) __attribute__((format(printf, 6, 7)));
const char *doctor_status_text(enum doctor_status status);
void doctor_json(const struct doctor_report *report, struct jsonw *out);

#endif
