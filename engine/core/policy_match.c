/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_match.c - whether one rule's conditions hold for a request
 *
 * Runs in: kenazd.
 * Trusts:  the compiled rule; every text of the request may be hostile.
 * Never:   allocates, parses JSON, does more than text times pattern work.
 *
 * A condition that cannot be decided (an argument that was cut, one that is
 * no text, a relative path where a folder is asked for) is neither yes nor
 * no: it makes an allow fail and a deny or ask hold.
 */
#include <string.h>

#include "engine/core/policy_rule.h"

#define TARGET(name) (1u << POLICY_##name)
#define ALL_TARGETS  ((1u << POLICY_TARGET_COUNT) - 1)
#define OFFSET(name) offsetof(struct policy_request, name)

const struct policy_field_row policy_fields[FIELD_COUNT] = {
	[FIELD_USER] = {"user", ALL_TARGETS, OFFSET(user), false, false},
	[FIELD_IMAGE] = {"image", ALL_TARGETS, OFFSET(image), false, false},
	[FIELD_PROVIDER] = {"provider", TARGET(INFERENCE), OFFSET(provider),
			    false, false},
	[FIELD_MODEL] = {"model", TARGET(INFERENCE), OFFSET(model), false,
			 false},
	[FIELD_ROUTE] = {"route", TARGET(INFERENCE), OFFSET(route), false,
			 false},
	[FIELD_NAME] = {"name", TARGET(TOOL) | TARGET(FEATURE), OFFSET(name),
			false, false},
	[FIELD_HOST] = {"host", TARGET(EGRESS), OFFSET(host), true, false},
	[FIELD_PATH] = {"path", TARGET(FILE), OFFSET(path), false, true},
	[FIELD_ACTION] = {"action", TARGET(TERMINAL), OFFSET(action), false,
			  false},
};

/** policy_request_field() - The text of a request that a condition looks at */
struct span policy_request_field(const struct policy_request *request,
				 enum policy_field_id field)
{
	struct span text;

	memcpy(&text, (const uint8_t *)request + policy_fields[field].offset,
	       sizeof(text));
	return text;
}

