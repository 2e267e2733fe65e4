/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - what is allowed: load, evaluate, explain */
#ifndef KENAZ_CORE_POLICY_H
#define KENAZ_CORE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/conf.h"
#include "engine/base/digest.h"
#include "engine/core/budget.h"

#define POLICY_FILE_NAME          "policy.toml"
#define POLICY_FOLDER_NAME        "policy.d"
#define POLICY_FILES_MAX          64u   /* of one layer */
#define POLICY_RULES_MAX          4096u /* of all files */
#define POLICY_TESTS_MAX          4096u /* of all files */
#define POLICY_VALUES_MAX         256u  /* of one condition */
#define POLICY_MATCHED_MAX        16u   /* ids reported of one decision */
#define POLICY_ARGS_MAX           64u   /* arguments of one tool call */
#define POLICY_ARG_NAME_MAX_BYTES 128u
#define POLICY_ARG_MAX_BYTES      4096u
#define POLICY_PORT_MAX           UINT16_MAX /* egress */
#define POLICY_VSOCK_PORT_MAX     (UINT32_MAX - 1)

enum policy_effect { POLICY_ALLOW, POLICY_ASK, POLICY_DENY };

enum policy_target {
	POLICY_INFERENCE,
	POLICY_TOOL,
	POLICY_FEATURE,
	POLICY_EGRESS,
	POLICY_FILE,
	POLICY_SESSION,
	POLICY_CLIPBOARD,
	POLICY_TERMINAL,
	POLICY_VSOCK,
	POLICY_TARGET_COUNT,
};

/* As seen from the VM; POLICY_NO_DIRECTION where it does not apply. */
enum policy_direction { POLICY_NO_DIRECTION, POLICY_IN, POLICY_OUT };

/* OPAQUE: the argument is there but is no text (a list, an object). */
enum policy_arg_state { POLICY_ARG_WHOLE, POLICY_ARG_CUT, POLICY_ARG_OPAQUE };

struct policy_arg {
	struct span key;
	struct span value; /* the first POLICY_ARG_MAX_BYTES when cut */
	enum policy_arg_state state;
};

/* One question. Fields that do not belong to the target are ignored. */
struct policy_request {
	enum policy_target target;
	struct span user;
	struct span image;
	struct span provider; /* inference */
	struct span model;
	struct span route;
	bool provider_unknown; /* not in kenaz.toml: always denied */
	struct span name;      /* tool, feature */
	const struct policy_arg *args;
	size_t arg_count;
	bool args_incomplete; /* the gate could not list every argument */
	struct span host;     /* egress */
	uint32_t port;        /* egress, vsock */
	enum policy_direction direction; /* file, clipboard */
	struct span path;                /* file: in the guest */
	struct span action;              /* terminal */
};

/* One answer. Texts are borrowed from the policy. */
struct policy_decision {
	enum policy_effect effect;
	const char *rule;   /* the winning rule's id */
	const char *reason; /* one sentence for people */
	const char *source; /* file:line, or "built-in" */
	bool by_default;    /* no rule of a file matched */
	bool by_error;      /* matched because a condition was not decidable */
	bool allow_private; /* egress: private addresses are acceptable */
	uint32_t matched_count;
	uint32_t listed_count; /* of matched_count, those in matched[] */
	const char *matched[POLICY_MATCHED_MAX];
};

/* Folders that hold policy.toml and policy.d; NULL or missing is empty. */
struct policy_sources {
	const char *base_dir; /* what may allow */
	const char *own_dir;  /* what may only tighten */
	bool base_is_system;  /* must be root's and writable by root alone */
};

/* One file held in memory, for tests, `policy check` and fuzzing. */
struct policy_text {
	const char *file;
	struct span text;
	bool own;
};

/* A default in force and what set it. */
struct policy_setting {
	const char *id;
	enum policy_effect effect;
	const char *source;
};

struct policy;

void policy_sources_choose(const char *system_dir, const char *config_dir,
			   bool system, struct policy_sources *ret_sources);
MUST_CHECK enum err policy_load(const struct policy_sources *sources,
				struct conf_error *error,
				struct policy **ret_policy);
MUST_CHECK enum err policy_parse(const struct policy_text *texts, size_t count,
				 struct conf_error *error,
				 struct policy **ret_policy);
MUST_CHECK enum err policy_reload(struct policy **policy,
				  const struct policy_sources *sources,
				  struct conf_error *error);
void policy_free(struct policy *policy);

void policy_evaluate(const struct policy *policy,
		     const struct policy_request *request,
		     struct policy_decision *ret_decision);

const char *policy_digest(const struct policy *policy);
const struct budget_limits *policy_budgets(const struct policy *policy);
size_t policy_file_count(const struct policy *policy);
const char *policy_file_at(const struct policy *policy, size_t index);
size_t policy_rule_count(const struct policy *policy);
bool policy_may_allow(const struct policy *policy, enum policy_target target);
uint32_t policy_port_max(enum policy_target target);
size_t policy_test_count(const struct policy *policy);
size_t policy_warning_count(const struct policy *policy);
const char *policy_warning_at(const struct policy *policy, size_t index);

size_t policy_default_count(void);
void policy_default_at(const struct policy *policy, size_t index,
		       struct policy_setting *ret_setting);

const char *policy_effect_text(enum policy_effect effect);
const char *policy_target_text(enum policy_target target);
MUST_CHECK enum err policy_target_parse(struct span text,
					enum policy_target *ret_target);

#endif
