/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_provider_edit.c - verbs that change the providers and aliases
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client; what it sends becomes a part of kenaz.toml
 *	    only if all of that loads.
 * Never:   sees a secret: an entry names one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/paths.h"
#include "engine/base/text.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/config_edit.h"
#include "engine/core/control.h"
#include "engine/core/route_of.h"

#define EDIT_BLOCK_MAX_BYTES (256u * 1024)
#define EDIT_NUMBER_MAX      1000000u

enum key_type { KEY_TEXT, KEY_LIST, KEY_BOOL, KEY_NUMBER };

/* Members of provider.add and keys of [[provider]], in the file's order. */
static const struct edit_key {
	const char *name;
	enum key_type type;
} provider_keys[] = {
	{"name", KEY_TEXT},
	{"kind", KEY_TEXT},
	{"endpoint", KEY_TEXT},
	{"allow_http", KEY_BOOL},
	{"stream_usage", KEY_BOOL},
	{"region", KEY_TEXT},
	{"endpoint_variant", KEY_TEXT},
	{"dialects", KEY_LIST},
	{"api_version", KEY_TEXT},
	{"auth", KEY_TEXT},
	{"secret", KEY_TEXT},
	{"ca_file", KEY_TEXT},
	{"proxy", KEY_TEXT},
	{"proxy_secret", KEY_TEXT},
	{"http", KEY_TEXT},
	{"models", KEY_LIST},
	{"fallback", KEY_LIST},
	{"connect_timeout_s", KEY_NUMBER},
	{"first_byte_timeout_s", KEY_NUMBER},
	{"idle_timeout_s", KEY_NUMBER},
	{"total_timeout_s", KEY_NUMBER},
	{"retries", KEY_NUMBER},
	{"retry_after_max_s", KEY_NUMBER},
};

static bool check_members(struct rpc *r, const cJSON *params)
{
	const char *keys[ARRAY_SIZE(provider_keys) + 2] = {"preview"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(provider_keys); i++)
		keys[i + 1] = provider_keys[i].name;
	return rpc_check_keys(r, params, keys);
}

static enum err put_list(struct buf *out, const char *key, const cJSON *list)
{
	enum err e = buf_printf(out, "%s = [", key);
	const cJSON *item;
	bool first = true;

	if (!cJSON_IsArray(list))
		return ERR_FORMAT;
	cJSON_ArrayForEach(item, list)
	{
		if (e == ERR_OK && !cJSON_IsString(item))
			e = ERR_FORMAT;
		if (e == ERR_OK && !first)
			e = buf_put_text(out, ", ");
		if (e == ERR_OK)
			e = config_edit_put_quoted(out, item->valuestring);
		first = false;
	}
	return e == ERR_OK ? buf_put_text(out, "]\n") : e;
}

static enum err put_member(struct buf *out, const struct edit_key *key,
			   const cJSON *v)
{
	if (key->type == KEY_LIST)
		return put_list(out, key->name, v);
	if (key->type == KEY_TEXT)
		return cJSON_IsString(v) ? config_edit_put_text(out, key->name,
								v->valuestring)
					 : ERR_FORMAT;
	if (key->type == KEY_BOOL)
		return !cJSON_IsBool(v) ? ERR_FORMAT
		       : cJSON_IsTrue(v)
			       ? buf_printf(out, "%s = true\n", key->name)
			       : ERR_OK;
	if (!cJSON_IsNumber(v) || v->valuedouble < 0 ||
	    v->valuedouble > EDIT_NUMBER_MAX ||
	    v->valuedouble != (double)(uint32_t)v->valuedouble)
		return ERR_FORMAT;
	return buf_printf(out, "%s = %u\n", key->name,
			  (uint32_t)v->valuedouble);
}

/* The secret of a kind that needs one has the provider's name. */
static bool lacks_secret(const cJSON *params, const char *kind)
{
	const char *auth = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(params, "auth"));
	size_t i;

	if (cJSON_GetObjectItemCaseSensitive(params, "secret") ||
	    (auth && strcmp(auth, "none") == 0))
		return false;
	for (i = 0; i < config_kind_count(); i++)
		if (strcmp(config_kind_at(i)->name, kind) == 0)
			return config_kind_at(i)->needs_secret;
	return false;
}

