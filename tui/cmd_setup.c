/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_setup.c - kenaz setup: the first provider, by question and answer
 *
 * Runs in: kenaz.
 * Trusts:  its user; nothing that a provider answers.
 * Never:   has anything written that was not shown and agreed to: the engine
 *	    previews each entry with the request that then writes it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/providers/provider.h"
#include "engine/providers/route.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/provider_probe.h"
#include "tui/secret_talk.h"
#include "tui/setup_ask.h"
#include "tui/setup_key.h"
#include "tui/setup_vault.h"

#define SETUP_SHOWN_MAX 40u /* models in the list to choose from */
#define SETUP_KINDS_MAX 16u
#define REGION_ENDPOINT "AWS's own for that region"

struct setup {
	struct app *app;
	const struct provider_kind *kind;
	bool local;
	char name[NAME_MAX_BYTES + 1];
	char endpoint[ROUTE_ENDPOINT_MAX_BYTES]; /* "": the kind's own */
	char region[ROUTE_REGION_MAX_BYTES + 1];
	char api_version[ROUTE_API_VERSION_MAX_BYTES + 1];
	char dialect[16];                /* "": the kind's own */
	char auth[16];                   /* "": the kind's own */
	char secret[NAME_MAX_BYTES + 1]; /* "": it has none */
	struct secret_text key;
	bool set_key, key_is_new;
	struct setup_vault vault;
};

static const struct {
	const char *url, *about;
} local_servers[] = {
	{"http://127.0.0.1:11434/v1", "Ollama"},
	{"http://127.0.0.1:8000/v1", "vLLM"},
	{"http://127.0.0.1:8080", "llama.cpp"},
};

/* --- questions -------------------------------------------------------------
 */

static bool ask_kind(struct setup *s)
{
	const struct provider_kind *kinds[SETUP_KINDS_MAX], *k;
	size_t count = 0, i, chosen;

	setup_say("\nWhich kind of provider?\n");
	for (i = 0; (k = provider_at(i)) && count + 1 < SETUP_KINDS_MAX; i++)
		if (k->transport == PROVIDER_TRANSPORT_NETWORK)
			kinds[count++] = k;
	for (i = 0; i < count; i++)
		setup_say("  %zu) %-11s %s\n", i + 1, kinds[i]->name,
			  kinds[i]->about);
	setup_say("  %zu) %-11s a model server on this machine: Ollama, vLLM, "
		  "llama.cpp\n",
		  count + 1, "local");
	if (!setup_number("Kind", count + 1, 0, &chosen))
		return false;
	s->local = chosen == count;
	s->kind = s->local ? provider_find(span_text("byo")) : kinds[chosen];
	return true;
}

static bool ask_name(struct setup *s)
{
	const char *usual = s->name[0] ? s->name
			    : s->local ? "local"
				       : s->kind->name;

	for (;;) {
		if (!setup_line("Name of the provider here", usual, s->name,
				sizeof(s->name)))
			return false;
		if (text_is_name(span_text(s->name), NAME_MAX_BYTES))
			return true;
		setup_say("Small letters, digits, '.', '_' and '-'.\n");
	}
}

static bool ask_local(struct setup *s)
{
	size_t i, chosen, count = ARRAY_SIZE(local_servers);

	for (i = 0; i < count; i++)
		setup_say("  %zu) %-26s %s\n", i + 1, local_servers[i].url,
			  local_servers[i].about);
	setup_say("  %zu) another address\n", count + 1);
	if (!setup_number("Where does it listen", count + 1, 0, &chosen))
		return false;
	if (chosen == count)
		return setup_line("Endpoint (http://HOST:PORT/v1)", s->endpoint,
				  s->endpoint, sizeof(s->endpoint));
	(void)snprintf(s->endpoint, sizeof(s->endpoint), "%s",
		       local_servers[chosen].url);
	return true;
}

/* What AWS's own programs take it from. */
static const char *usual_region(void)
{
	static const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (getenv(names[i]) && getenv(names[i])[0])
			return getenv(names[i]);
	return "us-east-1";
}

static bool is_azure(const char *endpoint)
{
	return strstr(endpoint, ".azure.com") != NULL;
}

/* One model's own path wants a version; "/openai/v1" wants none. */
static bool ask_api_version(struct setup *s)
{
	if (strcmp(s->kind->name, "byo") != 0 ||
	    !strstr(s->endpoint, "/openai/deployments/")) {
		s->api_version[0] = '\0';
		return true;
	}
	return setup_line("api-version of Azure",
			  s->api_version[0] ? s->api_version : "2024-10-21",
			  s->api_version, sizeof(s->api_version));
}

