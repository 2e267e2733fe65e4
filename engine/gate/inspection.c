/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspection.c - what every dialect's inspect() collects of a request
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: the body passed the strict tokenizer and no more.
 * Never:   changes the body; forgets a feature: too many are an error.
 *
 * A feature is a way to make the provider act outside the VM: a name, or a
 * kind and what was found, escaped ("unknown_tool:TYPE"). Each is there once.
 */
#include "engine/gate/inspection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/lax.h"
#include "engine/gate/routed.h"

#define REQUEST_TOKENS_MAX (1u << 20)

/**
 * inspection_refuse() - Say why a request is refused
 * @in:		Inspection
 * @e:		What to return
 * @why:	Sentence fragment that names the field
 */
enum err inspection_refuse(struct inspection *in, enum err e, const char *why)
{
	(void)snprintf(in->facts->error_text, sizeof(in->facts->error_text),
		       "%s", why);
	return e;
}

/**
 * inspection_add_detail() - Note a feature
 * @in:		Inspection
 * @kind:	Its name, or what comes before the colon; may be empty
 * @detail:	What was found, any bytes; may be empty
 *
 * Return: ERR_OK; ERR_LIMIT past FEATURES_MAX.
 */
enum err inspection_add_detail(struct inspection *in, const char *kind,
			       struct span detail)
{
	char name[FEATURE_MAX_BYTES + 1];
	int len = snprintf(name, sizeof(name), "%s%s", kind,
			   kind[0] && detail.len_bytes ? ":" : "");
	size_t i;

	if (len >= 0 && detail.len_bytes)
		(void)text_escape_line(detail, name + len,
				       sizeof(name) - (size_t)len);
	for (i = 0; i < in->n_features; i++)
		if (strcmp(in->features[i], name) == 0)
			return ERR_OK;
	if (in->n_features == FEATURES_MAX)
		return inspection_refuse(in, ERR_LIMIT,
					 "too many provider-side features");
	memcpy(in->features[in->n_features++], name, sizeof(name));
	return ERR_OK;
}

/** inspection_add() - Note a feature that has a name of its own */
enum err inspection_add(struct inspection *in, const char *feature)
{
	return inspection_add_detail(in, feature, span_text(""));
}

static enum err add_found(struct inspection *in, const char *kind,
			  json_ref found, bool key)
{
	struct buf text;
	enum err e;

	buf_init(&text, BODY_MAX_BYTES);
	e = key ? json_key(&in->doc, found, &text)
		: json_string(&in->doc, found, &text);
	if (e == ERR_OK)
		e = inspection_add_detail(in, kind, buf_span(&text));
	else if (e != ERR_MEMORY)
		e = inspection_add_detail(in, kind, span_text("?"));
	buf_fini(&text);
	return e;
}

/** inspection_add_string() - Note a feature named after a string */
enum err inspection_add_string(struct inspection *in, const char *kind,
			       json_ref found)
{
	return add_found(in, kind, found, false);
}

/** inspection_add_key() - Note a feature named after a member's key */
enum err inspection_add_key(struct inspection *in, const char *kind,
			    json_ref found)
{
	return add_found(in, kind, found, true);
}

/**
 * inspection_note_tool() - Note a tool that runs in the VM
 * @in:		Inspection
 * @name:	String; one that does not fit is left out
 *
 * The list is for the record: calls are judged one by one.
 */
void inspection_note_tool(struct inspection *in, json_ref name)
{
	if (in->n_tools < ATTR_LIST_MAX_ITEMS &&
	    json_text(&in->doc, name, in->tool_names[in->n_tools],
		      sizeof(in->tool_names[0])) == ERR_OK)
		in->n_tools++;
}

/**
 * inspection_note_result() - Note what a tool answered, once
 * @in:		Inspection
 * @id:		The call's id
 * @failed:	Whether it is reported as an error
 */
void inspection_note_result(struct inspection *in, json_ref id, bool failed)
{
	char text[CALL_ID_MAX_BYTES + 1];

	if (json_text(&in->doc, id, text, sizeof(text)) != ERR_OK ||
	    text[0] == '\0' || seen_has(in->seen, span_text(text)))
		return;
	/* One that does not fit is reported with the next request. */
	if (attrs_put_text(&in->facts->results, text,
			   span_text(failed ? "error" : "ok")) == ERR_OK)
		seen_add(in->seen, span_text(text));
}

/**
 * inspection_add_routed() - Note what gateways act on in any dialect
 * @in:	Inspection whose model is known
 *
 * Return: as inspection_add(); ERR_FORMAT.
 */