static bool put_provider(struct rpc *r, const cJSON *params, const char *name,
			 const char *kind, struct buf *out)
{
	enum err e = buf_put_text(out, "[[provider]]\n");
	char text[128];
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(provider_keys); i++) {
		const struct edit_key *key = &provider_keys[i];
		const cJSON *v =
			cJSON_GetObjectItemCaseSensitive(params, key->name);

		if (v)
			e = put_member(out, key, v);
		else if (strcmp(key->name, "secret") == 0 &&
			 lacks_secret(params, kind))
			e = config_edit_put_text(out, key->name, name);
		if (e == ERR_OK)
			continue;
		(void)snprintf(text, sizeof(text),
			       "parameter %s: cannot be written into "
			       "kenaz.toml: %s",
			       key->name, err_text(e));
		rpc_bad_params(r, text);
		return false;
	}
	return e == ERR_OK;
}

/* --- what both sorts of entry share -------------------------------------- */

struct edit {
	enum config_entry what;
	const char *noun, *attribute; /* for sentences; of the event */
	const char *name;
};

static void note_edit(struct rpc *r, const struct edit *edit,
		      const char *change)
{
	struct engine *e = r->engine;
	struct buf b;

	buf_init(&b, 4096);
	if (attrs_put_text(&b, "kenaz.config.digest",
			   span_text(e->config->digest)) == ERR_OK &&
	    attrs_put_text(&b, edit->attribute, span_text(edit->name)) ==
		    ERR_OK &&
	    attrs_put_text(&b, "kenaz.config.change", span_text(change)) ==
		    ERR_OK)
		audit_note(e, "config.loaded", NULL, r->conn->actor,
			   buf_span(&b));
	buf_fini(&b);
}

static void answer(struct rpc *r, const struct edit *edit, struct span block,
		   bool preview)
{
	struct jsonw w;
	struct buf b;

	buf_init(&b, CONTROL_LINE_MAX_BYTES);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "name", edit->name);
	jsonw_put_cstr(&w, preview ? "path" : "written_to",
		       r->engine->config_path);
	if (block.len_bytes)
		jsonw_put_text(&w, "text", block);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static bool add_entry(struct rpc *r, const struct edit *edit, struct span block,
		      bool preview)
{
	struct engine *e = r->engine;
	struct conf_error error;
	enum err err = ERR_OK;

	conf_error_init(&error);
	/* Nobody may have configured anything yet. */
	if (!preview)
		err = paths_make_private(e->paths.config.path, &error);
	if (err == ERR_OK)
		err = config_edit_add(e->config_path, edit->what, edit->name,
				      block, !preview, &error);
	if (err == ERR_OK && !preview)
		err = rpc_reload_config(e, &error);
	if (err == ERR_OK)
		return true;
	rpc_fail(r, err, "%s %s is not added: %s", edit->noun, edit->name,
		 error.text);
	return false;
}

static bool remove_entry(struct rpc *r, const struct edit *edit)
{
	struct engine *e = r->engine;
	struct conf_error error;
	enum err err;

	conf_error_init(&error);
	err = config_edit_remove(e->config_path, edit->what, edit->name,
				 &error);
	if (err == ERR_OK)
		err = rpc_reload_config(e, &error);
	if (err == ERR_OK)
		return true;
	rpc_fail(r, err, "%s %s is not removed: %s", edit->noun, edit->name,
		 error.text);
	return false;
}

/* --- provider.add, provider.remove -----------------------------------------
 */

