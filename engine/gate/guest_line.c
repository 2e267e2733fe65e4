/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_line.c - JSON lines to and from the guest, as pure functions
 *
 * Runs in: kenaz-gate.
 * Trusts:  core for what it wants sent; nothing that the guest answers.
 * Never:   does I/O; takes a receipt of another nonce, entropy or clock.
 */
#include "engine/gate/guest_line.h"

#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/base/text.h"

#define UPTIME_MAX_NS (UINT64_C(1) << 62)

static enum err parse(struct json *j, struct span line)
{
	const struct json_limits limits = {.max_bytes = GUEST_ANSWER_MAX_BYTES,
					   .max_tokens = 256,
					   .max_depth = 8};
	enum err e;

	json_init(j);
	e = json_parse(j, line, &limits);
	if (e == ERR_OK && !json_is(j, JSON_ROOT, JSON_OBJECT))
		e = ERR_FORMAT;
	return e == ERR_SHORT ? ERR_FORMAT : e;
}

/* Core made it; only its shape is checked, so that the line stays one. */
static enum err check_environment(struct span text)
{
	struct json j;
	enum err e;

	json_init(&j);
	e = json_parse(&j, text, NULL);
	if (e == ERR_OK && !json_is(&j, JSON_ROOT, JSON_OBJECT))
		e = ERR_FORMAT;
	JSON_EACH (&j, item, JSON_ROOT)
		if (!json_is(&j, item, JSON_STRING))
			e = ERR_FORMAT;
	json_fini(&j);
	return e;
}

/**
 * guest_line_hello() - Append the hello line
 * @out:	Buffer; holds a secret (entropy) afterwards
 * @m:		What core wants said
 * @wall_us:	Clock for the guest
 *
 * Return: ERR_OK; ERR_FORMAT for a wrong length or environment; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err guest_line_hello(struct buf *out,
			  const struct msg_guest_hello_begin *m,
			  uint64_t wall_us)
{
	struct buf base64;
	struct jsonw w;
	enum err e;

	if (m->nonce.len_bytes != GUEST_NONCE_BYTES ||
	    m->entropy.len_bytes != GUEST_ENTROPY_BYTES ||
	    check_environment(m->environment) != ERR_OK)
		return ERR_FORMAT;
	buf_init_secret(&base64, 4 * GUEST_ENTROPY_BYTES);
	e = text_base64(m->entropy, &base64);
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "op", "hello");
	jsonw_put_u64(&w, "v", 1);
	jsonw_key(&w, "nonce");
	jsonw_hex(&w, m->nonce);
	jsonw_put_text(&w, "entropy", buf_span(&base64));
	jsonw_put_u64(&w, "wall_us", wall_us);
	jsonw_put_text(&w, "hostname", m->hostname);
	jsonw_key(&w, "env");
	jsonw_raw(&w, m->environment);
	jsonw_end_object(&w);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	buf_fini(&base64);
	return e;
}

static bool has_hex(const struct json *j, const char *key, struct span bytes)
{
	char text[2 * DIGEST_BYTES + 1];
	uint8_t found[DIGEST_BYTES];

	return bytes.len_bytes == DIGEST_BYTES &&
	       json_text(j, json_get(j, JSON_ROOT, key), text, sizeof(text)) ==
		       ERR_OK &&
	       text_unhex(span_text(text), found, sizeof(found)) == ERR_OK &&
	       span_equal(span_of(found, sizeof(found)), bytes);
}

static enum err take_facts(const struct json *j, struct guest_facts *f)
{
	enum err e = json_text(j, json_get(j, JSON_ROOT, "guestd"), f->guestd,
			       sizeof(f->guestd));

	if (e == ERR_OK)
		e = json_text(j, json_get(j, JSON_ROOT, "kernel"), f->kernel,
			      sizeof(f->kernel));
	return e == ERR_OK ? ERR_OK : ERR_FORMAT;
}

/**
 * guest_line_check() - Whether a line is the right receipt of a hello
 * @line:	Without its newline
 * @nonce:	As sent
 * @receipt:	As receipt_make() made it
 * @ret_facts:	Written on success
 * @ret_why:	Static sentence fragment, written on failure
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_INTEGRITY for a receipt of something else.
 */
enum err guest_line_check(struct span line, struct span nonce,
			  const uint8_t receipt[DIGEST_BYTES],
			  struct guest_facts *ret_facts, const char **ret_why)
{
	struct guest_facts facts = {.uptime_ns = 0};
	struct json j;
	uint64_t version = 0;
	enum err e = parse(&j, line);

	*ret_why = "the guest's receipt is not valid JSON";
	if (e != ERR_OK)
		goto out;
	e = json_uint(&j, json_get(&j, JSON_ROOT, "v"), 1, 1, &version);
	*ret_why = "the guest's receipt has another version";
	if (e != ERR_OK)
		goto out;
	*ret_why = "the guest's receipt does not fit the hello";
	e = ERR_INTEGRITY;
	if (!has_hex(&j, "nonce", nonce) ||
	    !has_hex(&j, "receipt", span_of(receipt, DIGEST_BYTES)))
		goto out;
	*ret_why = "the guest's receipt lacks its versions";
	e = take_facts(&j, &facts);
	if (e == ERR_OK)
		*ret_facts = facts;
out:
	json_fini(&j);
	return e;
}

/**
 * guest_line_event() - Read a line of the control stream
 * @line:	Without its newline
 * @ret_event:	Written on success; guest-claimed
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_MEMORY.
 */
enum err guest_line_event(struct span line, struct guest_event *ret_event)
{
	struct guest_event ev = {.code = 0};
	struct json j;
	json_ref code, signalled;
	int64_t value = 0;
	enum err e = parse(&j, line);

	if (e != ERR_OK)
		goto out;
	e = ERR_FORMAT;
	code = json_get(&j, JSON_ROOT, "code");
	signalled = json_get(&j, JSON_ROOT, "signalled");
	if (json_text(&j, json_get(&j, JSON_ROOT, "event"), ev.event,
		      sizeof(ev.event)) != ERR_OK ||
	    !text_is_name(span_text(ev.event), sizeof(ev.event) - 1) ||
	    json_text(&j, json_get(&j, JSON_ROOT, "name"), ev.name,
		      sizeof(ev.name)) != ERR_OK ||
	    !text_is_name(span_text(ev.name), sizeof(ev.name) - 1))
		goto out;
	if (code != JSON_NONE &&
	    json_int(&j, code, INT32_MIN, INT32_MAX, &value) != ERR_OK)
		goto out;
	if (signalled != JSON_NONE &&
	    json_bool(&j, signalled, &ev.signalled) != ERR_OK)
		goto out;
	ev.code = (int32_t)value;
	*ret_event = ev;
	e = ERR_OK;
out:
	json_fini(&j);
	return e;
}

/**
 * guest_line_announce() - Read the body of an announcement
 * @body:	JSON
 * @ret_facts:	Written on success; guest-claimed
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err guest_line_announce(struct span body, struct guest_facts *ret_facts)
{
	struct guest_facts facts = {.uptime_ns = 0};
	struct json j;
	enum err e = parse(&j, body);

	if (e == ERR_OK)
		e = take_facts(&j, &facts);
	if (e == ERR_OK &&
	    json_uint(&j, json_get(&j, JSON_ROOT, "uptime_ns"), 0,
		      UPTIME_MAX_NS, &facts.uptime_ns) != ERR_OK)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		*ret_facts = facts;
	json_fini(&j);
	return e;
}