enum err inspection_add_routed(struct inspection *in)
{
	const char *names[ROUTED_FEATURES_MAX];
	const struct json *j = &in->doc;
	json_ref plugins = json_get(j, JSON_ROOT, "plugins");
	size_t n = routed_features(j, in->facts->model, names), i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < n; i++)
		e = inspection_add(in, names[i]);
	if (e == ERR_OK && inspection_is_set(in, plugins) &&
	    !json_is(j, plugins, JSON_ARRAY))
		return inspection_refuse(in, ERR_FORMAT, "plugins: not a list");
	JSON_EACH (j, plugin, plugins) {
		if (e == ERR_OK)
			e = inspection_add_string(in, "plugin",
						  json_get(j, plugin, "id"));
	}
	return e;
}

/** inspection_is_set() - Whether a value is there and not null */
bool inspection_is_set(const struct inspection *in, json_ref at)
{
	return at != JSON_NONE && !json_is(&in->doc, at, JSON_NULL);
}

/** inspection_asks() - Whether a value is set, and neither false nor empty */
bool inspection_asks(const struct inspection *in, json_ref at)
{
	if (!inspection_is_set(in, at) || json_is(&in->doc, at, JSON_FALSE))
		return false;
	return !json_is(&in->doc, at, JSON_ARRAY) ||
	       json_count(&in->doc, at) > 0;
}

/**
 * inspection_is_data_url() - Whether a string holds what it names
 * @in:	Inspection
 * @at:	Value
 *
 * An escaped scheme counts as an address.
 */
bool inspection_is_data_url(const struct inspection *in, json_ref at)
{
	struct span raw = json_raw(&in->doc, at);
	static const char scheme[] = "data:";
	size_t i;

	/* The quote comes first. */
	if (!json_is(&in->doc, at, JSON_STRING) ||
	    raw.len_bytes < sizeof(scheme))
		return false;
	for (i = 0; i < sizeof(scheme) - 1; i++)
		if ((raw.data[i + 1] | 0x20) != scheme[i])
			return false;
	return true;
}

static enum err put_names(struct buf *b, const char *key, const char *names,
			  size_t stride, size_t count)
{
	struct span items[ATTR_LIST_MAX_ITEMS];
	size_t i;
	enum err e;

	if (count == 0)
		return ERR_OK;
	for (i = 0; i < count; i++)
		items[i] = span_text(names + i * stride);
	do
		e = attrs_put_list(b, key, items, count);
	while (e == ERR_LIMIT && count-- > 1);
	return e;
}

static enum err inspect(struct inspection *in, struct span body,
			inspection_look *look)
{
	const struct json_limits limits = {
		.max_bytes = BODY_MAX_BYTES,
		.max_tokens = REQUEST_TOKENS_MAX,
		.allow_nul = true,
	};
	struct request_facts *f = in->facts;
	enum err e = json_parse(&in->doc, body, &limits);

	if (e != ERR_OK && e != ERR_MEMORY)
		(void)snprintf(f->error_text, sizeof(f->error_text),
			       "the body is not valid JSON: %s at byte %zu",
			       in->doc.error_text, in->doc.error_at_bytes);
	if (e == ERR_OK && lax_find_key(&in->doc)) {
		(void)snprintf(f->error_text, sizeof(f->error_text),
			       "a key is spelled so that some readers take it "
			       "for \"%s\"",
			       lax_find_key(&in->doc));
		return ERR_FORMAT;
	}
	if (e == ERR_OK)
		e = look(in);
	if (e == ERR_OK)
		e = put_names(&f->features, "features", in->features[0],
			      sizeof(in->features[0]), in->n_features);
	if (e == ERR_OK)
		e = put_names(&f->tools, "tools", in->tool_names[0],
			      sizeof(in->tool_names[0]), in->n_tools);
	return e;
}

/**
 * inspection_run() - Find out what a request asks for
 * @route:	How it was sent
 * @body:	Borrowed
 * @seen:	Results that were reported already
 * @facts:	Initialised facts, filled
 * @look:	Looks into the document in its dialect's way
 *
 * Return: ERR_OK; ERR_FORMAT or ERR_LIMIT, error_text says what is wrong;
 *	   ERR_MEMORY.
 */
enum err inspection_run(enum route route, struct span body, struct seen *seen,
			struct request_facts *facts, inspection_look *look)
{
	struct inspection *in = malloc(sizeof(*in));
	enum err e;

	if (!in)
		return ERR_MEMORY;
	in->route = route;
	in->facts = facts;
	in->seen = seen;
	in->n_features = in->n_tools = 0;
	json_init(&in->doc);
	e = inspect(in, body, look);
	json_fini(&in->doc);
	free(in);
	return e == ERR_SHORT ? ERR_FORMAT : e;
}