/* Before an entry is written that could not be used. */
static bool ca_is_readable(struct rpc *r, const cJSON *params, const char *name)
{
	const char *path;
	int fd;

	if (!rpc_get_text(r, params, "ca_file", false, &path))
		return false;
	if (!path)
		return true;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s is not added: its ca_file %.200s cannot "
			 "be read by the engine: %s",
			 name, path, strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

static void provider_add(struct rpc *r, const cJSON *params)
{
	struct edit edit = {CONFIG_ENTRY_PROVIDER, "provider", "kenaz.provider",
			    NULL};
	struct engine *e = r->engine;
	const struct config_provider *added;
	const char *kind;
	bool preview;
	struct buf block;
	enum err err;

	if (!check_members(r, params) ||
	    !rpc_get_text(r, params, "name", true, &edit.name) ||
	    !rpc_get_text(r, params, "kind", true, &kind) ||
	    !rpc_get_bool(r, params, "preview", false, &preview) ||
	    !ca_is_readable(r, params, edit.name))
		return;
	buf_init(&block, EDIT_BLOCK_MAX_BYTES);
	if (!put_provider(r, params, edit.name, kind, &block) ||
	    !add_entry(r, &edit, buf_span(&block), preview))
		goto out;
	if (preview) {
		answer(r, &edit, buf_span(&block), true);
		goto out;
	}
	note_edit(r, &edit, "add");
	added = config_find_provider(e->config, edit.name);
	err = added ? broker_client_set_provider(e, added) : ERR_INTERNAL;
	if (err != ERR_OK)
		rpc_fail(r, err,
			 "provider %s was written to %s, and cannot be used "
			 "yet: %s",
			 edit.name, e->config_path, err_text(err));
	else
		answer(r, &edit, buf_span(&block), false);
out:
	buf_fini(&block);
}

static bool names_provider(const struct config_alias *a, const char *name)
{
	size_t i;

	for (i = 0; i < a->target_count; i++)
		if (strcmp(a->targets[i].provider, name) == 0)
			return true;
	return false;
}

static bool falls_back_to(const struct config_provider *p, const char *name)
{
	size_t i;

	for (i = 0; i < p->fallback_count; i++)
		if (strcmp(p->fallback[i], name) == 0)
			return true;
	return false;
}

/* Says who still names the provider; false when nobody does. */
static bool is_named(const struct config *c, const char *name, char *ret_text,
		     size_t cap_bytes)
{
	const char *own = c->engine.default_provider;
	size_t i;

	ret_text[0] = '\0';
	if (own && strcmp(own, name) == 0)
		(void)snprintf(ret_text, cap_bytes,
			       "engine.default_provider names it; change that "
			       "in %s first",
			       c->file);
	for (i = 0; !ret_text[0] && i < c->alias_count; i++)
		if (names_provider(&c->aliases[i], name))
			(void)snprintf(ret_text, cap_bytes,
				       "alias %s names it; `kenaz alias "
				       "remove` first",
				       c->aliases[i].name);
	for (i = 0; !ret_text[0] && i < c->provider_count; i++)
		if (falls_back_to(&c->providers[i], name))
			(void)snprintf(ret_text, cap_bytes,
				       "it is a fallback of provider %s; "
				       "change that in %s first",
				       c->providers[i].name, c->file);
	for (i = 0; !ret_text[0] && i < c->model_count; i++)
		if (c->models[i].provider &&
		    strcmp(c->models[i].provider, name) == 0)
			(void)snprintf(ret_text, cap_bytes,
				       "the [[model]] in line %u of %s names "
				       "it; take that out first",
				       c->models[i].line, c->file);
	return ret_text[0] != '\0';
}

static void provider_remove(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	struct edit edit = {CONFIG_ENTRY_PROVIDER, "provider", "kenaz.provider",
			    NULL};
	const struct config_provider *p;
	char text[REASON_MAX_BYTES];

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &edit.name))
		return;
	p = config_find_provider(r->engine->config, edit.name);
	if (!p) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "provider %s is not configured; see `kenaz provider "
			 "list`",
			 edit.name);
		return;
	}
	if (is_named(r->engine->config, edit.name, text, sizeof(text))) {
		rpc_fail(r, ERR_STATE, "provider %s is not removed: %s",
			 edit.name, text);
		return;
	}
	if (!remove_entry(r, &edit))
		return;
	note_edit(r, &edit, "remove");
	/* Without a broker there is nothing to forget. */
	if (broker_client_unset_provider(r->engine, edit.name) != ERR_OK)
		log_warn("the broker was not told that a provider is gone");
	answer(r, &edit, (struct span){0}, false);
}

