/* SPDX-License-Identifier: Apache-2.0 */
/* policy_explain.h - decisions, rules and defaults as text and JSON */
#ifndef KENAZ_CORE_POLICY_EXPLAIN_H
#define KENAZ_CORE_POLICY_EXPLAIN_H

#include "engine/base/jsonw.h"
#include "engine/core/policy.h"

#define POLICY_EXPLAIN_FIELDS_MAX 16u

/* A request as NAME=VALUE fields, as `kenaz policy explain` takes it. */
struct policy_field {
	struct span name;
	struct span value;
};

/* A request built from fields; the spans stay the caller's. */
struct policy_question {
	struct policy_request request;
	struct policy_arg args[POLICY_ARGS_MAX];
};

MUST_CHECK enum err policy_question_parse(struct span target,
					  const struct policy_field *fields,
					  size_t count,
					  struct conf_error *error,
					  struct policy_question *ret_question);
MUST_CHECK enum err policy_explain_text(const struct policy *policy,
					const struct policy_request *request,
					struct buf *out);
void policy_explain_json(const struct policy *policy,
			 const struct policy_request *request,
			 struct jsonw *out);
void policy_show_json(const struct policy *policy, struct jsonw *out);

#endif
