/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_request.c - the JSON line that opens a stream from the host
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing in the line; an operation takes exactly the members of
 *	    the table, and everything has a limit.
 * Never:   does I/O.
 */
#include "guest/host_request.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/text.h"
#include "engine/proto/limits.h"

#define MAX_TOKENS      4096u
#define MAX_DEPTH       4u
#define DEFAULT_ROWS    24
#define DEFAULT_COLUMNS 80
#define BASE64_MAX      128u

struct member {
	const char *name;
	enum err (*take)(const struct json *j, json_ref at,
			 struct host_request *r);
	bool required;
};

static enum err take_any(const struct json *j, json_ref at,
			 struct host_request *r)
{
	(void)j;
	(void)at;
	(void)r;
	return ERR_OK;
}

static enum err take_version(const struct json *j, json_ref at,
			     struct host_request *r)
{
	uint64_t version;

	(void)r;
	if (json_uint(j, at, 1, 1, &version) != ERR_OK)
		return ERR_VERSION;
	return ERR_OK;
}

static enum err take_name(const struct json *j, json_ref at,
			  struct host_request *r)
{
	enum err e = json_text(j, at, r->name, sizeof(r->name));

	if (e == ERR_OK &&
	    !text_is_name(span_text(r->name), HOST_REQUEST_NAME_MAX_BYTES))
		e = ERR_FORMAT;
	return e;
}

static enum err take_string(const struct json *j, json_ref at, char **ret_text)
{
	size_t cap = json_raw(j, at).len_bytes + 1;
	char *text;
	enum err e;

	if (!json_is(j, at, JSON_STRING))
		return ERR_FORMAT;
	text = malloc(cap);
	if (!text)
		return ERR_MEMORY;
	e = json_text(j, at, text, cap);
	if (e != ERR_OK)
		free(text);
	else
		*ret_text = text;
	return e;
}

static enum err take_argv(const struct json *j, json_ref at,
			  struct host_request *r)
{
	enum err e = ERR_OK;

	if (!json_is(j, at, JSON_ARRAY))
		return ERR_FORMAT;
	if (json_count(j, at) > HOST_REQUEST_MAX_ARGS)
		return ERR_LIMIT;
	JSON_EACH (j, item, at) {
		e = take_string(j, item, &r->argv[r->argc]);
		if (e != ERR_OK)
			break;
		r->argc++;
	}
	return e;
}

static enum err take_env(const struct json *j, json_ref at,
			 struct host_request *r)
{
	enum err e = ERR_OK;
	struct buf name;

	if (!json_is(j, at, JSON_OBJECT))
		return ERR_FORMAT;
	buf_init(&name, ENVIRONMENT_NAME_BYTES);
	JSON_EACH (j, item, at) {
		char *value;

		buf_reset(&name);
		e = json_key(j, item, &name);
		if (e == ERR_OK)
			e = take_string(j, item, &value);
		if (e != ERR_OK)
			break;
		e = environment_set(&r->env, buf_span(&name), span_text(value));
		free(value);
		if (e != ERR_OK)
			break;
	}
	buf_fini(&name);
	return e;
}

static enum err take_cwd(const struct json *j, json_ref at,
			 struct host_request *r)
{
	enum err e = json_text(j, at, r->cwd, sizeof(r->cwd));

	if (e == ERR_OK && r->cwd[0] != '\0' && r->cwd[0] != '/')
		e = ERR_FORMAT;
	return e;
}

static enum err take_tty(const struct json *j, json_ref at,
			 struct host_request *r)
{
	return json_bool(j, at, &r->tty);
}

static enum err take_rows(const struct json *j, json_ref at,
			  struct host_request *r)
{
	uint64_t v;
	enum err e = json_uint(j, at, 1, HOST_REQUEST_SIZE_MAX, &v);

	if (e == ERR_OK)
		r->rows = (uint16_t)v;
	return e;
}

static enum err take_columns(const struct json *j, json_ref at,
			     struct host_request *r)
{
	uint64_t v;
	enum err e = json_uint(j, at, 1, HOST_REQUEST_SIZE_MAX, &v);

	if (e == ERR_OK)
		r->columns = (uint16_t)v;
	return e;
}

static enum err take_nonce(const struct json *j, json_ref at,
			   struct host_request *r)
{
	char hex[2 * HOST_REQUEST_NONCE_BYTES + 1];
	enum err e = json_text(j, at, hex, sizeof(hex));

	if (e == ERR_OK)
		e = text_unhex(span_text(hex), r->nonce, sizeof(r->nonce));
	return e;
}

static enum err take_entropy(const struct json *j, json_ref at,
			     struct host_request *r)
{
	char base64[BASE64_MAX];
	struct buf bytes;
	enum err e = json_text(j, at, base64, sizeof(base64));

	buf_init_secret(&bytes, HOST_REQUEST_ENTROPY_BYTES);
	if (e == ERR_OK)
		e = text_unbase64(span_text(base64), &bytes);
	if (e == ERR_OK && bytes.len_bytes != HOST_REQUEST_ENTROPY_BYTES)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		memcpy(r->entropy, bytes.data, HOST_REQUEST_ENTROPY_BYTES);
	buf_fini(&bytes);
	explicit_bzero(base64, sizeof(base64));
	return e;
}