static bool ask_own_endpoint(struct setup *s)
{
	setup_say("Give its address, as https://HOST/v1. Azure: "
		  "https://HOST.openai.azure.com/openai/v1,\nor "
		  "https://HOST.openai.azure.com/openai/deployments/NAME.\n");
	do {
		if (!setup_line("Endpoint", s->endpoint, s->endpoint,
				sizeof(s->endpoint)))
			return false;
	} while (!s->endpoint[0]);
	return ask_api_version(s);
}

static bool ask_endpoint(struct setup *s)
{
	bool has_region = s->kind->capabilities & PROVIDER_HAS_REGION;
	const char *own = has_region ? REGION_ENDPOINT : s->kind->endpoint;
	char line[ROUTE_ENDPOINT_MAX_BYTES];

	if (s->local)
		return ask_local(s);
	if (has_region &&
	    !setup_line("Region", s->region[0] ? s->region : usual_region(),
			s->region, sizeof(s->region)))
		return false;
	if (!own)
		return ask_own_endpoint(s);
	if (!setup_line("Endpoint", s->endpoint[0] ? s->endpoint : own, line,
			sizeof(line)))
		return false;
	(void)snprintf(s->endpoint, sizeof(s->endpoint), "%s",
		       strcmp(line, own) == 0 ? "" : line);
	return true;
}

static bool ask_dialect(struct setup *s)
{
	static const char *const names[] = {"chat", "messages", "responses"};
	size_t chosen;

	if (strcmp(s->kind->name, "byo") != 0)
		return true;
	setup_say("Which API does it speak?\n"
		  "  1) OpenAI chat completions (most servers)\n"
		  "  2) Anthropic Messages\n  3) OpenAI Responses\n");
	if (!setup_number("API", ARRAY_SIZE(names), 0, &chosen))
		return false;
	(void)snprintf(s->dialect, sizeof(s->dialect), "%s", names[chosen]);
	return true;
}

static const struct {
	const char *name, *text;
} auth_texts[] = {
	{"bearer", "in the header authorization: Bearer (most servers)"},
	{"x-api-key", "in the header x-api-key (as Anthropic's)"},
	{"api-key", "in the header api-key (Azure)"},
	{"sigv4", "AWS credentials sign each request"},
	{"none", "it wants no key"},
};

static const char *text_of(const char *auth)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(auth_texts); i++)
		if (strcmp(auth_texts[i].name, auth) == 0)
			return auth_texts[i].text;
	return "";
}

/* What most servers of that sort want; others are a number away. */
static const char *usual_auth(const struct setup *s)
{
	if (s->local)
		return "none";
	if (is_azure(s->endpoint))
		return "api-key";
	if (s->dialect[0] && strcmp(s->dialect, "messages") != 0)
		return "bearer";
	return provider_auth_name(s->kind);
}

static bool ask_auth(struct setup *s)
{
	const char *want = usual_auth(s);
	size_t count = 0, usual = 0, chosen;

	s->auth[0] = '\0';
	if (!s->kind->auths)
		return true;
	setup_say("How does its key go?\n");
	for (; s->kind->auths[count]; count++) {
		if (strcmp(s->kind->auths[count], want) == 0)
			usual = count;
		setup_say("  %zu) %-10s %s\n", count + 1, s->kind->auths[count],
			  text_of(s->kind->auths[count]));
	}
	if (!setup_number("Key", count, usual, &chosen))
		return false;
	(void)snprintf(s->auth, sizeof(s->auth), "%s", s->kind->auths[chosen]);
	return true;
}

/* --- the key
 * ------------------------------------------------------------------ */

static int has_secret(struct setup *s, bool *ret_has)
{
	cJSON *result = NULL;
	const cJSON *name;
	int code = app_call(s->app, "secret.list", NULL, &result);

	*ret_has = false;
	if (code != 0)
		return code;
	cJSON_ArrayForEach(name,
			   cJSON_GetObjectItemCaseSensitive(result, "secrets"))
	{
		if (cJSON_IsString(name) &&
		    strcmp(name->valuestring, s->secret) == 0)
			*ret_has = true;
	}
	cJSON_Delete(result);
	return 0;
}

