/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c - strict JSON tokenizer: spans into the text, no copies
 *
 * Runs in: every program that reads JSON from a guest, a provider or a
 *	    client.
 * Trusts:  nothing in the text.
 * Never:   recurses, builds a tree of copies, accepts what two parsers could
 *	    read in two ways.
 *
 * RFC 8259, narrowed where that document leaves a choice: a key may appear
 * once in an object (compared after decoding), escaped surrogates come in
 * pairs, the text is UTF-8 without a byte order mark, and nothing but white
 * space follows the value. U+0000 is refused in keys, and in strings unless
 * the caller allows it.
 *
 * The tokens lie in document order: a container is followed by its subtree,
 * and `next` is the first index past that subtree, so siblings are walked
 * without pointers. Duplicate keys are found when an object closes, by
 * sorting its keys: n log n in the worst case, whatever the keys are.
 */
#include "engine/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json_text.h"
#include "engine/base/text.h"

#define FIRST_TOKENS      32u
#define PAIRWISE_KEYS_MAX 8u /* up to here comparing all pairs is cheaper */
#define NUMBER_MAX_BYTES  400u

enum expect { EXPECT_VALUE, EXPECT_FIRST, EXPECT_KEY, EXPECT_MORE };

struct parser {
	struct json *j;
	const uint8_t *data;
	uint32_t len, pos;
	struct json_limits limits;
	json_ref open; /* innermost container, or JSON_NONE */
	uint32_t depth;
	enum expect expect;
	bool done;
	/* key of the value that comes next */
	bool has_key, key_escaped;
	uint32_t key_at, key_len;
};

/**
 * json_init() - Prepare an empty document
 * @j:	Caller's memory
 */
void json_init(struct json *j)
{
	*j = (struct json){0};
}

/**
 * json_fini() - Release a document's tokens; a zeroed one is accepted
 * @j:	Document, or NULL
 */
void json_fini(struct json *j)
{
	if (!j)
		return;
	free(j->tokens);
	*j = (struct json){0};
}

static enum err fail(struct parser *p, enum err e, const char *why)
{
	p->j->error_at_bytes = p->pos;
	p->j->error_text = why;
	return e;
}

static enum err end_early(struct parser *p)
{
	p->pos = p->len;
	return fail(p, ERR_SHORT, "the text ends too early");
}

static enum err add_token(struct parser *p, enum json_type type,
			  struct json_token **ret_token)
{
	struct json *j = p->j;
	struct json_token *t;

	if (j->len_tokens >= p->limits.max_tokens)
		return fail(p, ERR_LIMIT, "too many values");
	if (j->len_tokens == j->cap_tokens) {
		uint32_t cap = j->cap_tokens ? j->cap_tokens * 2 : FIRST_TOKENS;

		t = reallocarray(j->tokens, cap, sizeof(*t));
		if (!t)
			return fail(p, ERR_MEMORY, "out of memory");
		j->tokens = t;
		j->cap_tokens = cap;
	}
	t = &j->tokens[j->len_tokens];
	*t = (struct json_token){
		.at_bytes = p->pos,
		.parent = p->open,
		.next = j->len_tokens + 1,
		.type = (uint8_t)type,
		.has_key = p->has_key,
		.key_escaped = p->key_escaped,
		.key_at_bytes = p->key_at,
		.key_len_bytes = p->key_len,
	};
	j->len_tokens++;
	if (p->open != JSON_NONE)
		j->tokens[p->open].count++;
	p->has_key = false;
	p->key_escaped = false;
	*ret_token = t;
	return ERR_OK;
}

/* The escape at p->pos; moves behind it. */
static enum err scan_escape(struct parser *p, bool key)
{
	uint32_t left = p->len - p->pos, v, low;

