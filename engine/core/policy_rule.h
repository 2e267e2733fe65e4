/* SPDX-License-Identifier: Apache-2.0 */
/* policy_rule.h - compiled rules, shared by the files of the evaluator */
#ifndef KENAZ_CORE_POLICY_RULE_H
#define KENAZ_CORE_POLICY_RULE_H

#include "engine/core/policy.h"

#define POLICY_ID_MAX_BYTES   64u
#define POLICY_GLOB_MAX_BYTES 256u
#define POLICY_HOST_MAX_BYTES 253u
#define POLICY_WARNINGS_MAX   64u
#define POLICY_WORDS_MAX      (POLICY_RULES_MAX / 64u)
#define POLICY_DEFAULT_PREFIX "default."

/* Conditions on one text of the request, in the order of policy_fields[]. */
enum policy_field_id {
	FIELD_USER,
	FIELD_IMAGE,
	FIELD_PROVIDER,
	FIELD_MODEL,
	FIELD_ROUTE,
	FIELD_NAME,
	FIELD_HOST,
	FIELD_PATH,
	FIELD_ACTION,
	FIELD_COUNT,
};

enum policy_op {
	OP_EQUALS,
	OP_GLOB,
	OP_PREFIX, /* arguments only */
	OP_UNDER,  /* a folder and what is below it, after "..", "." */
	OP_HOST,   /* the name itself, in any case */
	OP_SUFFIX, /* any name below it: "*.suffix" */
};

/* NO beats UNDECIDABLE: one condition that fails settles the rule. */
enum policy_verdict { VERDICT_NO, VERDICT_YES, VERDICT_UNDECIDABLE };

struct policy_pattern {
	enum policy_op op;
	struct span text;
};

struct policy_patterns {
	struct policy_pattern *at;
	size_t count;
};

struct policy_arg_rule {
	struct span name;
	struct policy_patterns values;
};

struct policy_rule {
	const char *id;
	enum policy_effect effect;
	enum policy_target target;
	bool own;
	bool allow_private;
	uint32_t fields; /* bits of enum policy_field_id */
	struct policy_patterns of[FIELD_COUNT];
	uint32_t *ports;
	size_t port_count;
	enum policy_direction direction;
	struct policy_arg_rule *args;
	size_t arg_count;
	const char *reason;
	const char *source;
	uint32_t order; /* in which it was read */
};

/* What a key of a rule means: one row a field. */
struct policy_field_row {
	const char *key;
	uint32_t targets; /* bits of enum policy_target */
	size_t offset;    /* of its span in struct policy_request */
	bool host;
	bool path;
};

extern const struct policy_field_row policy_fields[FIELD_COUNT];

/* Slots of the defaults; file and clipboard differ by direction. */
enum policy_slot {
	SLOT_INFERENCE,
	SLOT_TOOL,
	SLOT_FEATURE,
	SLOT_EGRESS,
	SLOT_FILE_IN,
	SLOT_FILE_OUT,
	SLOT_SESSION,
	SLOT_CLIPBOARD,
	SLOT_TERMINAL,
	SLOT_VSOCK,
	SLOT_COUNT,
};

struct policy_default {
	const char *key; /* in [default] */
	const char *id;
	enum policy_effect effect;
	const char *reason;
};

extern const struct policy_default policy_defaults[SLOT_COUNT];

/* What a layer's [default] says of a slot; source is NULL when nothing. */
struct policy_override {
	enum policy_effect effect;
	const char *source;
	const char *reason;
};

struct policy_test {
	struct policy_request request;
	enum policy_effect expect;
	const char *rule; /* or NULL */
	const char *file;
	unsigned int line;
	bool own;
};

struct policy_entry {
	uint32_t hash;
	uint32_t rule;
	uint32_t next; /* index + 1; 0 ends the chain */
	struct policy_pattern pattern;
};

/* Rules of one target: found by the hash of one field, or always tried. */
struct policy_index {
	enum policy_field_id field;
	bool hashed;
	uint32_t mask;
	uint32_t *heads; /* index + 1 into entries */
	struct policy_entry *entries;
	uint32_t entry_count;
	uint32_t *always;
	uint32_t always_count;
};

struct policy_block;

enum policy_layer { LAYER_BASE, LAYER_OWN, LAYER_COUNT };

struct policy {
	struct policy_rule *rules; /* sorted by id */
	uint32_t rule_count;
	struct policy_index index[POLICY_TARGET_COUNT];
	struct policy_override defaults[LAYER_COUNT][SLOT_COUNT];
	struct policy_test *tests;
	uint32_t test_count;
	struct budget_limits budgets;
	char digest[DIGEST_HEX_BYTES];
	struct conf *trees[LAYER_COUNT * POLICY_FILES_MAX];
	size_t tree_count;
	const char *warnings[POLICY_WARNINGS_MAX];
	size_t warning_count;
	struct policy_block *blocks; /* everything else, freed at once */
};

/* policy_memory.c */
void *policy_alloc(struct policy *policy, size_t count, size_t size_bytes,
		   struct conf_error *error);
const char *policy_text_format(struct policy *policy, struct conf_error *error,
			       const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void policy_free_blocks(struct policy *policy);

/* policy_match.c */
bool policy_pattern_matches(const struct policy_pattern *pattern,
			    struct span text);
enum policy_verdict policy_rule_matches(const struct policy_rule *rule,
					const struct policy_request *request,
					uint32_t known);
bool policy_rule_covers(const struct policy_rule *wide,
			const struct policy_rule *narrow);
struct span policy_host_trim(struct span host);
enum err policy_path_clean(struct span path, char *ret_path, size_t cap_bytes,
			   size_t *ret_len_bytes);
struct span policy_request_field(const struct policy_request *request,
				 enum policy_field_id field);

/* policy_read.c */
enum err policy_read_file(struct policy *policy, struct conf_node *root,
			  bool own, struct conf_error *error);

/* policy_test.c */
enum err policy_read_tests(struct policy *policy, struct conf_node *root,
			   bool own, struct conf_error *error);
enum err policy_run_tests(const struct policy *policy,
			  struct conf_error *error);

/* policy_index.c */
enum err policy_index_build(struct policy *policy, struct conf_error *error);
void policy_index_find(const struct policy *policy,
		       const struct policy_request *request, uint64_t *matched,
		       uint64_t *undecided);

/* policy.c */
enum policy_slot policy_slot_of(const struct policy_request *request);
void policy_evaluate_layers(const struct policy *policy,
			    const struct policy_request *request, bool with_own,
			    struct policy_decision *ret_decision);
extern const char *const policy_effect_names[];
extern const char *const policy_target_names[];
extern const char *const policy_direction_names[];

#endif
