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
	};
	size_t i = (size_t)route;

	return i < ARRAY_SIZE(names) ? names[i] : "unknown";
}