static enum err take_wall(const struct json *j, json_ref at,
			  struct host_request *r)
{
	return json_uint(j, at, 1, INT64_MAX, &r->wall_us);
}

static enum err take_hostname(const struct json *j, json_ref at,
			      struct host_request *r)
{
	enum err e = json_text(j, at, r->hostname, sizeof(r->hostname));

	if (e == ERR_OK &&
	    !text_is_name(span_text(r->hostname), HOST_REQUEST_HOST_MAX_BYTES))
		e = ERR_FORMAT;
	return e;
}

static const struct member hello_members[] = {
	{"op", take_any, true},       {"v", take_version, true},
	{"nonce", take_nonce, true},  {"entropy", take_entropy, true},
	{"wall_us", take_wall, true}, {"hostname", take_hostname, true},
	{"env", take_env, false},     {NULL, NULL, false},
};

static const struct member reseed_members[] = {
	{"op", take_any, true},
	{"entropy", take_entropy, true},
	{"wall_us", take_wall, true},
	{NULL, NULL, false},
};

static const struct member exec_members[] = {
	{"op", take_any, true},     {"argv", take_argv, false},
	{"env", take_env, false},   {"tty", take_tty, false},
	{"rows", take_rows, false}, {"cols", take_columns, false},
	{"cwd", take_cwd, false},   {NULL, NULL, false},
};

static const struct member start_members[] = {
	{"op", take_any, true},        {"name", take_name, true},
	{"argv", take_argv, false},    {"env", take_env, false},
	{"tty", take_tty, false},      {"rows", take_rows, false},
	{"cols", take_columns, false}, {"cwd", take_cwd, false},
	{NULL, NULL, false},
};

static const struct member attach_members[] = {
	{"op", take_any, true},     {"name", take_name, true},
	{"rows", take_rows, false}, {"cols", take_columns, false},
	{NULL, NULL, false},
};

static const struct member shutdown_members[] = {
	{"op", take_any, true},
	{NULL, NULL, false},
};

static const struct {
	const char *name;
	const struct member *members;
} operations[] = {
	[HOST_REQUEST_HELLO] = {"hello", hello_members},
	[HOST_REQUEST_EXEC] = {"exec", exec_members},
	[HOST_REQUEST_ATTACH] = {"attach", attach_members},
	[HOST_REQUEST_START] = {"start", start_members},
	[HOST_REQUEST_RESEED] = {"reseed", reseed_members},
	[HOST_REQUEST_SHUTDOWN] = {"shutdown", shutdown_members},
};

static enum err take_member(const struct json *j, json_ref item,
			    const struct member *table, struct host_request *r,
			    const char **ret_reason)
{
	for (; table->name; table++) {
		if (!json_key_is(j, item, table->name))
			continue;
		*ret_reason = table->name;
		return table->take(j, item, r);
	}
	*ret_reason = "unknown member";
	return ERR_FORMAT;
}

static enum err take_members(const struct json *j, const struct member *table,
			     struct host_request *r, const char **ret_reason)
{
	const struct member *m;
	enum err e = ERR_OK;

	for (m = table; m->name; m++)
		if (m->required &&
		    json_get(j, JSON_ROOT, m->name) == JSON_NONE) {
			*ret_reason = m->name;
			return ERR_FORMAT;
		}
	JSON_EACH (j, item, JSON_ROOT) {
		e = take_member(j, item, table, r, ret_reason);
		if (e != ERR_OK)
			break;
	}
	return e;
}

/**
 * host_request_parse() - Understand a line from the host, or refuse it
 * @line:	Borrowed, without its newline, at most GUEST_LINE_MAX_BYTES
 * @ret:	Written on success; release with host_request_fini()
 * @ret_reason:	Static text: the member that is wrong; written on failure
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_RANGE; ERR_VERSION; ERR_MEMORY.
 */
enum err host_request_parse(struct span line, struct host_request *ret,
			    const char **ret_reason)
{
	const struct json_limits limits = {.max_bytes = GUEST_LINE_MAX_BYTES,
					   .max_tokens = MAX_TOKENS,
					   .max_depth = MAX_DEPTH};
	struct json j;
	json_ref op;
	size_t i;
	enum err e;

	*ret = (struct host_request){.rows = DEFAULT_ROWS,
				     .columns = DEFAULT_COLUMNS};
	json_init(&j);
	*ret_reason = "not JSON";
	e = json_parse(&j, line, &limits);
	if (e != ERR_OK)
		goto out;
	*ret_reason = "unknown op";
	op = json_get(&j, JSON_ROOT, "op");
	for (i = 0; i < ARRAY_SIZE(operations); i++)
		if (op != JSON_NONE &&
		    json_string_is(&j, op, operations[i].name))
			break;
	e = ERR_FORMAT;
	if (i == ARRAY_SIZE(operations))
		goto out;
	ret->op = (enum host_request_op)i;
	e = take_members(&j, operations[i].members, ret, ret_reason);
out:
	json_fini(&j);
	if (e != ERR_OK)
		host_request_fini(ret);
	return e;
}

/** host_request_fini() - Release a request; a zeroed one is accepted */
void host_request_fini(struct host_request *r)
{
	size_t i;

	for (i = 0; i < r->argc; i++)
		free(r->argv[i]);
	r->argc = 0;
	environment_fini(&r->env);
	explicit_bzero(r->entropy, sizeof(r->entropy));
}
