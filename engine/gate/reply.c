/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c - what every dialect does with a provider's response
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   does I/O: bytes come in, bytes for the guest go out.
 *
 * Theory of operation. A response passes through one `struct reply`. It hands
 * on what may go on, keeps a tool call back until core has judged it
 * (REPLY_JUDGE), and keeps the part that would make the response complete
 * back until its outcome is durable (REPLY_DONE, reply_release()). A response
 * that breaks off anywhere becomes an error in the dialect's own form, never
 * a success.
 */
#include "engine/gate/reply.h"

#include <assert.h>

#include "engine/base/text.h"

/**
 * reply_feed() - Take response bytes
 * @r:		Reply in REPLY_OPEN
 * @in:		Bytes; moved behind what was used. Something is left only when
 *		the state is no longer REPLY_OPEN.
 * @out:	Bytes for the guest are appended here
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT for a response that breaks its
 *	   dialect (error_text says how): then call reply_fail(); ERR_MEMORY.
 */
enum err reply_feed(struct reply *r, struct span *in, struct buf *out)
{
	assert(r->state == REPLY_OPEN);
	return r->ops->feed(r, in, out);
}

/**
 * reply_end() - The response ended cleanly
 * @r:		Reply in REPLY_OPEN, all bytes fed
 * @out:	As reply_feed()
 *
 * Afterwards the state is REPLY_JUDGE or REPLY_DONE.
 *
 * Return: ERR_OK; ERR_SHORT when the dialect's terminal event is missing;
 *	   otherwise as reply_feed().
 */
enum err reply_end(struct reply *r, struct buf *out)
{
	assert(r->state == REPLY_OPEN);
	return r->ops->end(r, out);
}

/**
 * reply_verdict() - Hand a held call on, or put a text in its place
 * @r:		Reply in REPLY_JUDGE
 * @v:		Verdict, borrowed
 * @out:	As reply_feed()
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_verdict(struct reply *r, const struct reply_verdict *v,
		       struct buf *out)
{
	assert(r->state == REPLY_JUDGE);
	return r->ops->verdict(r, v, out);
}

/**
 * reply_release() - Hand the held end on: its outcome is durable
 * @r:		Reply in REPLY_DONE or REPLY_FAILED
 * @out:	As reply_feed()
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_release(struct reply *r, struct buf *out)
{
	assert(r->state == REPLY_DONE || r->state == REPLY_FAILED);
	return r->ops->release(r, out);
}

/**
 * reply_fail() - Drop what is held and hold the dialect's error instead
 * @r:		Reply in any state; in REPLY_FAILED nothing changes
 * @type:	Error type in the dialect's terms, static
 * @text:	Sentence for the guest, UTF-8
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_fail(struct reply *r, const char *type, struct span text)
{
	enum err e;

	if (r->state == REPLY_FAILED)
		return ERR_OK;
	e = r->ops->fail(r, type, text);
	if (e == ERR_OK)
		r->state = REPLY_FAILED;
	return e;
}

/** reply_ping() - Append a keep-alive where the dialect has one */
enum err reply_ping(struct reply *r, struct buf *out)
{
	return r->ops->ping ? r->ops->ping(r, out) : ERR_OK;
}

/** reply_free() - Release a reply; NULL is accepted */
void reply_free(struct reply *r)
{
	if (r)
		r->ops->free(r);
}

/**
 * reply_put_denial() - Append the text that stands for a denied call
 * @b:		Buffer
 * @tool:	Tool's name; shown escaped
 * @v:		Verdict with rule and reason
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_put_denial(struct buf *b, struct span tool,
			  const struct reply_verdict *v)
{
	enum err e = buf_put_text(b, "Kenaz denied the tool call ");

	if (e == ERR_OK)
		e = text_escape(tool, false, b);
	if (e == ERR_OK && v->rule.len_bytes)
		e = buf_put_text(b, ": rule ");
	if (e == ERR_OK)
		e = text_escape(v->rule, false, b);
	if (e == ERR_OK && v->text.len_bytes) {
		e = buf_put_text(b, v->rule.len_bytes ? " (" : ": ");
		if (e == ERR_OK)
			e = text_escape(v->text, false, b);
		if (e == ERR_OK && v->rule.len_bytes)
			e = buf_put_text(b, ")");
	}
	return e == ERR_OK ? buf_put_text(b, ".") : e;
}

/**
 * reply_check_arguments() - Whether a call's arguments can be judged
 * @doc:	Document to parse into
 * @arguments:	The whole JSON text
 *
 * Return: ERR_OK for one strict JSON object; ERR_FORMAT, ERR_SHORT or
 *	   ERR_LIMIT for what two parsers could read in two ways; ERR_MEMORY.
 */
enum err reply_check_arguments(struct json *doc, struct span arguments)
{
	const struct json_limits limits = {
		.max_bytes = TOOL_ARGUMENTS_MAX_BYTES,
		.max_tokens = 65536,
		.allow_nul = true,
	};
	enum err e = json_parse(doc, arguments, &limits);

	if (e == ERR_OK && !json_is(doc, JSON_ROOT, JSON_OBJECT))
		e = ERR_FORMAT;
	return e;
}