static int ask_key(struct setup *s)
{
	bool has = false, keep = false;
	int code;

	s->secret[0] = '\0';
	s->set_key = s->key_is_new = false;
	if (strcmp(s->auth, "none") == 0)
		return 0;
	(void)snprintf(s->secret, sizeof(s->secret), "%s", s->name);
	code = has_secret(s, &has);
	if (code != 0)
		return code;
	if (has) {
		setup_say("The vault has a secret %s already.\n", s->secret);
		if (!setup_agrees("Keep it as the key?", true, &keep))
			return SETUP_LEFT;
	}
	if (keep)
		return 0;
	s->set_key = true;
	s->key_is_new = !has;
	code = setup_key_take(s->app, s->name,
			      is_azure(s->endpoint) ? "azure" : s->kind->name,
			      strcmp(s->auth, "sigv4") == 0, &s->key);
	return code == 0 ? setup_vault_ask(s->app, false, &s->vault) : code;
}

static int ask_all(struct setup *s)
{
	if (!ask_endpoint(s) || !ask_dialect(s) || !ask_auth(s))
		return SETUP_LEFT;
	return ask_key(s);
}

/* --- showing and writing
 * ------------------------------------------------------- */

static cJSON *entry_of(const struct setup *s, bool preview)
{
	cJSON *params = app_params(), *list;

	app_add_text(params, "name", s->name);
	app_add_text(params, "kind", s->kind->name);
	app_add_text(params, "endpoint", s->endpoint[0] ? s->endpoint : NULL);
	if (strncmp(s->endpoint, "http://", 7) == 0)
		app_add_bool(params, "allow_http", true);
	app_add_text(params, "region", s->region[0] ? s->region : NULL);
	app_add_text(params, "api_version",
		     s->api_version[0] ? s->api_version : NULL);
	app_add_text(params, "auth", s->auth[0] ? s->auth : NULL);
	app_add_text(params, "secret", s->secret[0] ? s->secret : NULL);
	if (s->dialect[0]) {
		list = cJSON_AddArrayToObject(params, "dialects");
		if (!cJSON_AddItemToArray(list, cJSON_CreateString(s->dialect)))
			abort();
	}
	if (preview)
		app_add_bool(params, "preview", true);
	return params;
}

/* Everything that comes to be, before any of it does. */
static int show_provider(struct setup *s)
{
	cJSON *preview = NULL;
	bool yes = false;
	int code =
		app_call(s->app, "provider.add", entry_of(s, true), &preview);

	if (code != 0)
		return code;
	setup_say("\nThis will be appended to %s:\n\n%s\n",
		  app_text(preview, "path"), app_text(preview, "text"));
	cJSON_Delete(preview);
	if (s->set_key) {
		setup_say("The key goes into the engine's vault as the secret "
			  "%s%s.\n",
			  s->secret, s->key_is_new ? "" : ", a new version");
		code = setup_vault_show(s->app, &s->vault);
		if (code != 0)
			return code;
	}
	if (!setup_agrees("Write this?", false, &yes) || !yes)
		return SETUP_LEFT;
	return 0;
}

static int write_provider(struct setup *s)
{
	cJSON *result = NULL;
	int code = 0;

	if (s->set_key) {
		code = setup_vault_write(s->app, &s->vault);
		if (code != 0)
			return code;
		setup_wrote("secret %s in the vault", s->secret);
		code = secret_talk_set(s->app, s->secret, &s->key, &result);
		cJSON_Delete(result);
		result = NULL;
		if (code != 0) {
			setup_unwrote();
			return code;
		}
	}
	setup_wrote("provider %s in kenaz.toml", s->name);
	code = app_call(s->app, "provider.add", entry_of(s, false), &result);
	if (code == 0)
		setup_say("Written to %s.\n", app_text(result, "written_to"));
	cJSON_Delete(result);
	return code;
}

static int remove_by_name(struct setup *s, const char *method, const char *name)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", name);
	code = app_call(s->app, method, params, &result);
	cJSON_Delete(result);
	return code;
}

static int undo(struct setup *s)
{
	int code = remove_by_name(s, "provider.remove", s->name);

	if (code == 0 && s->set_key && s->key_is_new)
		code = remove_by_name(s, "secret.remove", s->secret);
	if (code != 0)
		return code;
	setup_unwrote();
	if (s->set_key && !s->key_is_new)
		setup_say("Taken back; secret %s keeps its new version.\n",
			  s->secret);
	else
		setup_say("Taken back: nothing of it is left%s.\n",
			  s->set_key && s->vault.make ? " but the vault" : "");
	return 0;
}

