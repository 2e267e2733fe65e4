/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_policy.c - verbs about the policy
 *
 * Runs in: kenazd.
 * Trusts:  policy.c, the very function that enforces, for every answer.
 * Never:   loads a policy that has an error: the old one stays.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/core/audit_client.h"
#include "engine/core/control.h"
#include "engine/core/policy_explain.h"

#define FIELDS_MAX POLICY_EXPLAIN_FIELDS_MAX
#define FILES_MAX  8
/* Hostile patterns cost time: core has one thread. */
#define CHECK_MAX_BYTES 65536u

static void policy_show(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct config_setting setting;
	struct jsonw w;
	struct buf b, policy;
	size_t i;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 2);
	buf_init(&policy, CONTROL_QUEUE_MAX_BYTES / 4);
	jsonw_init(&w, &policy);
	policy_show_json(r->engine->policy, &w);
	if (jsonw_finish(&w) != ERR_OK || policy.len_bytes < 2) {
		rpc_fail(r, ERR_LIMIT, "the policy is too large to show");
		goto out;
	}
	/* Its object gets one more member: the settings in force. */
	jsonw_init(&w, &b);
	jsonw_begin_array(&w);
	for (i = 0; i < config_setting_count(); i++) {
		config_setting_at(r->engine->config, i, &setting);
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "name", setting.name);
		jsonw_put_cstr(&w, "value", setting.value);
		jsonw_put_cstr(&w, "source", setting.source);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	if (jsonw_finish(&w) != ERR_OK) {
		rpc_fail(r, ERR_INTERNAL, "the answer could not be written");
		goto out;
	}
	buf_truncate(&policy, policy.len_bytes - 1);
	if (buf_put_text(&policy, ",\"settings\":") == ERR_OK &&
	    buf_put_span(&policy, buf_span(&b)) == ERR_OK &&
	    buf_put_text(&policy, "}") == ERR_OK)
		rpc_reply(r, buf_span(&policy));
	else
		rpc_fail(r, ERR_LIMIT, "the policy is too large to show");
out:
	buf_fini(&b);
	buf_fini(&policy);
}

static void answer_check(struct rpc *r, const struct policy *p,
			 const char *error)
{
	struct jsonw w;
	struct buf b;
	size_t i;

	buf_init(&b, 262144);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_bool(&w, "ok", p != NULL);
	if (p) {
		jsonw_put_cstr(&w, "digest", policy_digest(p));
		jsonw_put_u64(&w, "rules", policy_rule_count(p));
		jsonw_put_u64(&w, "tests", policy_test_count(p));
	}
	jsonw_key(&w, "errors");
	jsonw_begin_array(&w);
	if (!p)
		jsonw_cstr(&w, error);
	jsonw_end_array(&w);
	jsonw_key(&w, "warnings");
	jsonw_begin_array(&w);
	for (i = 0; p && i < policy_warning_count(p); i++)
		jsonw_cstr(&w, policy_warning_at(p, i));
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

/* The client's own text, so that core opens no file a client names. */
static void check_texts(struct rpc *r, const cJSON *files)
{
	struct policy_text texts[FILES_MAX];
	struct policy *p = NULL;
	struct conf_error error;
	const cJSON *v;
	size_t n = 0, bytes = 0;

	cJSON_ArrayForEach(v, files)
	{
		const cJSON *name = cJSON_GetObjectItemCaseSensitive(v, "name");
		const cJSON *text = cJSON_GetObjectItemCaseSensitive(v, "text");

		if (n == FILES_MAX || !cJSON_IsString(name) ||
		    !cJSON_IsString(text)) {
			rpc_bad_params(r, "parameter files: must be a list of "
					  "at most 8 objects with name and "
					  "text");
			return;
		}
		bytes += strlen(text->valuestring);
		if (bytes > CHECK_MAX_BYTES &&
		    !(r->conn->peer.roles & ROLES_ADMIN)) {
			rpc_fail(r, ERR_LIMIT,
				 "more than %u KiB of policy can be checked by "
				 "an admin only",
				 CHECK_MAX_BYTES / 1024);
			return;
		}
		texts[n++] = (struct policy_text){.file = name->valuestring,
						  .text = span_text(
							  text->valuestring)};
	}
	conf_error_init(&error);
	if (policy_parse(texts, n, &error, &p) != ERR_OK)
		p = NULL;
	answer_check(r, p, error.text);
	policy_free(p);
}

static void policy_check(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"files", NULL};
	const cJSON *files = cJSON_GetObjectItemCaseSensitive(params, "files");
	struct policy *p = NULL;
	struct conf_error error;

	if (!rpc_check_keys(r, params, keys))
		return;
	if (files) {
		check_texts(r, files);
		return;
	}
	conf_error_init(&error);
	if (policy_load(&r->engine->policy_sources, &error, &p) != ERR_OK)
		p = NULL;
	answer_check(r, p, error.text);
	policy_free(p);
}

static void policy_explain(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"target", "fields", NULL};
	const cJSON *fields =
		cJSON_GetObjectItemCaseSensitive(params, "fields");
	struct policy_field list[FIELDS_MAX];
	struct policy_question *q;
	struct conf_error error;
	const char *target;
	const cJSON *v;
	struct jsonw w;
	struct buf b;
	size_t n = 0;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "target", true, &target))
		return;
	cJSON_ArrayForEach(v, fields)
	{
		if (n == FIELDS_MAX || !cJSON_IsString(v) || !v->string) {
			rpc_bad_params(r, "parameter fields: must be an "
					  "object of at most 16 texts");
			return;
		}
		list[n++] = (struct policy_field){.name = span_text(v->string),
						  .value = span_text(
							  v->valuestring)};
	}
	q = calloc(1, sizeof(*q));
	if (!q) {
		rpc_fail(r, ERR_MEMORY, "%s", err_text(ERR_MEMORY));
		return;
	}
	conf_error_init(&error);
	if (policy_question_parse(span_text(target), list, n, &error, q) !=
	    ERR_OK) {
		rpc_bad_params(r, error.text);
		free(q);
		return;
	}
	buf_init(&b, 262144);
	jsonw_init(&w, &b);
	policy_explain_json(r->engine->policy, &q->request, &w);
	free(q);
	rpc_finish(r, &w, &b);
}

static void policy_reload_verb(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	struct conf_error error;
	char text[160];
	struct buf b;
	enum err err;

	if (!rpc_check_keys(r, params, keys))
		return;
	conf_error_init(&error);
	err = policy_reload(&e->policy, &e->policy_sources, &error);
	if (err != ERR_OK) {
		rpc_fail(r, ERR_CONFIG, "the old policy stays: %s", error.text);
		return;
	}
	budget_set_limits(e->budget, policy_budgets(e->policy));
	buf_init(&b, 1024);
	if (attrs_put_text(&b, "kenaz.policy.digest",
			   span_text(policy_digest(e->policy))) == ERR_OK &&
	    attrs_put_u64(&b, "kenaz.policy.rules",
			  policy_rule_count(e->policy)) == ERR_OK)
		audit_note(e, "policy.loaded", NULL, r->conn->actor,
			   buf_span(&b));
	buf_fini(&b);
	(void)snprintf(text, sizeof(text), "{\"digest\":\"%s\",\"rules\":%zu}",
		       policy_digest(e->policy), policy_rule_count(e->policy));
	rpc_reply(r, span_text(text));
}

const struct rpc_method rpc_policy_methods[] = {
	{"policy.show", policy_show},
	{"policy.check", policy_check},
	{"policy.explain", policy_explain},
	{"policy.reload", policy_reload_verb},
	{NULL, NULL},
};