	if (left < 2)
		return end_early(p);
	if (p->data[p->pos + 1] != 'u') {
		if (!memchr("\"\\/bfnrt", p->data[p->pos + 1], 8))
			return fail(p, ERR_FORMAT, "unknown escape");
		p->pos += 2;
		return ERR_OK;
	}
	if (left < 6)
		return end_early(p);
	if (!json_text_hex4(p->data + p->pos + 2, &v))
		return fail(p, ERR_FORMAT, "bad \\u escape");
	if (v == 0 && (key || !p->limits.allow_nul))
		return fail(p, ERR_FORMAT, "NUL in a string");
	if (v >= 0xdc00 && v <= 0xdfff)
		return fail(p, ERR_FORMAT, "lone surrogate");
	if (v >= 0xd800 && v <= 0xdbff) {
		if (left < 12)
			return fail(p, ERR_FORMAT, "lone surrogate");
		if (p->data[p->pos + 6] != '\\' || p->data[p->pos + 7] != 'u' ||
		    !json_text_hex4(p->data + p->pos + 8, &low) ||
		    low < 0xdc00 || low > 0xdfff)
			return fail(p, ERR_FORMAT, "lone surrogate");
		p->pos += 6;
	}
	p->pos += 6;
	return ERR_OK;
}

/* The string whose opening quote is at p->pos; moves behind its end. */
static enum err scan_string(struct parser *p, bool key, bool *ret_escaped)
{
	bool escaped = false;
	uint32_t cp;
	size_t len;
	enum err e;

	p->pos++;
	while (p->pos < p->len) {
		uint8_t c = p->data[p->pos];

		if (c == '"') {
			p->pos++;
			*ret_escaped = escaped;
			return ERR_OK;
		}
		if (c == '\\') {
			escaped = true;
			e = scan_escape(p, key);
			if (e != ERR_OK)
				return e;
		} else if (c < 0x20) {
			return fail(p, ERR_FORMAT,
				    "control character in a string");
		} else if (c < 0x80) {
			p->pos++;
		} else {
			len = text_utf8_next(span_of(p->data + p->pos,
						     p->len - p->pos),
					     &cp);
			if (len == 0)
				return fail(p, ERR_FORMAT, "bad UTF-8");
			p->pos += (uint32_t)len;
		}
	}
	return end_early(p);
}

static bool is_digit(const struct parser *p)
{
	return p->pos < p->len && p->data[p->pos] >= '0' &&
	       p->data[p->pos] <= '9';
}

static enum err scan_digits(struct parser *p)
{
	if (p->pos == p->len)
		return end_early(p);
	if (!is_digit(p))
		return fail(p, ERR_FORMAT, "bad number");
	while (is_digit(p))
		p->pos++;
	return ERR_OK;
}

/* number = [ "-" ] int [ frac ] [ exp ], RFC 8259 section 6 */
static enum err scan_number(struct parser *p)
{
	uint32_t start = p->pos;
	enum err e = ERR_OK;

	if (p->data[p->pos] == '-')
		p->pos++;
	if (p->pos < p->len && p->data[p->pos] == '0') {
		p->pos++;
		if (is_digit(p))
			return fail(p, ERR_FORMAT,
				    "number with a leading zero");
	} else {
		e = scan_digits(p);
	}
	if (e == ERR_OK && p->pos < p->len && p->data[p->pos] == '.') {
		p->pos++;
		e = scan_digits(p);
	}
	if (e == ERR_OK && p->pos < p->len &&
	    (p->data[p->pos] == 'e' || p->data[p->pos] == 'E')) {
		p->pos++;
		if (p->pos < p->len &&
		    (p->data[p->pos] == '+' || p->data[p->pos] == '-'))
			p->pos++;
		e = scan_digits(p);
	}
	if (e == ERR_OK && p->pos - start > NUMBER_MAX_BYTES)
		return fail(p, ERR_LIMIT, "number with too many digits");
	return e;
}

static enum err scan_word(struct parser *p, const char *word)
{
	uint32_t len = (uint32_t)strlen(word), have = p->len - p->pos;

	if (memcmp(p->data + p->pos, word, have < len ? have : len) != 0)
		return fail(p, ERR_FORMAT, "unknown word");
	if (have < len)
		return end_early(p);
	p->pos += len;
	return ERR_OK;
}

/* After a complete value: what may follow. */
static void value_ends(struct parser *p)
{
	p->expect = EXPECT_MORE;
	p->done = p->open == JSON_NONE;
}