/** policy_host_trim() - Drop the dot that ends a fully qualified name */
struct span policy_host_trim(struct span host)
{
	if (host.len_bytes > 1 && host.data[host.len_bytes - 1] == '.')
		host.len_bytes--;
	return host;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool same_host(const uint8_t *pattern, const uint8_t *text,
		      size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (pattern[i] != lower(text[i]))
			return false;
	return true;
}

static bool host_below(struct span suffix, struct span host)
{
	size_t more;

	if (host.len_bytes < suffix.len_bytes + 2)
		return false;
	more = host.len_bytes - suffix.len_bytes;
	return host.data[more - 1] == '.' &&
	       same_host(suffix.data, host.data + more, suffix.len_bytes);
}

/*
 * '*' is any run of bytes, '?' any one byte. Going back to the last star only
 * is enough, which bounds the work by text times pattern.
 */
static bool glob_matches(struct span glob, struct span text)
{
	size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;

	while (t < text.len_bytes) {
		if (g < glob.len_bytes && glob.data[g] == '*') {
			star = g++;
			mark = t;
		} else if (g < glob.len_bytes &&
			   (glob.data[g] == '?' ||
			    glob.data[g] == text.data[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (g < glob.len_bytes && glob.data[g] == '*')
		g++;
	return g == glob.len_bytes;
}

static bool starts_with(struct span text, struct span prefix)
{
	return text.len_bytes >= prefix.len_bytes &&
	       memcmp(text.data, prefix.data, prefix.len_bytes) == 0;
}

static bool path_below(struct span folder, struct span path)
{
	if (folder.len_bytes == 1)
		return true;
	return starts_with(path, folder) &&
	       (path.len_bytes == folder.len_bytes ||
		path.data[folder.len_bytes] == '/');
}

/**
 * policy_path_clean() - Resolve ".", ".." and "//" of an absolute path
 * @path:		Any bytes
 * @ret_path:		Array of @cap_bytes
 * @cap_bytes:		Its size
 * @ret_len_bytes:	Length of the result, without a NUL; never ends with
 *			'/' but for "/" itself
 *
 * By names only: symbolic links are the guest's own and not known here.
 *
 * Return: ERR_OK; ERR_FORMAT for a relative path or a NUL; ERR_LIMIT.
 */
enum err policy_path_clean(struct span path, char *ret_path, size_t cap_bytes,
			   size_t *ret_len_bytes)
{
	size_t len = 0, i = 0, start, part;

	if (path.len_bytes == 0 || path.data[0] != '/' ||
	    memchr(path.data, 0, path.len_bytes))
		return ERR_FORMAT;
	if (path.len_bytes + 1 > cap_bytes)
		return ERR_LIMIT;
	while (i < path.len_bytes) {
		while (i < path.len_bytes && path.data[i] == '/')
			i++;
		start = i;
		while (i < path.len_bytes && path.data[i] != '/')
			i++;
		part = i - start;
		if (part == 0 || (part == 1 && path.data[start] == '.'))
			continue;
		if (part == 2 && memcmp(path.data + start, "..", 2) == 0) {
			while (len > 0 && ret_path[--len] != '/')
				;
			continue;
		}
		ret_path[len++] = '/';
		memcpy(ret_path + len, path.data + start, part);
		len += part;
	}
	if (len == 0)
		ret_path[len++] = '/';
	*ret_len_bytes = len;
	return ERR_OK;
}

/**
 * policy_pattern_matches() - Whether a text satisfies one pattern
 * @pattern:	Compiled; hosts in lower case, folders clean
 * @text:	Hosts trimmed, paths clean
 */
bool policy_pattern_matches(const struct policy_pattern *pattern,
			    struct span text)
{
	switch (pattern->op) {
	case OP_EQUALS:
		return span_equal(pattern->text, text);
	case OP_GLOB:
		return glob_matches(pattern->text, text);
	case OP_PREFIX:
		return starts_with(text, pattern->text);
	case OP_UNDER:
		return path_below(pattern->text, text);
	case OP_HOST:
		return pattern->text.len_bytes == text.len_bytes &&
		       same_host(pattern->text.data, text.data, text.len_bytes);
	case OP_SUFFIX:
		return host_below(pattern->text, text);
	}
	return false;
}

static bool any_matches(const struct policy_patterns *patterns,
			struct span text)
{
	for (size_t i = 0; i < patterns->count; i++)
		if (policy_pattern_matches(&patterns->at[i], text))
			return true;
	return false;
}

static bool has_folder(const struct policy_patterns *patterns)
{
	for (size_t i = 0; i < patterns->count; i++)
		if (patterns->at[i].op == OP_UNDER)
			return true;
	return false;
}

/* Folders, and every pattern of a path, are compared with the clean path. */
static enum policy_verdict match_path(const struct policy_patterns *patterns,
				      struct span text, bool always_clean)
{
	char clean[POLICY_ARG_MAX_BYTES + 1];
	size_t len = 0;
	bool known =
		policy_path_clean(text, clean, sizeof(clean), &len) == ERR_OK;

	for (size_t i = 0; i < patterns->count; i++) {
		const struct policy_pattern *one = &patterns->at[i];
		bool use = always_clean || one->op == OP_UNDER;

		if (use && !known)
			continue;
		if (policy_pattern_matches(one,
					   use ? span_of(clean, len) : text))
			return VERDICT_YES;
	}
	return known ? VERDICT_NO : VERDICT_UNDECIDABLE;
}

static enum policy_verdict match_texts(const struct policy_patterns *patterns,
				       struct span text, bool path)
{
	if (path || has_folder(patterns))
		return match_path(patterns, text, path);
	return any_matches(patterns, text) ? VERDICT_YES : VERDICT_NO;
}

static enum policy_verdict match_arg(const struct policy_arg_rule *rule,
				     const struct policy_request *request)
{
	for (size_t i = 0; i < request->arg_count; i++) {
		const struct policy_arg *arg = &request->args[i];

		if (!span_equal(arg->key, rule->name))
			continue;
		if (arg->state != POLICY_ARG_WHOLE)
			return VERDICT_UNDECIDABLE;
		return match_texts(&rule->values, arg->value, false);
	}
	return request->args_incomplete ? VERDICT_UNDECIDABLE : VERDICT_NO;
}

static bool match_port(const struct policy_rule *rule, uint32_t port)
{
	for (size_t i = 0; i < rule->port_count; i++)
		if (rule->ports[i] == port)
			return true;
	return rule->port_count == 0;
}

/**
 * policy_rule_matches() - Whether all conditions of a rule hold
 * @rule:	Compiled rule of the request's target
 * @request:	Its host must be trimmed
 * @known:	Bits of the fields that are known to match
 *
 * Return: YES when each holds, NO when one does not, else UNDECIDABLE.
 */
enum policy_verdict policy_rule_matches(const struct policy_rule *rule,
					const struct policy_request *request,
					uint32_t known)
{
	enum policy_verdict all = VERDICT_YES, one;
	uint32_t fields = rule->fields & ~known;

	if (!match_port(rule, request->port))
		return VERDICT_NO;
	if (rule->direction != POLICY_NO_DIRECTION &&
	    rule->direction != request->direction)
		return VERDICT_NO;
	for (; fields; fields &= fields - 1) {
		enum policy_field_id field =
			(enum policy_field_id)__builtin_ctz(fields);

		one = match_texts(&rule->of[field],
				  policy_request_field(request, field),
				  policy_fields[field].path);
		if (one == VERDICT_NO)
			return VERDICT_NO;
		if (one == VERDICT_UNDECIDABLE)
			all = one;
	}
	for (size_t i = 0; i < rule->arg_count; i++) {
		one = match_arg(&rule->args[i], request);
		if (one == VERDICT_NO)
			return VERDICT_NO;
		if (one == VERDICT_UNDECIDABLE)
			all = one;
	}
	return all;
}

/* --- lint ----------------------------------------------------------------- */

/* Whether everything that narrow accepts is accepted by wide, as far as seen.*/
static bool pattern_covers(const struct policy_pattern *wide,
			   const struct policy_pattern *narrow)
{
	if (wide->op == narrow->op && span_equal(wide->text, narrow->text))
		return true;
	if (wide->op == OP_SUFFIX && narrow->op == OP_SUFFIX)
		return host_below(wide->text, narrow->text);
	if (narrow->op == OP_GLOB || narrow->op == OP_SUFFIX)
		return false;
	if (narrow->op == OP_PREFIX && wide->op != OP_PREFIX)
		return false;
	if ((narrow->op == OP_UNDER) != (wide->op == OP_UNDER))
		return false;
	return policy_pattern_matches(wide, narrow->text);
}

static bool patterns_cover(const struct policy_patterns *wide,
			   const struct policy_patterns *narrow)
{
	for (size_t n = 0; n < narrow->count; n++) {
		bool covered = false;

		for (size_t w = 0; w < wide->count && !covered; w++)
			covered = pattern_covers(&wide->at[w], &narrow->at[n]);
		if (!covered)
			return false;
	}
	return true;
}

static bool args_cover(const struct policy_rule *wide,
		       const struct policy_rule *narrow)
{
	for (size_t w = 0; w < wide->arg_count; w++) {
		bool covered = false;

		for (size_t n = 0; n < narrow->arg_count && !covered; n++)
			covered = span_equal(wide->args[w].name,
					     narrow->args[n].name) &&
				  patterns_cover(&wide->args[w].values,
						 &narrow->args[n].values);
		if (!covered)
			return false;
	}
	return true;
}

static bool ports_cover(const struct policy_rule *wide,
			const struct policy_rule *narrow)
{
	if (wide->port_count == 0)
		return true;
	for (size_t n = 0; n < narrow->port_count; n++)
		if (!match_port(wide, narrow->ports[n]))
			return false;
	return narrow->port_count > 0;
}

/**
 * policy_rule_covers() - Whether one rule matches whenever another does
 * @wide:	Rule
 * @narrow:	Rule
 *
 * Used for warnings only: "no" may mean "not seen".
 */
bool policy_rule_covers(const struct policy_rule *wide,
			const struct policy_rule *narrow)
{
	uint32_t fields = wide->fields;

	if (wide->target != narrow->target ||
	    (wide->fields & narrow->fields) != wide->fields)
		return false;
	if (wide->direction != POLICY_NO_DIRECTION &&
	    wide->direction != narrow->direction)
		return false;
	for (; fields; fields &= fields - 1) {
		int field = __builtin_ctz(fields);

		if (!patterns_cover(&wide->of[field], &narrow->of[field]))
			return false;
	}
	return ports_cover(wide, narrow) && args_cover(wide, narrow);
}
