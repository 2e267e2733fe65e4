/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_record.c - what core writes down so that another can take over
 *
 * Runs in: kenazd.
 * Trusts:  nothing: a record may be cut, old, or another program's.
 * Never:   takes half a record for a whole one.
 *
 * One JSON object; one table says what is in it. Every key must be there, once,
 * and no other. The keys of the head keep name and type in every format: who
 * finds a record that he does not understand still learns whose it is, and
 * which processes are left.
 */
#include "engine/core/session_record.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/proto/child.h"

#define RECORD_TOKENS_MAX 1024u
#define RECORD_DEPTH_MAX  4u

enum field_type { F_TEXT, F_U64, F_I64, F_BOOL, F_HEX };

struct field {
	const char *key;
	enum field_type type;
	size_t offset, size; /* size: of a text, with its NUL */
};

#define FIELD(type, member)                                             \
	{                                                               \
#		member, type, offsetof(struct session_record, member), \
			sizeof(((struct session_record *)0)->member)    \
	}
#define USAGE(member)                                                    \
	{                                                                \
		"usage_" #member, F_U64,                                 \
			offsetof(struct session_record, usage.member), 0 \
	}
#define BUDGET(name, unit)                                               \
	{                                                                \
		"budget_" name, F_U64,                                   \
			offsetof(struct session_record, budget[unit]), 0 \
	}

#define HEAD_FIELDS 9u

static const struct field fields[] = {
	FIELD(F_U64, format),
	FIELD(F_U64, protocol),
	FIELD(F_TEXT, session),
	FIELD(F_TEXT, actor),
	FIELD(F_U64, launch_pid),
	FIELD(F_U64, launch_started),
	FIELD(F_U64, gate_pid),
	FIELD(F_U64, gate_started),
	FIELD(F_TEXT, boot_id),
	/* The head ends here. */
	FIELD(F_BOOL, ready),
	FIELD(F_BOOL, detach),
	FIELD(F_TEXT, user),
	FIELD(F_U64, uid),
	FIELD(F_U64, memory_mib),
	FIELD(F_U64, vcpus),
	FIELD(F_U64, adoptions),
	FIELD(F_U64, qemu_pid),
	FIELD(F_TEXT, image),
	FIELD(F_TEXT, provider),
	FIELD(F_TEXT, accelerator),
	FIELD(F_TEXT, secret_noted),
	FIELD(F_TEXT, policy),
	FIELD(F_U64, created_ns),
	FIELD(F_U64, created_wall_us),
	FIELD(F_U64, payload_bytes),
	FIELD(F_HEX, nonce),
	FIELD(F_BOOL, has_fingerprint),
	FIELD(F_HEX, fingerprint),
	FIELD(F_HEX, manifest),
	FIELD(F_HEX, kernel),
	FIELD(F_HEX, initrd),
	FIELD(F_HEX, qemu),
	FIELD(F_HEX, arguments),
	FIELD(F_HEX, jail),
	FIELD(F_TEXT, vsock),
	FIELD(F_TEXT, image_key),
	FIELD(F_TEXT, image_key_id),
	FIELD(F_HEX, root),
	FIELD(F_HEX, root_hash),
	FIELD(F_U64, root_bytes),
	FIELD(F_TEXT, filesystem),
	FIELD(F_U64, disk_mib),
	FIELD(F_HEX, template),
	FIELD(F_HEX, identity),
	FIELD(F_TEXT, vm),
	FIELD(F_U64, way),
	FIELD(F_U64, vm_age_ns),
	FIELD(F_TEXT, cpu),
	FIELD(F_TEXT, command_line),
	FIELD(F_TEXT, qemu_version),
	USAGE(requests),
	USAGE(input_tokens),
	USAGE(output_tokens),
	USAGE(tool_calls),
	USAGE(tool_calls_denied),
	USAGE(egress_allowed),
	USAGE(egress_denied),
	USAGE(bytes),
	BUDGET("requests", BUDGET_REQUESTS),
	BUDGET("tokens", BUDGET_TOKENS),
	BUDGET("microusd", BUDGET_MICROUSD),
	BUDGET("bytes", BUDGET_BYTES),
	BUDGET("time_ms", BUDGET_TIME_MS),
	FIELD(F_BOOL, main_running),
	FIELD(F_BOOL, main_ended),
	FIELD(F_BOOL, main_signalled),
	FIELD(F_I64, main_code),
};

static const char key_stages[] = "stages", key_terminals[] = "terminals";

#define MEMBERS (ARRAY_SIZE(fields) + 2) /* the two lists included */

/* --- writing ------------------------------------------------------------ */

