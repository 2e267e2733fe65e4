/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_provider.c - kenaz provider list, add, remove and test
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   takes a key: 'kenaz secret set' does.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/provider_probe.h"
#include "tui/secret_talk.h"

static const struct column columns[] = {
	{"NAME", "name", CELL_ANY},         {"KIND", "kind", CELL_ANY},
	{"ENDPOINT", "endpoint", CELL_ANY}, {"DIALECTS", "dialects", CELL_ANY},
	{"AUTH", "auth", CELL_ANY},         {"SECRET", "secret", CELL_ANY},
	{"STORED", "secret_set", CELL_YES}, {"CIRCUIT", "circuit", CELL_ANY},
};

/* What stands in the way of using them, and what to do. */
static void say_missing(const struct app *app, const cJSON *rows)
{
	const cJSON *row;

	cJSON_ArrayForEach(row, rows)
	{
		const char *name = app_text(row, "name");
		const char *secret = app_text(row, "secret");

		if (secret[0] && strcmp(app_text(row, "auth"), "none") != 0 &&
		    !app_is_true(row, "secret_set"))
			app_note(app,
				 "%s has no key yet, or the vault is not open: "
				 "'kenaz secret set %s'; see 'kenaz secret "
				 "status'",
				 name, secret);
		if (strcmp(app_text(row, "circuit"), "open") == 0)
			app_note(app,
				 "%s failed too often and is left alone for "
				 "now: 'kenaz provider test %s' says why",
				 name, name);
	}
}