/* --- the test ----------------------------------------------------------------
 */

enum next { NEXT_GO_ON, NEXT_EDIT, NEXT_LEAVE };

static int ask_after_failure(struct setup *s, enum next *ret_next)
{
	char line[16];
	int code;

	*ret_next = NEXT_LEAVE;
	do {
		if (!setup_line("Keep it as it is, edit it, or undo it (k/e/u)",
				"e", line, sizeof(line)))
			return SETUP_LEFT;
	} while (!strchr("keu", line[0]));
	if (line[0] == 'k') {
		setup_say("Kept. 'kenaz provider test %s' tries again.\n",
			  s->name);
		return 0;
	}
	code = undo(s);
	if (code == 0 && line[0] == 'e')
		*ret_next = NEXT_EDIT;
	return code;
}

static int try_provider(struct setup *s, struct provider_probe *probe,
			enum next *ret_next)
{
	int code;

	setup_say("\nAsking %s ...\n", s->name);
	code = provider_probe(s->app, s->name, NULL, probe);
	*ret_next = NEXT_GO_ON;
	if (code == 0 && probe->ok) {
		setup_say("It answered: HTTP %u in %.0f ms.\n",
			  probe->http_status, probe->latency_ms);
		if (probe->no_models[0])
			setup_say("But %s.\n", probe->no_models);
		return 0;
	}
	if (code == 0 && probe->url[0])
		setup_say("Asked %s\n", probe->url);
	if (code == 0 && probe->said[0])
		setup_say("Its own words: %s\n", probe->said);
	if (code == 0)
		setup_say("The test failed: %s.\n", probe->text);
	return ask_after_failure(s, ret_next);
}

/* --- an alias
 * ----------------------------------------------------------------- */

/* "" when the user wants none. */
static bool pick_model(const struct provider_probe *probe, char *ret_model,
		       size_t cap_bytes)
{
	size_t shown = probe->models.count < SETUP_SHOWN_MAX
			       ? probe->models.count
			       : SETUP_SHOWN_MAX;
	uint64_t number;
	char line[MODEL_MAX_BYTES + 1];
	size_t i;

	setup_say("\nAn alias gives a model a name of your own. %s\n",
		  shown ? "Models found:" : "No list of models is known.");
	for (i = 0; i < shown; i++)
		setup_say("  %zu) %s\n", i + 1, probe->models.names[i]);
	if (probe->models.count > shown)
		setup_say("  and %zu more: 'kenaz provider test' lists them\n",
			  probe->models.count - shown);
	if (!setup_line("A number, a model's name, or nothing for no alias",
			NULL, line, sizeof(line)))
		return false;
	if (shown &&
	    text_parse_u64(span_text(line), 1, shown, &number) == ERR_OK)
		(void)snprintf(ret_model, cap_bytes, "%s",
			       probe->models.names[number - 1]);
	else
		(void)snprintf(ret_model, cap_bytes, "%s", line);
	return true;
}

static cJSON *alias_of(const char *name, const char *target, bool preview)
{
	cJSON *params = app_params();
	cJSON *list = cJSON_AddArrayToObject(params, "targets");

	app_add_text(params, "name", name);
	if (!cJSON_AddItemToArray(list, cJSON_CreateString(target)))
		abort();
	if (preview)
		app_add_bool(params, "preview", true);
	return params;
}

static int has_default(struct setup *s, bool *ret_has)
{
	cJSON *result = NULL;
	const cJSON *row;
	int code = app_call(s->app, "alias.list", NULL, &result);

	*ret_has = false;
	cJSON_ArrayForEach(row,
			   cJSON_GetObjectItemCaseSensitive(result, "aliases"))
	{
		if (strcmp(app_text(row, "name"), "default") == 0)
			*ret_has = true;
	}
	cJSON_Delete(result);
	return code;
}

static int say_next(struct setup *s)
{
	bool has = false;
	int code = has_default(s, &has);

	if (code == 0 && !has)
		setup_say(
			"\nThe workbench asks for the model default, which is "
			"none yet: 'kenaz alias add\ndefault %s/MODEL' names "
			"one. Other programs name their own.\n",
			s->name);
	if (code == 0)
		setup_say("\nNext: kenaz run --provider %s\n", s->name);
	return code;
}