static void put_field(struct jsonw *w, const struct field *f, const void *at)
{
	uint64_t u64;
	int64_t i64;
	bool yes;

	jsonw_key(w, f->key);
	switch (f->type) {
	case F_TEXT:
		jsonw_cstr(w, at);
		break;
	case F_U64:
		memcpy(&u64, at, sizeof(u64));
		jsonw_u64(w, u64);
		break;
	case F_I64:
		memcpy(&i64, at, sizeof(i64));
		jsonw_i64(w, i64);
		break;
	case F_BOOL:
		memcpy(&yes, at, sizeof(yes));
		jsonw_bool(w, yes);
		break;
	case F_HEX:
		jsonw_hex(w, span_of(at, DIGEST_BYTES));
		break;
	}
}

static void put_lists(struct jsonw *w, const struct session_record *r)
{
	size_t i;

	jsonw_key(w, key_stages);
	jsonw_begin_array(w);
	for (i = 0; i < r->n_stages; i++) {
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "name", r->stages[i].name);
		jsonw_put_u64(w, "at_ns", r->stages[i].at_ns);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
	jsonw_key(w, key_terminals);
	jsonw_begin_array(w);
	for (i = 0; i < r->n_terminals; i++) {
		const struct record_terminal *t = &r->terminals[i];

		jsonw_begin_object(w);
		jsonw_put_u64(w, "id", t->id);
		jsonw_put_cstr(w, "actor", t->actor);
		jsonw_put_cstr(w, "what", t->what);
		jsonw_put_bool(w, "read_only", t->read_only);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

/**
 * session_record_put() - Write a record
 * @out:	Appended to; at most SESSION_RECORD_MAX_BYTES
 * @r:		Record; format and protocol are ours whatever it says
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_FORMAT for a text that is not
 *	   UTF-8.
 */
enum err session_record_put(struct buf *out, const struct session_record *r)
{
	const uint8_t *base = (const uint8_t *)r;
	struct jsonw w;
	enum err err;
	size_t i;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "format", SESSION_RECORD_FORMAT);
	jsonw_put_u64(&w, "protocol", PROTO_VERSION);
	for (i = 2; i < ARRAY_SIZE(fields); i++)
		put_field(&w, &fields[i], base + fields[i].offset);
	put_lists(&w, r);
	jsonw_end_object(&w);
	err = jsonw_finish(&w);
	return err == ERR_OK ? buf_put_u8(out, '\n') : err;
}

/* --- reading ------------------------------------------------------------ */

static enum err get_hex(const struct json *j, json_ref at, uint8_t *ret_digest)
{
	char text[2 * DIGEST_BYTES + 1];
	enum err err = json_text(j, at, text, sizeof(text));

	return err == ERR_OK
		       ? text_unhex(span_text(text), ret_digest, DIGEST_BYTES)
		       : err;
}

static enum err get_field(const struct json *j, json_ref value,
			  const struct field *f, void *at)
{
	uint64_t u64 = 0;
	int64_t i64 = 0;
	bool yes = false;
	enum err err = ERR_FORMAT;

	switch (f->type) {
	case F_TEXT:
		return json_text(j, value, at, f->size);
	case F_U64:
		err = json_uint(j, value, 0, INT64_MAX, &u64);
		memcpy(at, &u64, sizeof(u64));
		break;
	case F_I64:
		err = json_int(j, value, INT64_MIN, INT64_MAX, &i64);
		memcpy(at, &i64, sizeof(i64));
		break;
	case F_BOOL:
		err = json_bool(j, value, &yes);
		memcpy(at, &yes, sizeof(yes));
		break;
	case F_HEX:
		err = get_hex(j, value, at);
		break;
	}
	return err;
}

static enum err get_stages(const struct json *j, json_ref list,
			   struct session_record *r)
{
	enum err err = ERR_OK;

	if (!json_is(j, list, JSON_ARRAY) ||
	    json_count(j, list) > SESSION_STAGES_MAX)
		return ERR_LIMIT;
	JSON_EACH (j, item, list) {
		struct session_stage *s = &r->stages[r->n_stages++];

		if (!json_is(j, item, JSON_OBJECT) || json_count(j, item) != 2)
			return ERR_FORMAT;
		err = json_text(j, json_get(j, item, "name"), s->name,
				sizeof(s->name));
		if (err == ERR_OK)
			err = json_uint(j, json_get(j, item, "at_ns"), 0,
					INT64_MAX, &s->at_ns);
		if (err != ERR_OK)
			return err;
	}
	return err;
}

static enum err get_terminals(const struct json *j, json_ref list,
			      struct session_record *r)
{
	enum err err = ERR_OK;

	if (!json_is(j, list, JSON_ARRAY) ||
	    json_count(j, list) > SESSION_TERMINALS_MAX)
		return ERR_LIMIT;
	JSON_EACH (j, item, list) {
		struct record_terminal *t = &r->terminals[r->n_terminals++];

		if (!json_is(j, item, JSON_OBJECT) || json_count(j, item) != 4)
			return ERR_FORMAT;
		err = json_uint(j, json_get(j, item, "id"), 1, INT64_MAX,
				&t->id);
		if (err == ERR_OK)
			err = json_text(j, json_get(j, item, "actor"), t->actor,
					sizeof(t->actor));
		if (err == ERR_OK)
			err = json_text(j, json_get(j, item, "what"), t->what,
					sizeof(t->what));
		if (err == ERR_OK)
			err = json_bool(j, json_get(j, item, "read_only"),
					&t->read_only);
		if (err != ERR_OK)
			return err;
	}
	return err;
}

static size_t find_field(const struct json *j, json_ref member)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (json_key_is(j, member, fields[i].key))
			return i;
	if (json_key_is(j, member, key_stages))
		return ARRAY_SIZE(fields);
	if (json_key_is(j, member, key_terminals))
		return ARRAY_SIZE(fields) + 1;
	return ARRAY_SIZE(fields) + 2;
}