static enum err open_container(struct parser *p, enum json_type type)
{
	struct json_token *t;
	enum err e;

	if (p->depth >= p->limits.max_depth)
		return fail(p, ERR_LIMIT, "nested too deeply");
	e = add_token(p, type, &t);
	if (e != ERR_OK)
		return e;
	p->open = (json_ref)(t - p->j->tokens);
	p->depth++;
	p->pos++;
	p->expect = EXPECT_FIRST;
	return ERR_OK;
}

static enum err scan_value(struct parser *p)
{
	uint8_t c = p->data[p->pos];
	uint32_t start = p->pos;
	struct json_token *t;
	enum json_type type;
	bool escaped = false;
	enum err e;

	if (c == '{' || c == '[')
		return open_container(p, c == '{' ? JSON_OBJECT : JSON_ARRAY);
	if (c == '"')
		type = JSON_STRING, e = scan_string(p, false, &escaped);
	else if (c == 't')
		type = JSON_TRUE, e = scan_word(p, "true");
	else if (c == 'f')
		type = JSON_FALSE, e = scan_word(p, "false");
	else if (c == 'n')
		type = JSON_NULL, e = scan_word(p, "null");
	else if (c == '-' || is_digit(p))
		type = JSON_NUMBER, e = scan_number(p);
	else
		return fail(p, ERR_FORMAT, "a value is missing");
	if (e == ERR_OK)
		e = add_token(p, type, &t);
	if (e != ERR_OK)
		return e;
	t->at_bytes = start;
	t->len_bytes = p->pos - start;
	t->escaped = escaped;
	value_ends(p);
	return ERR_OK;
}

static void skip_space(struct parser *p)
{
	while (p->pos < p->len) {
		uint8_t c = p->data[p->pos];

		if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
			return;
		p->pos++;
	}
}

static enum err scan_key(struct parser *p)
{
	enum err e;

	if (p->data[p->pos] != '"')
		return fail(p, ERR_FORMAT, "a key is missing");
	p->key_at = p->pos + 1;
	e = scan_string(p, true, &p->key_escaped);
	if (e != ERR_OK)
		return e;
	p->key_len = p->pos - 1 - p->key_at;
	p->has_key = true;
	skip_space(p);
	if (p->pos == p->len)
		return end_early(p);
	if (p->data[p->pos] != ':')
		return fail(p, ERR_FORMAT, "a colon is missing");
	p->pos++;
	p->expect = EXPECT_VALUE;
	return ERR_OK;
}

static struct span key_span(const struct json *j, const struct json_token *t)
{
	return span_of(j->text.data + t->key_at_bytes, t->key_len_bytes);
}

/* A total order of keys that is 0 for equal decoded keys only. */
static int compare_keys(const void *a, const void *b, void *context)
{
	const struct json *j = context;
	const struct json_token *x = &j->tokens[*(const json_ref *)a];
	const struct json_token *y = &j->tokens[*(const json_ref *)b];

	return json_text_compare(key_span(j, x), key_span(j, y));
}

static bool pair_has_equal_keys(struct json *j, json_ref a, json_ref b)
{
	const struct json_token *x = &j->tokens[a], *y = &j->tokens[b];

	if (!x->key_escaped && !y->key_escaped)
		return span_equal(key_span(j, x), key_span(j, y));
	return json_text_compare(key_span(j, x), key_span(j, y)) == 0;
}

static enum err find_duplicate_sorted(struct parser *p, json_ref object,
				      uint32_t count, json_ref *ret_found)
{
	struct json *j = p->j;
	json_ref *keys, at = object + 1;
	uint32_t i;

	keys = calloc(count, sizeof(*keys));
	if (!keys)
		return fail(p, ERR_MEMORY, "out of memory");
	for (i = 0; i < count; i++, at = j->tokens[at].next)
		keys[i] = at;
	qsort_r(keys, count, sizeof(*keys), compare_keys, j);
	for (i = 1; i < count && *ret_found == JSON_NONE; i++)
		if (pair_has_equal_keys(j, keys[i - 1], keys[i]))
			*ret_found =
				keys[i] > keys[i - 1] ? keys[i] : keys[i - 1];
	free(keys);
	return ERR_OK;
}

