/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc.c - answers and typed parameters of control requests
 *
 * Runs in: kenazd.
 * Trusts:  nothing that a client sends.
 * Never:   answers a request twice: answering frees it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/core/control.h"

/** rpc_reply() - Answer a request and free it */
void rpc_reply(struct rpc *r, struct span result_json)
{
	rpc_send(r, "result", result_json);
	rpc_free(r);
}

/** rpc_reply_empty() - Answer a request with {} and free it */
void rpc_reply_empty(struct rpc *r)
{
	rpc_reply(r, span_text("{}"));
}

/**
 * rpc_finish() - Answer with what was written, and free the request
 * @r:	Request
 * @w:	Writer of the whole answer
 * @b:	Its buffer; freed, too
 */
void rpc_finish(struct rpc *r, struct jsonw *w, struct buf *b)
{
	if (jsonw_finish(w) == ERR_OK)
		rpc_reply(r, buf_span(b));
	else
		rpc_fail(r, ERR_INTERNAL, "the answer could not be written");
	buf_fini(b);
}

static int exit_of(enum err error)
{
	if (error == ERR_PERMISSION)
		return 4;
	if (error == ERR_NOT_FOUND)
		return 5;
	if (error == ERR_DENIED)
		return 6;
	if (error == ERR_TIMEOUT)
		return 7;
	return 1;
}

/** rpc_fail_code() - Answer with an error of JSON-RPC's own numbers */
void rpc_fail_code(struct rpc *r, int code, enum err error, const char *rule,
		   const char *text)
{
	char name[32];
	struct jsonw w;
	struct buf b;
	size_t i;

	(void)snprintf(name, sizeof(name), "%s", err_name(error));
	for (i = 0; name[i]; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] - 'A' + 'a');
	buf_init(&b, 16384);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_i64(&w, "code", code);
	jsonw_put_cstr(&w, "message", text);
	jsonw_key(&w, "data");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "name", name);
	jsonw_put_i64(&w, "exit", code == -32000 ? exit_of(error) : 2);
	if (rule)
		jsonw_put_cstr(&w, "rule", rule);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	if (jsonw_finish(&w) == ERR_OK)
		rpc_send(r, "error", buf_span(&b));
	buf_fini(&b);
	rpc_free(r);
}

/** rpc_fail() - Answer a request with an error and free it */
void rpc_fail(struct rpc *r, enum err error, const char *format, ...)
{
	char raw[2048], text[4096];
	va_list args;

	va_start(args, format);
	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		raw[0] = '\0';
	va_end(args);
	(void)text_escape_line(span_text(raw), text, sizeof(text));
	rpc_fail_code(r, -32000, error, NULL, text);
}

/** rpc_fail_rule() - As rpc_fail(), naming the rule that denied */
void rpc_fail_rule(struct rpc *r, enum err error, const char *rule,
		   const char *text)
{
	rpc_fail_code(r, -32000, error, rule, text);
}

/** rpc_bad_params() - Answer that the parameters are wrong */
void rpc_bad_params(struct rpc *r, const char *text)
{
	rpc_fail_code(r, -32602, ERR_FORMAT, NULL, text);
}

/** rpc_get_text() - Read a text parameter; NULL when it is not given */
bool rpc_get_text(struct rpc *r, const cJSON *params, const char *key,
		  bool needed, const char **ret_text)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, key);
	char text[160];

	*ret_text = NULL;
	if (!v && !needed)
		return true;
	if (!v || !cJSON_IsString(v)) {
		(void)snprintf(text, sizeof(text), "parameter %s: %s", key,
			       v ? "must be a text" : "is missing");
		rpc_bad_params(r, text);
		return false;
	}
	*ret_text = v->valuestring;
	return true;
}

/** rpc_get_u64() - Read a whole number in a range */
bool rpc_get_u64(struct rpc *r, const cJSON *params, const char *key,
		 uint64_t min, uint64_t max, uint64_t fallback,
		 uint64_t *ret_value)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, key);
	char text[160];

	*ret_value = fallback;
	if (!v)
		return true;
	if (cJSON_IsNumber(v) && v->valuedouble >= (double)min &&
	    v->valuedouble <= (double)max &&
	    (double)(uint64_t)v->valuedouble == v->valuedouble) {
		*ret_value = (uint64_t)v->valuedouble;
		return true;
	}
	(void)snprintf(text, sizeof(text),
		       "parameter %s: must be a whole number from %llu to %llu",
		       key, (unsigned long long)min, (unsigned long long)max);
	rpc_bad_params(r, text);
	return false;
}

/** rpc_get_bool() - Read a truth value */
bool rpc_get_bool(struct rpc *r, const cJSON *params, const char *key,
		  bool fallback, bool *ret_value)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, key);
	char text[160];

	*ret_value = fallback;
	if (!v)
		return true;
	if (cJSON_IsBool(v)) {
		*ret_value = cJSON_IsTrue(v);
		return true;
	}
	(void)snprintf(text, sizeof(text),
		       "parameter %s: must be true or false", key);
	rpc_bad_params(r, text);
	return false;
}

/** rpc_check_keys() - Refuse parameters that the verb does not have */
bool rpc_check_keys(struct rpc *r, const cJSON *params, const char *const *keys)
{
	const cJSON *v;
	char text[256], name[64];
	size_t i;

	cJSON_ArrayForEach(v, params)
	{
		for (i = 0; keys[i]; i++)
			if (strcmp(keys[i], v->string) == 0)
				break;
		if (keys[i])
			continue;
		(void)text_escape_line(span_text(v->string), name,
				       sizeof(name));
		(void)snprintf(text, sizeof(text), "%s has no parameter %s",
			       r->method, name);
		rpc_bad_params(r, text);
		return false;
	}
	return true;
}
