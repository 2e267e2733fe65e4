/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_object.c - response objects and reasoning of our own making
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: texts are checked by the writer.
 * Never:   hands one model's opaque reasoning to another's.
 *
 * Reasoning that another dialect's model signed travels to a Responses client
 * in encrypted_content, marked with neutral_signature_prefix() and "s." for a
 * signature or "r." for redacted reasoning, and comes back that way.
 */
#include "engine/gate/responses.h"

#include "engine/gate/neutral_tools.h"

/**
 * responses_seal() - Append another model's signature as encrypted_content
 * @signer:	Whose it is; DIALECT_RESPONSES stays as it is
 * @redacted:	Redacted reasoning rather than a signature
 * @content:	Opaque text
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_UNSUPPORTED for an unknown signer; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err responses_seal(enum dialect signer, bool redacted, struct span content,
			struct buf *out)
{
	struct span prefix =
		neutral_signature_prefix(DIALECT_RESPONSES, signer);
	enum err e;

	if (neutral_understands(DIALECT_RESPONSES, signer))
		return buf_put_span(out, content);
	if (!prefix.len_bytes)
		return ERR_UNSUPPORTED;
	e = buf_put_span(out, prefix);
	if (e == ERR_OK)
		e = buf_put_text(out, redacted ? "r." : "s.");
	return e == ERR_OK ? buf_put_span(out, content) : e;
}

/**
 * responses_unseal() - Read what responses_seal() wrote
 * @sealed:		encrypted_content
 * @ret_signer:		DIALECT_RESPONSES for a text of any other form
 * @ret_redacted:	As it was sealed; false for any other form
 * @ret_content:	Inside @sealed
 *
 * Return: false for what is empty, or a seal that nobody wrote.
 */
bool responses_unseal(struct span sealed, enum dialect *ret_signer,
		      bool *ret_redacted, struct span *ret_content)
{
	struct span s = sealed;

	*ret_signer = neutral_split_signature(DIALECT_RESPONSES, &s);
	*ret_redacted = false;
	*ret_content = s;
	if (s.len_bytes == sealed.len_bytes)
		return s.len_bytes > 0;
	if (s.len_bytes < 3 || s.data[1] != '.' ||
	    (s.data[0] != 's' && s.data[0] != 'r'))
		return false;
	*ret_redacted = s.data[0] == 'r';
	*ret_content = span_of(s.data + 2, s.len_bytes - 2);
	return true;
}

static void put_null(struct jsonw *w, const char *key)
{
	jsonw_key(w, key);
	jsonw_null(w);
}

static void put_usage(struct jsonw *w, const struct neutral_usage *u)
{
	if (!u || !u->input_known || !u->output_known) {
		put_null(w, "usage");
		return;
	}
	jsonw_key(w, "usage");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "input_tokens", u->input);
	jsonw_key(w, "input_tokens_details");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "cached_tokens", u->cache_read);
	jsonw_put_u64(w, "cache_write_tokens", u->cache_write);
	jsonw_end_object(w);
	jsonw_put_u64(w, "output_tokens", u->output);
	jsonw_key(w, "output_tokens_details");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "reasoning_tokens", u->reasoning);
	jsonw_end_object(w);
	jsonw_put_u64(w, "total_tokens", u->input + u->output);
	jsonw_end_object(w);
}

static void put_state(struct jsonw *w, const struct responses_head *h)
{
	jsonw_put_cstr(w, "status", h->status);
	jsonw_put_bool(w, "background", false);
	if (h->error_code) {
		jsonw_key(w, "error");
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "code", h->error_code);
		jsonw_put_text(w, "message", h->error_text);
		jsonw_end_object(w);
	} else {
		put_null(w, "error");
	}
	if (h->incomplete) {
		jsonw_key(w, "incomplete_details");
		jsonw_begin_object(w);
		jsonw_put_cstr(w, "reason", h->incomplete);
		jsonw_end_object(w);
	} else {
		put_null(w, "incomplete_details");
	}
}

/**
 * responses_put_response() - Append a response object
 * @b:	Buffer
 * @h:	What it says; the request's own parameters are not repeated in it
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err responses_put_response(struct buf *b, const struct responses_head *h)
{
	struct jsonw w;

	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "id", h->id);
	jsonw_put_cstr(&w, "object", "response");
	jsonw_put_u64(&w, "created_at", h->created_at_s);
	put_state(&w, h);
	put_null(&w, "instructions");
	put_null(&w, "max_output_tokens");
	jsonw_put_text(&w, "model", h->model);
	jsonw_key(&w, "output");
	jsonw_begin_array(&w);
	if (h->output.len_bytes)
		jsonw_raw(&w, h->output);
	jsonw_end_array(&w);
	jsonw_put_bool(&w, "parallel_tool_calls", true);
	put_null(&w, "previous_response_id");
	jsonw_put_bool(&w, "store", false);
	put_null(&w, "temperature");
	jsonw_put_cstr(&w, "tool_choice", "auto");
	jsonw_key(&w, "tools");
	jsonw_begin_array(&w);
	jsonw_end_array(&w);
	put_null(&w, "top_p");
	jsonw_put_cstr(&w, "truncation", "disabled");
	put_usage(&w, h->usage);
	jsonw_key(&w, "metadata");
	jsonw_begin_object(&w);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}