static enum err check_keys(struct parser *p, json_ref object)
{
	struct json *j = p->j;
	uint32_t count = j->tokens[object].count;
	json_ref end = j->len_tokens, a, b, found = JSON_NONE;
	enum err e = ERR_OK;

	if (count > PAIRWISE_KEYS_MAX) {
		e = find_duplicate_sorted(p, object, count, &found);
	} else {
		for (a = object + 1; a < end; a = j->tokens[a].next)
			for (b = j->tokens[a].next; b < end;
			     b = j->tokens[b].next)
				if (pair_has_equal_keys(j, a, b))
					found = b;
	}
	if (e == ERR_OK && found != JSON_NONE) {
		p->pos = j->tokens[found].key_at_bytes;
		return fail(p, ERR_FORMAT, "duplicate key");
	}
	return e;
}

static enum err close_container(struct parser *p)
{
	struct json_token *t = &p->j->tokens[p->open];
	enum err e = ERR_OK;

	p->pos++;
	t->len_bytes = p->pos - t->at_bytes;
	if (t->type == JSON_OBJECT)
		e = check_keys(p, p->open);
	if (e != ERR_OK)
		return e;
	t->next = p->j->len_tokens;
	p->open = t->parent;
	p->depth--;
	value_ends(p);
	return ERR_OK;
}

/* After '{', '[' or a value inside a container. */
static enum err scan_more(struct parser *p)
{
	bool object = p->j->tokens[p->open].type == JSON_OBJECT;
	bool first = p->expect == EXPECT_FIRST;
	uint8_t c = p->data[p->pos];

	if (c == (object ? '}' : ']'))
		return close_container(p);
	if (!first && c != ',')
		return fail(p, ERR_FORMAT,
			    object ? "expected ',' or '}'"
				   : "expected ',' or ']'");
	if (!first)
		p->pos++;
	p->expect = object ? EXPECT_KEY : EXPECT_VALUE;
	return ERR_OK;
}

static enum err run(struct parser *p)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && !p->done) {
		skip_space(p);
		if (p->pos == p->len)
			return end_early(p);
		if (p->expect == EXPECT_VALUE)
			e = scan_value(p);
		else if (p->expect == EXPECT_KEY)
			e = scan_key(p);
		else
			e = scan_more(p);
	}
	if (e != ERR_OK)
		return e;
	skip_space(p);
	if (p->pos != p->len)
		return fail(p, ERR_FORMAT, "bytes follow the value");
	return ERR_OK;
}

static uint32_t limit_of(uint32_t asked, uint32_t ceiling)
{
	return asked && asked < ceiling ? asked : ceiling;
}

/**
 * json_parse() - Check a whole document and find its values
 * @j:		Initialised document; an earlier content is dropped, its
 *		memory reused
 * @text:	Borrowed; must stay unchanged while @j is used
 * @limits:	Ceilings, NULL for the largest of all
 *
 * After a failure the document is empty; error_text and error_at_bytes say
 * what is wrong where.
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_SHORT for a text that ends too early;
 *	   ERR_LIMIT for one that is too long, too deep or has too many
 *	   values; ERR_MEMORY.
 */
enum err json_parse(struct json *j, struct span text,
		    const struct json_limits *limits)
{
	struct parser p = {.j = j, .open = JSON_NONE, .data = text.data};
	enum err e;

	if (limits)
		p.limits = *limits;
	p.limits.max_bytes = limit_of(p.limits.max_bytes, JSON_BYTES_MAX);
	p.limits.max_tokens = limit_of(p.limits.max_tokens, JSON_TOKENS_MAX);
	p.limits.max_depth = limit_of(p.limits.max_depth, JSON_DEPTH_MAX);
	j->text = text;
	j->len_tokens = 0;
	j->error_at_bytes = 0;
	j->error_text = NULL;
	if (text.len_bytes > p.limits.max_bytes)
		return fail(&p, ERR_LIMIT, "the text is too long");
	p.len = (uint32_t)text.len_bytes;
	e = run(&p);
	if (e != ERR_OK)
		j->len_tokens = 0;
	return e;
}