static enum err get_member(const struct json *j, json_ref member, size_t i,
			   struct session_record *r)
{
	if (i < ARRAY_SIZE(fields))
		return get_field(j, member, &fields[i],
				 (uint8_t *)r + fields[i].offset);
	if (i == ARRAY_SIZE(fields))
		return get_stages(j, member, r);
	return get_terminals(j, member, r);
}

/* As far as it is there; the rest stays empty. */
static void get_head(const struct json *j, struct session_record *r)
{
	size_t i;

	for (i = 0; i < HEAD_FIELDS; i++) {
		json_ref value = json_get(j, JSON_ROOT, fields[i].key);
		uint8_t *at = (uint8_t *)r + fields[i].offset;

		if (get_field(j, value, &fields[i], at) != ERR_OK)
			memset(at, 0,
			       fields[i].type == F_TEXT ? fields[i].size
							: sizeof(uint64_t));
	}
}

static enum err get_all(const struct json *j, struct session_record *r,
			char *ret_why, size_t cap_bytes)
{
	bool seen[MEMBERS] = {false};
	size_t count = 0;

	JSON_EACH (j, member, JSON_ROOT) {
		size_t i = find_field(j, member);
		enum err err = ERR_FORMAT;

		if (i < MEMBERS && !seen[i])
			err = get_member(j, member, i, r);
		if (err != ERR_OK) {
			(void)snprintf(ret_why, cap_bytes,
				       i < ARRAY_SIZE(fields)
					       ? "its %s is malformed"
					       : "it has a list or key that "
						 "is not right",
				       i < ARRAY_SIZE(fields) ? fields[i].key
							      : "");
			return ERR_FORMAT;
		}
		seen[i] = true;
		count++;
	}
	if (count == MEMBERS)
		return ERR_OK;
	(void)snprintf(ret_why, cap_bytes, "something is missing in it");
	return ERR_FORMAT;
}

/**
 * session_record_parse() - Read a record
 * @text:	The whole file
 * @ret_record:	Always written: whole on success; after ERR_VERSION its
 *		head, as far as it was there
 * @ret_why:	Written on failure: completes "the record of session X: "
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_VERSION for another format or protocol; ERR_FORMAT;
 *	   ERR_LIMIT for a text that is too long; ERR_MEMORY.
 */
enum err session_record_parse(struct span text,
			      struct session_record *ret_record, char *ret_why,
			      size_t cap_bytes)
{
	static const struct json_limits limits = {
		.max_bytes = SESSION_RECORD_MAX_BYTES,
		.max_tokens = RECORD_TOKENS_MAX,
		.max_depth = RECORD_DEPTH_MAX,
	};
	struct session_record *r = ret_record;
	struct json j;
	enum err err;

	memset(r, 0, sizeof(*r));
	json_init(&j);
	err = json_parse(&j, text, &limits);
	if (err == ERR_OK && !json_is(&j, JSON_ROOT, JSON_OBJECT))
		err = ERR_FORMAT;
	if (err != ERR_OK) {
		(void)snprintf(ret_why, cap_bytes, "it is damaged (%s)",
			       j.error_text ? j.error_text : err_text(err));
		goto out;
	}
	get_head(&j, r);
	if (r->format != SESSION_RECORD_FORMAT ||
	    r->protocol != PROTO_VERSION) {
		(void)snprintf(ret_why, cap_bytes,
			       "it was started by another version of Kenaz "
			       "(record %llu, protocol %llu; this engine has "
			       "%u and %u)",
			       (unsigned long long)r->format,
			       (unsigned long long)r->protocol,
			       SESSION_RECORD_FORMAT, PROTO_VERSION);
		err = ERR_VERSION;
		goto out;
	}
	memset(r, 0, sizeof(*r));
	err = get_all(&j, r, ret_why, cap_bytes);
	if (err == ERR_OK &&
	    !text_is_name(span_text(r->session), SESSION_ID_BYTES)) {
		(void)snprintf(ret_why, cap_bytes, "its session is no name");
		err = ERR_FORMAT;
	}
	if (err == ERR_OK && r->way > POOL_BOOTING) {
		(void)snprintf(ret_why, cap_bytes,
			       "it started in no way that there is");
		err = ERR_RANGE;
	}
	if (err != ERR_OK)
		memset(r, 0, sizeof(*r));
out:
	json_fini(&j);
	return err;
}
