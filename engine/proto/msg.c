/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg.c - codec and legality table generated from msg.def
 *
 * Runs in: every host process.
 * Trusts:  nothing about received bytes: lengths, UTF-8 and trailing bytes
 *	    are checked, so a handler sees well-formed fields only.
 * Never:   allocates while decoding; decoded spans borrow the packet.
 */
#include "engine/proto/msg.h"

#include <string.h>

#include "engine/base/text.h"

static enum err put_run(struct buf *b, struct span s, size_t max_bytes)
{
	if (s.len_bytes > max_bytes)
		return ERR_LIMIT;
	return buf_put_lp(b, s);
}

static enum err put_text(struct buf *b, struct span s, size_t max_bytes)
{
	if ((s.len_bytes && memchr(s.data, 0, s.len_bytes)) || !text_is_utf8(s))
		return ERR_FORMAT;
	return put_run(b, s, max_bytes);
}

static struct span get_text(struct reader *r, size_t max_bytes)
{
	struct span s = reader_get_lp(r, max_bytes);

	if (r->status == ERR_OK &&
	    ((s.len_bytes && memchr(s.data, 0, s.len_bytes)) ||
	     !text_is_utf8(s)))
		r->status = ERR_FORMAT;
	return s;
}

static void get_digest(struct reader *r, uint8_t *ret_digest)
{
	struct span s = reader_get_span(r, DIGEST_BYTES);

	if (s.len_bytes == DIGEST_BYTES)
		memcpy(ret_digest, s.data, DIGEST_BYTES);
}

/* msg_NAME_put(): append a message's fields; ERR_LIMIT, ERR_FORMAT. */
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax)              \
	enum err msg_##name##_put(struct buf *b, const struct msg_##name *m) \
	{                                                                    \
		size_t before = b->len_bytes;                                \
		enum err e = ERR_OK;                                         \
		(void)m;
#define STEP(call)       \
	if (e == ERR_OK) \
		e = (call);
#define U8(f)         STEP(buf_put_u8(b, m->f))
#define U16(f)        STEP(buf_put_u16(b, m->f))
#define U32(f)        STEP(buf_put_u32(b, m->f))
#define U64(f)        STEP(buf_put_u64(b, m->f))
#define I32(f)        STEP(buf_put_u32(b, (uint32_t)m->f))
#define TEXT(f, max)  STEP(put_text(b, m->f, max))
#define BYTES(f, max) STEP(put_run(b, m->f, max))
#define DIGEST(f)     STEP(buf_put(b, m->f, DIGEST_BYTES))
#define END(name)                                                     \
	if (e == ERR_OK && b->len_bytes - before > MESSAGE_MAX_BYTES) \
		e = ERR_LIMIT;                                        \
	if (e != ERR_OK)                                              \
		buf_truncate(b, before);                              \
	return e;                                                     \
	}
#include "engine/proto/msg.def"
#include "engine/proto/msg_undef.h"

/* msg_NAME_get(): decode a whole message; ERR_SHORT, ERR_LIMIT, ERR_FORMAT. */
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax)            \
	enum err msg_##name##_get(struct span s, struct msg_##name *ret_m) \
	{                                                                  \
		struct msg_##name m = {0};                                 \
		struct reader r;                                           \
		reader_init(&r, s);
#define U8(f)         m.f = reader_get_u8(&r);
#define U16(f)        m.f = reader_get_u16(&r);
#define U32(f)        m.f = reader_get_u32(&r);
#define U64(f)        m.f = reader_get_u64(&r);
#define I32(f)        m.f = (int32_t)reader_get_u32(&r);
#define TEXT(f, max)  m.f = get_text(&r, max);
#define BYTES(f, max) m.f = reader_get_lp(&r, max);
#define DIGEST(f)     get_digest(&r, m.f);
#define END(name)                  \
	if (r.status != ERR_OK)    \
		return r.status;   \
	if (reader_left(&r) != 0)  \
		return ERR_FORMAT; \
	*ret_m = m;                \
	return ERR_OK;             \
	}
#include "engine/proto/msg.def"
#include "engine/proto/msg_undef.h"

static const struct msg_info info_table[] = {
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax) \
	[number] = {MSG_##NAME, #name, ROLE_##from, ROLE_##to,  \
		    states,     fmin,  fmax},