static const struct json_token *token_at(const struct json *j, json_ref at)
{
	return at < j->len_tokens ? &j->tokens[at] : NULL;
}

/** json_is() - Whether a value exists and has this type */
bool json_is(const struct json *j, json_ref at, enum json_type type)
{
	const struct json_token *t = token_at(j, at);

	return t && t->type == (uint8_t)type;
}

/** json_count() - Members or elements of a container; 0 for anything else */
uint32_t json_count(const struct json *j, json_ref at)
{
	const struct json_token *t = token_at(j, at);

	return t ? t->count : 0;
}

/** json_raw() - A value's own bytes, quotes and braces included */
struct span json_raw(const struct json *j, json_ref at)
{
	const struct json_token *t = token_at(j, at);

	return t ? span_of(j->text.data + t->at_bytes, t->len_bytes)
		 : span_of(NULL, 0);
}

/** json_offset() - Where a value starts in the text; 0 for none */
size_t json_offset(const struct json *j, json_ref at)
{
	const struct json_token *t = token_at(j, at);

	return t ? t->at_bytes : 0;
}

/** json_first() - First member or element; JSON_NONE when there is none */
json_ref json_first(const struct json *j, json_ref container)
{
	return json_count(j, container) ? container + 1 : JSON_NONE;
}

/** json_next() - The next member or element of the same container */
json_ref json_next(const struct json *j, json_ref at)
{
	const struct json_token *t = token_at(j, at);
	const struct json_token *parent = t ? token_at(j, t->parent) : NULL;

	return parent && t->next < parent->next ? t->next : JSON_NONE;
}

/** json_parent() - The container a value lies in; JSON_NONE for the root */
json_ref json_parent(const struct json *j, json_ref at)
{
	const struct json_token *t = token_at(j, at);

	return t ? t->parent : JSON_NONE;
}

static bool key_equals(const struct json *j, json_ref at, struct span text)
{
	const struct json_token *t = token_at(j, at);

	return t && t->has_key &&
	       json_text_is(key_span(j, t), t->key_escaped, text);
}

/** json_key_is() - Whether a member's decoded key is this text */
bool json_key_is(const struct json *j, json_ref at, const char *text)
{
	return key_equals(j, at, span_text(text));
}

static json_ref get_span(const struct json *j, json_ref object, struct span key)
{
	if (!json_is(j, object, JSON_OBJECT))
		return JSON_NONE;
	JSON_EACH (j, item, object)
		if (key_equals(j, item, key))
			return item;
	return JSON_NONE;
}

/**
 * json_get() - A member by its key
 * @j:		Document
 * @object:	Any value; JSON_NONE and other types give JSON_NONE
 * @key:	Decoded key
 *
 * Return: the member's value, or JSON_NONE.
 */
json_ref json_get(const struct json *j, json_ref object, const char *key)
{
	return get_span(j, object, span_text(key));
}

/**
 * json_find() - A value by its path
 * @j:		Document
 * @from:	Where the path starts
 * @path:	Keys and array indices with dots between, as "content.0.type"
 *
 * Return: the value, or JSON_NONE.
 */
json_ref json_find(const struct json *j, json_ref from, const char *path)
{
	json_ref at = from;

	while (*path && at != JSON_NONE) {
		size_t len = strcspn(path, ".");
		struct span part = span_of(path, len);
		uint64_t index = 0;

		if (json_is(j, at, JSON_ARRAY)) {
			if (text_parse_u64(part, 0, UINT32_MAX, &index) !=
			    ERR_OK)
				return JSON_NONE;
			at = json_first(j, at);
			while (at != JSON_NONE && index-- > 0)
				at = json_next(j, at);
		} else {
			at = get_span(j, at, part);
		}
		path += len;
		if (*path == '.')
			path++;
	}
	return at;
}

/**
 * json_key() - Append a member's decoded key
 * @j:		Document
 * @at:		Member
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND without a key; ERR_LIMIT; ERR_MEMORY.
 */
enum err json_key(const struct json *j, json_ref at, struct buf *out)
{
	const struct json_token *t = token_at(j, at);

