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

#include <string.h>

#define AS_BYO "a provider of kind byo"

static const struct import_row rows[] = {
	{{"ANTHROPIC_API_KEY"}, 1, "anthropic", "Anthropic"},
	{{"ANTHROPIC_AUTH_TOKEN"},
	 1,
	 "anthropic-token",
	 "a gateway that takes a bearer token"},
	{{"OPENAI_API_KEY"}, 1, "openai", "OpenAI"},
	{{"OPENROUTER_API_KEY"}, 1, "openrouter", "OpenRouter"},
	{{"AWS_BEARER_TOKEN_BEDROCK"}, 1, "bedrock", "Bedrock, by API key"},
	{{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
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
	*entry = (struct import_entry){.row = row, .store = true};
	if (found < row->needed)
		entry->skipped = "its other half is not set";
	for (i = 0; i + 1 < plan->count; i++)
		if (plan->entries[i].store &&
		    strcmp(plan->entries[i].row->secret, row->secret) == 0)
			entry->skipped = "the one above stands before it";
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
 * import_value() - The secret's text
 * @row:	Row of an entry that is stored
 * @get:	getenv()
 * @ret_value:	Values, joined by ':' where a secret has several parts; not
 *		ended by a NUL
 * @cap_bytes:	Its size
 * @ret_len:	Written on success
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_FORMAT for a part that holds a colon where
 *	   parts are joined.
 */
enum err import_value(const struct import_row *row, import_get_fn get,
		      char *ret_value, size_t cap_bytes, size_t *ret_len)
{
	bool joined = row->variables[1] != NULL;
	size_t len = 0, i, part;

	for (i = 0; i < IMPORT_VARIABLES_MAX && row->variables[i]; i++) {
		const char *value = get(row->variables[i]);

		if (!value || !*value)
			continue;
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