#include "engine/proto/msg_no_fields.h"
#include "engine/proto/msg.def"
};

/**
 * msg_info_of() - Row of the message table
 * @type:	Any value
 *
 * Return: static row, or NULL for an unknown number.
 */
const struct msg_info *msg_info_of(enum msg_type type)
{
	size_t i = (size_t)type;

	if (i >= ARRAY_SIZE(info_table) || info_table[i].type == MSG_NONE)
		return NULL;
	return &info_table[i];
}

static bool role_fits(enum role declared, enum role actual)
{
	if (declared == ROLE_CHILD)
		return actual != ROLE_CORE && actual != ROLE_NONE;
	return declared == actual;
}

/**
 * msg_is_legal() - Whether a message may come this way now
 * @info:	Row of the message
 * @from:	Role that sent it
 * @to:		Role that received it
 * @state:	State of the channel
 */
bool msg_is_legal(const struct msg_info *info, enum role from, enum role to,
		  enum chan_state state)
{
	return role_fits(info->from, from) && role_fits(info->to, to) &&
	       (info->states & (unsigned)state) != 0;
}

static const struct {
	const char *name, *program;
} role_table[ROLE_COUNT] = {
	[ROLE_NONE] = {"none", NULL},
	[ROLE_CORE] = {"core", "kenazd"},
	[ROLE_AUDIT] = {"audit", "kenaz-audit"},
	[ROLE_BROKER] = {"broker", "kenaz-broker"},
	[ROLE_EGRESS] = {"egress", "kenaz-egress"},
	[ROLE_LAUNCH] = {"launch", "kenaz-launch"},
	[ROLE_GATE] = {"gate", "kenaz-gate"},
	[ROLE_SPAWNER] = {"spawner", NULL},
	[ROLE_SCRIPTED] = {"scripted", "kenaz-scripted"},
	[ROLE_CHILD] = {"child", NULL},
	[ROLE_MOCK] = {"mock", "kenaz-guestd"},
	[ROLE_KEYCHAIN] = {"keychain", "kenaz-keychain"},
};

/** role_name() - Name of a role for people; never NULL */
const char *role_name(enum role role)
{
	return (unsigned)role < ROLE_COUNT ? role_table[role].name : "unknown";
}

/** role_program() - Program that plays a role; NULL when none is started */
const char *role_program(enum role role)
{
	return (unsigned)role < ROLE_COUNT ? role_table[role].program : NULL;
}

