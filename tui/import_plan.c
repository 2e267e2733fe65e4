/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_plan.c - which variables of a shell hold keys, and for whom
 *
 * Runs in: kenaz.
 * Trusts:  the user's environment.
 * Never:   copies a value anywhere but where the caller says.
 *
 * One row a secret, in the order of preference where several name the same
 * secret: a Bedrock API key stands before an access key, as in AWS's own SDKs.
 */
#include "tui/import_plan.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define AS_BYO     "a provider of kind byo"
#define HALF       "its other half is not set"
#define ABOVE      "the one above stands before it"
#define EXPIRATION "AWS_CREDENTIAL_EXPIRATION"

static const struct import_row rows[] = {
	{{"ANTHROPIC_API_KEY"}, 1, "anthropic", "Anthropic"},
	{{"ANTHROPIC_AUTH_TOKEN"},
	 1,
	 "anthropic-token",
	 "a gateway that takes a bearer token"},
	{{"OPENAI_API_KEY"}, 1, "openai", "OpenAI"},
	{{"OPENROUTER_API_KEY"}, 1, "openrouter", "OpenRouter"},
	{{"AWS_BEARER_TOKEN_BEDROCK"}, 1, "bedrock", "Bedrock, by API key"},
	{{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	  EXPIRATION},
	 2,
	 "bedrock",
	 "Bedrock, signed (SigV4)"},
	{{"BENTO_CLOUD_API_KEY"}, 1, "bento", "BentoCloud"},
	{{"AZURE_OPENAI_API_KEY"}, 1, "azure", AS_BYO},
	{{"MISTRAL_API_KEY"}, 1, "mistral", AS_BYO},
	{{"GROQ_API_KEY"}, 1, "groq", AS_BYO},
	{{"DEEPSEEK_API_KEY"}, 1, "deepseek", AS_BYO},
	{{"TOGETHER_API_KEY"}, 1, "together", AS_BYO},
	{{"FIREWORKS_API_KEY"}, 1, "fireworks", AS_BYO},
	{{"XAI_API_KEY"}, 1, "xai", AS_BYO},
};

_Static_assert(ARRAY_SIZE(rows) <= IMPORT_ROWS_MAX, "the plan has room");

static bool is_set(import_get_fn get, const char *name)
{
	const char *value = get(name);

	return value && *value;
}

static bool has_variable(const struct import_row *row, const char *name)
{
	size_t i;

	for (i = 0; i < IMPORT_VARIABLES_MAX && row->variables[i]; i++)
		if (strcmp(name, row->variables[i]) == 0)
			return true;
	return false;
}

static bool asked_for(const struct import_row *row, char *const *only,
		      size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (has_variable(row, only[i]))
			return true;
	return count == 0;
}

static bool is_known(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (has_variable(&rows[i], name))
			return true;
	return false;
}

static void add(struct import_plan *plan, const struct import_row *row,
		import_get_fn get)
{
	struct import_entry *entry = &plan->entries[plan->count];
	size_t i, found = 0;

	for (i = 0; i < row->needed; i++)
		found += is_set(get, row->variables[i]);
	if (found == 0)
		return;
	plan->count++;
	*entry = (struct import_entry){.row = row,
				       .secret = row->secret,
				       .store = true};
	if (found < row->needed)
		entry->skipped = HALF;
	for (i = 0; i + 1 < plan->count; i++)
		if (plan->entries[i].store &&
		    strcmp(plan->entries[i].row->secret, row->secret) == 0)
			entry->skipped = ABOVE;
	entry->store = !entry->skipped;
}

/**
 * import_plan_make() - What of the environment would be stored where
 * @get:	getenv()
 * @only:	Names of variables; none is all that are known
 * @only_count:	How many
 * @ret_plan:	Always written; @ret_plan->unknown is borrowed from @only
 */
void import_plan_make(import_get_fn get, char *const *only, size_t only_count,
		      struct import_plan *ret_plan)
{
	size_t i;

	*ret_plan = (struct import_plan){0};
	for (i = 0; i < only_count; i++)
		if (!is_known(only[i]))
			ret_plan->unknown = only[i];
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (asked_for(&rows[i], only, only_count))
			add(ret_plan, &rows[i], get);
}

/**
 * import_plan_keep() - Leave what one provider's secret can be made of
 * @plan:	From import_plan_make()
 * @usual:	The secret that its kind's variables are stored as; NULL: any
 * @aws:	Its requests are signed with AWS's credentials
 * @secret:	What it is stored as, borrowed
 */