	if (!t || !t->has_key)
		return ERR_NOT_FOUND;
	return json_text_put(key_span(j, t), t->key_escaped, out);
}

static struct span string_span(const struct json *j, const struct json_token *t)
{
	return span_of(j->text.data + t->at_bytes + 1, t->len_bytes - 2);
}

/** json_string_is() - Whether a value is a string with this decoded text */
bool json_string_is(const struct json *j, json_ref at, const char *text)
{
	const struct json_token *t = token_at(j, at);

	return t && t->type == JSON_STRING &&
	       json_text_is(string_span(j, t), t->escaped, span_text(text));
}

/**
 * json_string() - Append a string's decoded bytes (UTF-8)
 * @j:		Document
 * @at:		String
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT for another type; ERR_LIMIT;
 *	   ERR_MEMORY. Nothing is added on failure.
 */
enum err json_string(const struct json *j, json_ref at, struct buf *out)
{
	const struct json_token *t = token_at(j, at);

	if (!t)
		return ERR_NOT_FOUND;
	if (t->type != JSON_STRING)
		return ERR_FORMAT;
	return json_text_put(string_span(j, t), t->escaped, out);
}

/**
 * json_text() - Copy a short string into a NUL-terminated array
 * @j:		Document
 * @at:		String
 * @ret_text:	Array of @cap_bytes; written on success only
 * @cap_bytes:	Its size, the NUL included
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT for another type or U+0000
 *	   inside; ERR_LIMIT when it does not fit; ERR_MEMORY.
 */
enum err json_text(const struct json *j, json_ref at, char *ret_text,
		   size_t cap_bytes)
{
	struct buf decoded;
	enum err e;

	buf_init(&decoded, cap_bytes);
	e = json_string(j, at, &decoded);
	if (e == ERR_OK)
		e = span_copy_text(buf_span(&decoded), ret_text, cap_bytes);
	buf_fini(&decoded);
	return e;
}

/**
 * json_uint() - An unsigned integer with a checked range
 * @j:		Document
 * @at:		Number without fraction and exponent
 * @min:	Least value accepted
 * @max:	Greatest value accepted
 * @ret_value:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT for another type, a fraction or
 *	   an exponent; ERR_RANGE.
 */
enum err json_uint(const struct json *j, json_ref at, uint64_t min,
		   uint64_t max, uint64_t *ret_value)
{
	struct span raw = json_raw(j, at);

	if (!token_at(j, at))
		return ERR_NOT_FOUND;
	if (!json_is(j, at, JSON_NUMBER))
		return ERR_FORMAT;
	if (raw.data[0] == '-')
		return ERR_RANGE;
	return text_parse_u64(raw, min, max, ret_value);
}

/**
 * json_int() - A signed integer with a checked range; see json_uint()
 */
enum err json_int(const struct json *j, json_ref at, int64_t min, int64_t max,
		  int64_t *ret_value)
{
	struct span raw = json_raw(j, at);
	uint64_t size = 0;
	int64_t value;
	bool negative;
	enum err e;

	if (!token_at(j, at))
		return ERR_NOT_FOUND;
	if (!json_is(j, at, JSON_NUMBER))
		return ERR_FORMAT;
	negative = raw.data[0] == '-';
	if (negative)
		raw = span_of(raw.data + 1, raw.len_bytes - 1);
	e = text_parse_u64(raw, 0, (uint64_t)INT64_MAX + negative, &size);
	if (e != ERR_OK)
		return e;
	value = negative ? (int64_t)(0 - size) : (int64_t)size;
	if (value < min || value > max)
		return ERR_RANGE;
	*ret_value = value;
	return ERR_OK;
}

/**
 * json_bool() - A truth value
 * @j:		Document
 * @at:		true or false
 * @ret_value:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT for another type.
 */
enum err json_bool(const struct json *j, json_ref at, bool *ret_value)
{
	const struct json_token *t = token_at(j, at);

	if (!t)
		return ERR_NOT_FOUND;
	if (t->type != JSON_TRUE && t->type != JSON_FALSE)
		return ERR_FORMAT;
	*ret_value = t->type == JSON_TRUE;
	return ERR_OK;
}