/* --- alias.list, alias.add, alias.remove ------------------------------------
 */

static void alias_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	const struct config *c = r->engine->config;
	struct jsonw w;
	struct buf b;
	size_t i, k;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 4);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "aliases");
	jsonw_begin_array(&w);
	for (i = 0; i < c->alias_count; i++) {
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "name", c->aliases[i].name);
		jsonw_key(&w, "targets");
		jsonw_begin_array(&w);
		for (k = 0; k < c->aliases[i].target_count; k++) {
			const struct config_target *t =
				&c->aliases[i].targets[k];
			char text[NAME_MAX_BYTES + MODEL_MAX_BYTES + 2];

			(void)snprintf(text, sizeof(text), "%s/%s", t->provider,
				       t->model);
			jsonw_cstr(&w, text);
		}
		jsonw_end_array(&w);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

/* PROVIDER/MODEL; a model's name may hold more slashes. */
static enum err put_target(struct buf *out, const char *text)
{
	const char *slash = strchr(text, '/');
	char provider[NAME_MAX_BYTES + 1];
	enum err e;

	if (!slash || slash == text || !slash[1])
		return ERR_FORMAT;
	e = span_copy_text(span_of(text, (size_t)(slash - text)), provider,
			   sizeof(provider));
	if (e == ERR_OK)
		e = buf_put_text(out, "  {provider = ");
	if (e == ERR_OK)
		e = config_edit_put_quoted(out, provider);
	if (e == ERR_OK)
		e = buf_put_text(out, ", model = ");
	if (e == ERR_OK)
		e = config_edit_put_quoted(out, slash + 1);
	return e == ERR_OK ? buf_put_text(out, "},\n") : e;
}

static enum err put_alias(struct buf *out, const char *name,
			  const cJSON *targets)
{
	enum err e = buf_put_text(out, "[[alias]]\n");
	const cJSON *item;

	if (e == ERR_OK)
		e = config_edit_put_text(out, "name", name);
	if (e == ERR_OK)
		e = buf_put_text(out, "targets = [\n");
	cJSON_ArrayForEach(item, targets)
	{
		if (e == ERR_OK)
			e = cJSON_IsString(item)
				    ? put_target(out, item->valuestring)
				    : ERR_FORMAT;
	}
	return e == ERR_OK ? buf_put_text(out, "]\n") : e;
}

static void alias_add(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", "targets", "preview", NULL};
	struct edit edit = {CONFIG_ENTRY_ALIAS, "alias", "kenaz.alias", NULL};
	const cJSON *targets =
		cJSON_GetObjectItemCaseSensitive(params, "targets");
	struct buf block;
	bool preview;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &edit.name) ||
	    !rpc_get_bool(r, params, "preview", false, &preview))
		return;
	buf_init(&block, EDIT_BLOCK_MAX_BYTES);
	if (!cJSON_IsArray(targets) ||
	    put_alias(&block, edit.name, targets) != ERR_OK) {
		rpc_bad_params(r, "an alias needs a name and targets, each "
				  "PROVIDER/MODEL, without control characters");
	} else if (add_entry(r, &edit, buf_span(&block), preview)) {
		if (!preview)
			note_edit(r, &edit, "add");
		answer(r, &edit, buf_span(&block), preview);
	}
	buf_fini(&block);
}

static void alias_remove(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	struct edit edit = {CONFIG_ENTRY_ALIAS, "alias", "kenaz.alias", NULL};

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &edit.name))
		return;
	if (!config_find_alias(r->engine->config, edit.name)) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "alias %s is not configured; see `kenaz alias list`",
			 edit.name);
		return;
	}
	if (!remove_entry(r, &edit))
		return;
	note_edit(r, &edit, "remove");
	answer(r, &edit, (struct span){0}, false);
}

const struct rpc_method rpc_provider_edit_methods[] = {
	{"provider.add", provider_add}, {"provider.remove", provider_remove},
	{"alias.list", alias_list},     {"alias.add", alias_add},
	{"alias.remove", alias_remove}, {NULL, NULL},
};