void import_plan_keep(struct import_plan *plan, const char *usual, bool aws,
		      const char *secret)
{
	size_t i, count = 0;

	for (i = 0; i < plan->count; i++) {
		struct import_entry e = plan->entries[i];
		bool whole = e.store || strcmp(e.skipped, HALF) != 0;

		if ((usual && strcmp(e.row->secret, usual) != 0) ||
		    (e.row->variables[1] != NULL) != aws)
			continue;
		e.secret = secret;
		e.store = whole && count == 0;
		if (e.store)
			e.skipped = NULL;
		else if (whole)
			e.skipped = ABOVE;
		plan->entries[count++] = e;
	}
	plan->count = count;
}

static bool two(const char **at, unsigned most, int *ret_value)
{
	const char *s = *at;

	if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return false;
	*ret_value = (s[0] - '0') * 10 + (s[1] - '0');
	*at = s + 2;
	return (unsigned)*ret_value <= most;
}

static bool mark(const char **at, const char *any)
{
	if (!**at || !strchr(any, **at))
		return false;
	(*at)++;
	return true;
}

/**
 * import_time() - Read a point in time
 * @text:		As RFC 3339 has it: 2026-01-31T12:00:00Z, or +00:00
 * @ret_wall_s:		Unix time; written when true
 */
bool import_time(const char *text, uint64_t *ret_wall_s)
{
	struct tm tm = {0};
	int century, year, hours = 0, minutes = 0;
	int64_t at;
	char sign;

	if (!two(&text, 99, &century) || !two(&text, 99, &year) ||
	    !mark(&text, "-") || !two(&text, 12, &tm.tm_mon) ||
	    !mark(&text, "-") || !two(&text, 31, &tm.tm_mday) ||
	    !mark(&text, "Tt ") || !two(&text, 23, &tm.tm_hour) ||
	    !mark(&text, ":") || !two(&text, 59, &tm.tm_min) ||
	    !mark(&text, ":") || !two(&text, 60, &tm.tm_sec) ||
	    tm.tm_mon == 0 || tm.tm_mday == 0)
		return false;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	sign = *text;
	if (!mark(&text, "Zz+-") ||
	    ((sign == '+' || sign == '-') &&
	     (!two(&text, 23, &hours) || !mark(&text, ":") ||
	      !two(&text, 59, &minutes))) ||
	    *text)
		return false;
	tm.tm_year = century * 100 + year - 1900;
	tm.tm_mon--;
	at = (int64_t)timegm(&tm);
	at -= (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	if (at <= 0)
		return false;
	*ret_wall_s = (uint64_t)at;
	return true;
}

/**
 * import_expiry() - When a secret that would be stored ends
 * @row:	Row of an entry that is stored
 * @get:	getenv()
 * @ret_wall_s:	Unix time; written when true
 *
 * Return: false when it does not, or nobody says when.
 */
bool import_expiry(const struct import_row *row, import_get_fn get,
		   uint64_t *ret_wall_s)
{
	size_t i;

	/* What has no token does not end. */
	for (i = 1; i < IMPORT_VARIABLES_MAX && row->variables[i]; i++)
		if (strcmp(row->variables[i], EXPIRATION) == 0)
			return is_set(get, row->variables[i - 1]) &&
			       is_set(get, EXPIRATION) &&
			       import_time(get(EXPIRATION), ret_wall_s);
	return false;
}

/**
 * import_value() - The secret's text
 * @row:	Row of an entry that is stored
 * @get:	getenv()
 * @ret_value:	Values, joined by ':' where a secret has several parts; not
 *		ended by a NUL
 * @cap_bytes:	Its size
 * @ret_len:	Written on success
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_FORMAT for a part that holds a colon where
 *	   parts are joined; ERR_RANGE when the time at which credentials end
 *	   is none.
 */
enum err import_value(const struct import_row *row, import_get_fn get,
		      char *ret_value, size_t cap_bytes, size_t *ret_len)
{
	bool joined = row->variables[1] != NULL;
	size_t len = 0, i, part;
	uint64_t wall_s = 0;
	char expires[32];

	for (i = 0; i < IMPORT_VARIABLES_MAX && row->variables[i]; i++) {
		const char *value = get(row->variables[i]);

		if (!value || !*value)
			continue;
		if (strcmp(row->variables[i], EXPIRATION) == 0) {
			/* What has no token does not end. */
			if (!is_set(get, row->variables[i - 1]))
				continue;
			if (!import_time(value, &wall_s))
				return ERR_RANGE;
			(void)snprintf(expires, sizeof(expires), "expires=%llu",
				       (unsigned long long)wall_s);
			value = expires;
		}
		part = strlen(value);
		if (part + 1 > cap_bytes - len)
			return ERR_LIMIT;
		if (joined && strchr(value, ':'))
			return ERR_FORMAT;
		if (len)
			ret_value[len++] = ':';
		memcpy(ret_value + len, value, part);
		len += part;
	}
	*ret_len = len;
	return ERR_OK;
}