/** vault_state_name() - Name of a vault's state; never NULL */
const char *vault_state_name(enum vault_state state)
{
	static const char *const names[] = {
		[VAULT_STATE_NONE] = "none",
		[VAULT_STATE_OPENING] = "opening",
		[VAULT_STATE_OPEN] = "open",
		[VAULT_STATE_LOCKED] = "locked",
		[VAULT_STATE_FAILED] = "failed",
	};

	return (size_t)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

/** vm_stage_name() - Name of a boot stage for people; never NULL */
const char *vm_stage_name(enum vm_stage stage)
{
	static const char *const names[] = {
		[VM_STAGE_VERIFIED] = "image verified",
		[VM_STAGE_SPAWNED] = "QEMU started",
		[VM_STAGE_QMP] = "QMP ready",
		[VM_STAGE_DRIVER] = "guest driver up",
		[VM_STAGE_CONNECTED] = "guest connected",
		[VM_STAGE_COPIED] = "memory copied",
		[VM_STAGE_LOADED] = "template loaded",
		[VM_STAGE_RESUMED] = "guest resumed",
		[VM_STAGE_BOOTED] = "guest waits",
	};
	size_t i = (size_t)stage;

	return i < ARRAY_SIZE(names) && names[i] ? names[i] : "unknown stage";
}

/** route_name() - Name of a route for logs and policy; never NULL */
const char *route_name(enum route route)
{
	static const char *const names[] = {
		[ROUTE_NONE] = "none",
		[ROUTE_MESSAGES] = "messages",
		[ROUTE_COUNT_TOKENS] = "count_tokens",
		[ROUTE_MODELS] = "models",
		[ROUTE_CHAT] = "chat",
		[ROUTE_RESPONSES] = "responses",
		[ROUTE_INVOKE] = "invoke",
		[ROUTE_INVOKE_STREAM] = "invoke_stream",
		[ROUTE_CONVERSE] = "converse",
		[ROUTE_CONVERSE_STREAM] = "converse_stream",
		[ROUTE_BEDROCK_COUNT] = "bedrock_count",
		[ROUTE_RESPONSES_COUNT] = "responses_count",
	};
	size_t i = (size_t)route;

	return i < ARRAY_SIZE(names) ? names[i] : "unknown";
}

/** dialect_name() - Name of a dialect for logs and events; never NULL */
const char *dialect_name(enum dialect dialect)
{
	static const char *const names[] = {
		[DIALECT_NONE] = "none",     [DIALECT_ANTHROPIC] = "anthropic",
		[DIALECT_CHAT] = "chat",     [DIALECT_RESPONSES] = "responses",
		[DIALECT_INVOKE] = "invoke", [DIALECT_CONVERSE] = "converse",
	};
	size_t i = (size_t)dialect;

	return i < ARRAY_SIZE(names) && names[i] ? names[i] : "unknown";
}

/** transfer_failure_name() - How an attempt failed, for logs; never NULL */
const char *transfer_failure_name(enum transfer_failure failure)
{
	static const char *const names[] = {
		[FAILURE_NONE] = "none",
		[FAILURE_CONNECT] = "connect",
		[FAILURE_TLS] = "tls",
		[FAILURE_TIMEOUT_CONNECT] = "timeout_connect",
		[FAILURE_TIMEOUT_FIRST_BYTE] = "timeout_first_byte",
		[FAILURE_TIMEOUT_IDLE] = "timeout_idle",
		[FAILURE_TIMEOUT_TOTAL] = "timeout_total",
		[FAILURE_HTTP] = "http",
		[FAILURE_RESET] = "reset",
		[FAILURE_TOO_LARGE] = "too_large",
		[FAILURE_PROTOCOL] = "protocol",
		[FAILURE_LOCAL] = "local",
		[FAILURE_NO_KEY] = "no_key",
	};
	size_t i = (size_t)failure;

	return i < ARRAY_SIZE(names) ? names[i] : "unknown";
}

/** infer_retry_name() - Why an attempt may be tried again; never NULL */
const char *infer_retry_name(enum infer_retry retry)
{
	static const char *const names[RETRY_COUNT] = {
		[RETRY_NONE] = "none",
		[RETRY_CONNECT] = "connect",
		[RETRY_TIMEOUT] = "timeout",
		[RETRY_HTTP_429] = "http_429",
		[RETRY_HTTP_5XX] = "http_5xx",
		[RETRY_OVERLOADED] = "overloaded",
		[RETRY_ERROR_200] = "error_200",
		[RETRY_HTTP_AUTH] = "http_auth",
		[RETRY_BROKEN] = "broken",
	};

	return (unsigned)retry < RETRY_COUNT ? names[retry] : "unknown";
}

static const char *const error_classes[ERROR_CLASS_COUNT] = {
	[ERROR_CLASS_INVALID] = "invalid",
	[ERROR_CLASS_AUTHENTICATION] = "authentication",
	[ERROR_CLASS_BILLING] = "billing",
	[ERROR_CLASS_PERMISSION] = "permission",
	[ERROR_CLASS_NOT_FOUND] = "not_found",
	[ERROR_CLASS_TOO_LARGE] = "too_large",
	[ERROR_CLASS_CONTEXT] = "context",
	[ERROR_CLASS_RATE] = "rate",
	[ERROR_CLASS_QUOTA] = "quota",
	[ERROR_CLASS_TIMEOUT] = "timeout",
	[ERROR_CLASS_OVERLOADED] = "overloaded",
	[ERROR_CLASS_API] = "api",
};

/** error_class_name() - Name of an error in no dialect; never NULL */
const char *error_class_name(enum error_class error)
{
	return (unsigned)error < ERROR_CLASS_COUNT ? error_classes[error]
						   : "api";
}

/** error_class_find() - The error of a name; API for an unknown one */
enum error_class error_class_find(struct span name)
{
	size_t i;

	for (i = 0; i < ERROR_CLASS_COUNT; i++)
		if (span_is(name, error_classes[i]))
			return (enum error_class)i;
	return ERROR_CLASS_API;
}