static int make_alias(struct setup *s, const struct provider_probe *probe)
{
	char model[MODEL_MAX_BYTES + 1] = "", name[MODEL_MAX_BYTES + 1];
	char target[NAME_MAX_BYTES + MODEL_MAX_BYTES + 2];
	cJSON *result = NULL;
	bool yes = false, taken = false;
	int code;

	if (!pick_model(probe, model, sizeof(model)))
		return SETUP_LEFT;
	if (!model[0])
		return 0;
	(void)snprintf(target, sizeof(target), "%s/%s", s->name, model);
	code = has_default(s, &taken);
	if (code != 0)
		return code;
	if (!taken)
		setup_say("What names no model, as the workbench, asks for the "
			  "alias default.\n");
	/* A name that is taken, or none, is said so and asked for again. */
	do {
		if (!setup_line("Name of the alias",
				taken ? s->name : "default", name,
				sizeof(name)))
			return SETUP_LEFT;
		code = app_call(s->app, "alias.add",
				alias_of(name, target, true), &result);
	} while (code != 0 && code != EXIT_CODE_UNREACHABLE);
	if (code != 0)
		return code;
	setup_say("\nThis will be appended to %s:\n\n%s\n",
		  app_text(result, "path"), app_text(result, "text"));
	cJSON_Delete(result);
	result = NULL;
	if (!setup_agrees("Write this?", false, &yes))
		return SETUP_LEFT;
	if (!yes)
		return 0;
	setup_wrote("alias %s in kenaz.toml", name);
	code = app_call(s->app, "alias.add", alias_of(name, target, false),
			&result);
	cJSON_Delete(result);
	return code;
}

/* --- the whole
 * ------------------------------------------------------------------ */

static int show_present(struct setup *s)
{
	cJSON *result = NULL;
	const cJSON *row;
	int code = app_call(s->app, "provider.list", NULL, &result);

	if (code != 0)
		return code;
	cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(result,
								 "providers"))
	{
		if (strcmp(app_text(row, "kind"), "scripted") == 0)
			setup_say("No provider is configured: scripted "
				  "answers, and no model is called.\n");
		else
			setup_say("Configured: %s (%s) %s\n",
				  app_text(row, "name"), app_text(row, "kind"),
				  app_text(row, "endpoint"));
	}
	cJSON_Delete(result);
	setup_say("Nothing is written before it was shown and you said yes; "
		  "Ctrl-C leaves.\n");
	return 0;
}

static int dialogue(struct setup *s, struct provider_probe *probe)
{
	enum next next = NEXT_EDIT;
	int code = show_present(s);

	if (code != 0)
		return code;
	if (!ask_kind(s) || !ask_name(s))
		return SETUP_LEFT;
	while (next == NEXT_EDIT) {
		code = ask_all(s);
		if (code == 0)
			code = show_provider(s);
		if (code == EXIT_CODE_FAILED) {
			/* The engine said what is wrong with it. */
			setup_say("Once more, then; Ctrl-C leaves.\n");
			if (!ask_name(s))
				return SETUP_LEFT;
			continue;
		}
		if (code == 0)
			code = write_provider(s);
		if (code == 0)
			code = try_provider(s, probe, &next);
		if (code != 0)
			return code;
	}
	if (next == NEXT_LEAVE)
		return 0;
	code = make_alias(s, probe);
	return code == 0 ? say_next(s) : code;
}

static int cmd_setup(struct app *app, struct args *args)
{
	struct setup s = {.app = app};
	struct provider_probe probe = {0};
	int code;

	(void)args;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return app_fail(app, EXIT_CODE_USAGE,
				"setup asks questions and needs a terminal; "
				"without one: 'kenaz secret set NAME <FILE', "
				"'kenaz provider add NAME --kind KIND', "
				"'kenaz provider test NAME' and 'kenaz alias "
				"add ALIAS NAME/MODEL'");
	code = app_connect(app);
	if (code == 0)
		code = secret_text_new(app, &s.key);
	if (code != 0)
		return code;
	setup_guard();
	code = dialogue(&s, &probe);
	if (code != 0)
		(void)app_fail(app, EXIT_CODE_OK, "stopped; %s%s",
			       setup_written()[0] ? "written so far: "
						  : "nothing was written",
			       setup_written());
	secret_text_free(&s.key);
	provider_probe_fini(&probe);
	return code == SETUP_LEFT ? EXIT_CODE_FAILED : code;
}

const struct command command_setup = {
	.name = "setup",
	.arguments = "",
	.summary = "Set a provider, its key and an alias up, by question",
	.text = "Everything is shown before it is written. Afterwards the "
		"provider is tested.",
	.options = cmd_no_options,
	.run = cmd_setup,
};