static int cmd_list_providers(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	const cJSON *rows;
	int code = app_call(app, "provider.list", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	rows = cJSON_GetObjectItemCaseSensitive(result, "providers");
	if (app->quiet) {
		code = app_written(app, output_names(rows, "name"));
	} else {
		code = app_written(app, output_list(app->format, rows, columns,
						    ARRAY_SIZE(columns)));
		if (app->format == OUTPUT_TABLE)
			say_missing(app, rows);
	}
	cJSON_Delete(result);
	return code != 0 || app->quiet ? code : cmd_ask_provenance(app);
}

const struct command command_provider_list = {
	.name = "provider list",
	.arguments = "",
	.summary = "List providers",
	.options = cmd_no_options,
	.run = cmd_list_providers,
};

static const struct option_row add_options[] = {
	{"kind", 0, "KIND", "one of those below (NAME)"},
	{"endpoint", 0, "URL", "where it is, for those without a fixed one"},
	{"allow-http", 0, NULL, "let the endpoint be plain http"},
	{"region", 0, "REGION", "for bedrock"},
	{"endpoint-variant", 0, "VARIANT",
	 "fips, dualstack or fips-dualstack, for bedrock"},
	{"dialect", 0, "DIALECT",
	 "messages, chat, responses, invoke or converse; may be given again"},
	{"api-version", 0, "VERSION", "of Azure, for byo"},
	{"auth", 0, "WAY", "bearer, x-api-key, api-key, sigv4 or none"},
	{"secret", 0, "NAME", "secret that holds its key"},
	{"ca-file", 0, "PEM", "certificates to trust for it alone"},
	{"proxy", 0, "URL", "http://host:port that leads to it"},
	{"proxy-secret", 0, "NAME", "secret for the proxy"},
	{"http", 0, "VERSION", "auto or 1.1"},
	{"model", 0, "NAME", "a model it has; may be given again"},
	{"fallback", 0, "PROVIDER", "who is asked next; may be given again"},
	{"connect-timeout-s", 0, "S", "longest wait for a connection"},
	{"first-byte-timeout-s", 0, "S", "longest wait for an answer to begin"},
	{"idle-timeout-s", 0, "S", "longest silence within an answer"},
	{"total-timeout-s", 0, "S", "longest request"},
	{"retries", 0, "N", "how often a failed attempt is repeated"},
	{"retry-after-max-s", 0, "S", "longest wait that it may ask for"},
	{0},
};

/* Options that are lists in kenaz.toml. */
static const struct {
	const char *option, *key;
} lists[] = {
	{"dialect", "dialects"},
	{"model", "models"},
	{"fallback", "fallback"},
};

static void add_lists(const struct args *args, cJSON *params)
{
	cJSON *list;
	size_t i, k;

	for (k = 0; k < ARRAY_SIZE(lists); k++) {
		if (!args_has(args, lists[k].option))
			continue;
		list = cJSON_AddArrayToObject(params, lists[k].key);
		for (i = 0; i < args->given_count; i++)
			if (strcmp(args->given[i].row->name, lists[k].option) ==
				    0 &&
			    !cJSON_AddItemToArray(
				    list,
				    cJSON_CreateString(args->given[i].value)))
				abort();
	}
}

static bool is_list(const char *option)
{
	size_t k;

	for (k = 0; k < ARRAY_SIZE(lists); k++)
		if (strcmp(lists[k].option, option) == 0)
			return true;
	return false;
}

/* Options of one value have their key's name, with dashes. */
static int add_values(const struct app *app, struct args *args, cJSON *params)
{
	const struct option_row *row;
	uint64_t number;
	char key[48];
	size_t i;
	enum err e;

	for (row = add_options; row->name; row++) {
		const char *value = args_value(args, row->name);

		if (!args_has(args, row->name) || is_list(row->name) ||
		    strcmp(row->name, "ca-file") == 0 ||
		    strcmp(row->name, "kind") == 0)
			continue;
		(void)snprintf(key, sizeof(key), "%s", row->name);
		for (i = 0; key[i]; i++)
			if (key[i] == '-')
				key[i] = '_';
		if (!row->value) {
			app_add_bool(params, key, true);
		} else if (strcmp(row->value, "S") == 0 ||
			   strcmp(row->value, "N") == 0) {
			e = args_number(args, row->name, 0, 86400, &number);
			if (e != ERR_OK)
				return app_fail(app, EXIT_CODE_USAGE, "%s",
						args->error);
			app_add_number(params, key, (double)number);
		} else {
			app_add_text(params, key, value);
		}
	}
	return 0;
}

/* The entry says which secret, also where its kind did. */
static void say_next(const struct app *app, const char *name, const char *entry)
{
	static const char line[] = "\nsecret = \"";
	const char *secret = strstr(entry, line);

	if (secret) {
		secret += sizeof(line) - 1;
		app_note(app, "give it its key: kenaz secret set %.*s",
			 (int)strcspn(secret, "\""), secret);
	}
	app_note(app, "see that it answers: kenaz provider test %s", name);
}

static int cmd_add(struct app *app, struct args *args)
{
	const char *kind = args_value(args, "kind");
	const char *ca_file = args_value(args, "ca-file");
	cJSON *params = app_params(), *result = NULL;
	char path[PATH_MAX];
	int code;

	if (ca_file && !realpath(ca_file, path)) {
		cJSON_Delete(params);
		return app_fail(app, EXIT_CODE_NOT_FOUND, "no such file: %s",
				ca_file);
	}
	app_add_text(params, "name", args->rest[0]);
	app_add_text(params, "kind", kind ? kind : args->rest[0]);
	app_add_text(params, "ca_file", ca_file ? path : NULL);
	add_lists(args, params);
	code = add_values(app, args, params);
	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	code = app_call(app, "provider.add", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "provider %s is in %s", app_text(result, "name"),
		 app_text(result, "written_to"));
	say_next(app, args->rest[0], app_text(result, "text"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_provider_add = {
	.name = "provider add",
	.arguments = "NAME",
	.summary = "Add a provider to the configuration",
	.text = "Kinds: anthropic, openai, openrouter, bedrock (needs "
		"--region), bento and byo\n(need --endpoint; byo is any server "
		"that speaks Anthropic's or OpenAI's API,\nalso Azure, vLLM, "
		"Ollama, llama.cpp). The options are the keys of [[provider]]"
		"\nin kenaz.toml; 'kenaz setup' asks for the usual ones.",
	.options = add_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_add,
};

static int cmd_remove(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call(app, "provider.remove", params, &result);
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app,
		 "provider %s is taken out of %s; its secret stays until "
		 "'kenaz secret remove'",
		 app_text(result, "name"), app_text(result, "written_to"));
	cJSON_Delete(result);
	return 0;
}

const struct command command_provider_remove = {
	.name = "provider remove",
	.arguments = "NAME",
	.summary = "Take a provider out of the configuration",
	.text = "Not while an alias, a fallback, a [[model]] or "
		"engine.default_provider names it.",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_remove,
};

static cJSON *model_names(const struct provider_probe *probe)
{
	cJSON *names = cJSON_CreateArray();
	size_t i;

	for (i = 0; i < probe->models.count; i++)
		if (!cJSON_AddItemToArray(
			    names, cJSON_CreateString(probe->models.names[i])))
			abort();
	return names;
}

static int print_probe(struct app *app, const struct provider_probe *probe)
{
	cJSON *result = app_params();

	app_add_bool(result, "ok", probe->ok);
	app_add_number(result, "http_status", probe->http_status);
	app_add_number(result, "latency_ms", probe->latency_ms);
	app_add_text(result, "text", probe->text);
	app_add_text(result, "url", probe->url[0] ? probe->url : NULL);
	app_add_text(result, "said", probe->said[0] ? probe->said : NULL);
	if (probe->listed &&
	    !cJSON_AddItemToObject(result, "models", model_names(probe)))
		abort();
	if (probe->no_models[0])
		app_add_text(result, "no_models", probe->no_models);
	return cmd_print_object(app, result);
}

static int show_probe(struct app *app, const char *name,
		      const struct provider_probe *probe)
{
	char line[MODEL_MAX_BYTES * 4];
	size_t i;

	if (!probe->ok) {
		if (probe->url[0])
			app_note(app, "asked %s", probe->url);
		if (probe->said[0])
			app_note(app, "its own words: %s", probe->said);
		return app_fail(app, EXIT_CODE_FAILED, "provider %s: %s", name,
				probe->text);
	}
	app_note(app, "provider %s answered: HTTP %u in %.0f ms", name,
		 probe->http_status, probe->latency_ms);
	if (probe->no_models[0])
		app_note(app, "%s", probe->no_models);
	if (probe->listed)
		app_note(app, "it has %zu model%s%s%s", probe->models.count,
			 probe->models.count == 1 ? "" : "s",
			 probe->models.cut ? " and more" : "",
			 probe->models.count ? ":" : "");
	for (i = 0; i < probe->models.count; i++) {
		(void)text_escape_line(span_text(probe->models.names[i]), line,
				       sizeof(line));
		(void)printf("%s\n", line);
	}
	return app_written(app, ERR_OK);
}

static int cmd_test(struct app *app, struct args *args)
{
	struct provider_probe probe = {0};
	int code;

	code = secret_talk_open(app);
	if (code != 0)
		return code;
	/* It may take half a minute. */
	if (isatty(STDERR_FILENO))
		app_note(app, "asking %s ...", args->rest[0]);
	code = provider_probe(app, args->rest[0], args_value(args, "model"),
			      &probe);
	if (code != 0)
		return code;
	if (app->format == OUTPUT_TABLE)
		code = show_probe(app, args->rest[0], &probe);
	else
		code = print_probe(app, &probe);
	if (code == 0 && !probe.ok)
		code = EXIT_CODE_FAILED;
	provider_probe_fini(&probe);
	return code;
}

static const struct option_row test_options[] = {
	{"model", 0, "NAME", "ask this model for a token, not for the list"},
	{0},
};

const struct command command_provider_test = {
	.name = "provider test",
	.arguments = "NAME",
	.summary = "Send a provider one small request; it is in the log",
	.text = "Asks for its list of models, which costs nothing. A provider "
		"without a list,\nand one with --model, is asked for a token.",
	.options = test_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_test,
};
