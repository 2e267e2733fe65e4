/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_vault.c - which place the vault's wrapping key can come from
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   sees a key; changes what a vault that is there is wrapped by:
 *	    `secret.rewrap` in rpc_secret.c does.
 */
#include <stdio.h>
#include <string.h>

#include "engine/base/paths.h"
#include "engine/core/audit_client.h"
#include "engine/core/config_edit.h"
#include "engine/core/control.h"
#include "engine/core/vault_client.h"

#define BLOCK_MAX_BYTES 256u

/* What was found on this machine, in words. */
struct choice {
	const char *backend;
	bool usable;
	const char *text;
};

static void find_choices(const struct engine *e, struct choice ret[4])
{
	bool bus = vault_client_has_bus(e);
	bool credential = vault_client_has_credential(e);

	ret[0] = (struct choice){
		"passphrase", true,
		"typed once after each start of the engine; it cannot be "
		"recovered"};
	ret[1] = (struct choice){
		"secret-service", bus,
		bus ? "in the desktop's keyring, which opens it while you are "
		      "logged in"
		    : "no desktop session's bus is known to the engine"};
	ret[2] = (struct choice){
		"systemd-creds", credential,
		credential ? "from the credential that systemd gave the engine"
			   : "the engine's unit has no such credential "
			     "(LoadCredentialEncrypted=)"};
	ret[3] = (struct choice){
		"keyfile", true,
		"in a file beside the vault: opens by itself, protects only a "
		"vault that is copied without it"};
}

static void vault_choices(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	const struct vault_look *look = vault_client_look(r->engine);
	const struct config *config = r->engine->config;
	struct choice choices[4];
	struct jsonw w;
	struct buf b;
	size_t i;

	if (!rpc_check_keys(r, params, keys))
		return;
	find_choices(r->engine, choices);
	buf_init(&b, 8192);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "state", vault_state_name(look->state));
	jsonw_put_cstr(&w, "configured",
		       config_vault_backend(config, r->engine->paths.system));
	jsonw_put_bool(&w, "set",
		       config->vault.backend != CONFIG_VAULT_DEFAULT);
	jsonw_key(&w, "choices");
	jsonw_begin_array(&w);
	for (i = 0; i < ARRAY_SIZE(choices); i++) {
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "backend", choices[i].backend);
		jsonw_put_bool(&w, "usable", choices[i].usable);
		jsonw_put_cstr(&w, "text", choices[i].text);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static bool is_backend(const char *name)
{
	static const char *const names[] = {"passphrase", "secret-service",
					    "systemd-creds", "keyfile"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void note_configured(struct rpc *r)
{
	struct buf b;

	buf_init(&b, 4096);
	if (attrs_put_text(&b, "kenaz.config.digest",
			   span_text(r->engine->config->digest)) == ERR_OK &&
	    attrs_put_text(&b, "kenaz.config.change", span_text("vault")) ==
		    ERR_OK)
		audit_note(r->engine, "config.loaded", NULL, r->conn->actor,
			   buf_span(&b));
	buf_fini(&b);
}

static void answer(struct rpc *r, struct span block, bool preview)
{
	struct jsonw w;
	struct buf b;

	buf_init(&b, 16384);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, preview ? "path" : "written_to",
		       r->engine->config_path);
	jsonw_put_text(&w, "text", block);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static void configure(struct rpc *r, const char *backend, struct span block,
		      bool preview)
{
	struct engine *e = r->engine;
	struct conf_error error;
	enum err err = ERR_OK;

	conf_error_init(&error);
	if (!preview)
		err = paths_make_private(e->paths.config.path, &error);
	if (err == ERR_OK)
		err = config_edit_set_backend(e->config_path, backend, !preview,
					      &error);
	if (err == ERR_OK && !preview)
		err = rpc_reload_config(e, &error);
	if (err != ERR_OK) {
		rpc_fail(r, err, "[vault] is not written: %s", error.text);
		return;
	}
	if (!preview)
		note_configured(r);
	answer(r, block, preview);
}

static void vault_configure(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"backend", "preview", NULL};
	const char *backend;
	struct buf block;
	bool preview;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "backend", true, &backend) ||
	    !rpc_get_bool(r, params, "preview", false, &preview))
		return;
	if (!is_backend(backend)) {
		rpc_fail(r, ERR_RANGE,
			 "backend is passphrase, secret-service, systemd-creds "
			 "or keyfile");
		return;
	}
	if (vault_client_look(r->engine)->state != VAULT_STATE_NONE) {
		rpc_fail(r, ERR_STATE,
			 "there is a vault already: change vault.backend in "
			 "%s, then `kenaz secret rewrap`",
			 r->engine->config_path);
		return;
	}
	buf_init(&block, BLOCK_MAX_BYTES);
	err = buf_put_text(&block, "[vault]\n");
	if (err == ERR_OK)
		err = config_edit_put_text(&block, "backend", backend);
	if (err == ERR_OK)
		configure(r, backend, buf_span(&block), preview);
	else
		rpc_fail(r, err, "[vault] could not be made");
	buf_fini(&block);
}

const struct rpc_method rpc_vault_methods[] = {
	{"vault.choices", vault_choices},
	{"vault.configure", vault_configure},
	{NULL, NULL},
};
