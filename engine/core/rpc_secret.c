/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_secret.c - verbs about secrets and their vault
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   sees a secret or a passphrase: the client's socket goes to the
 *	    broker.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/control.h"
#include "engine/core/vault_client.h"

/* What the client types, until the broker says what became of it. */
struct handed {
	struct engine *engine;
	const char *kind; /* of the event, or NULL */
	char name[NAME_MAX_BYTES + 1], actor[ACTOR_MAX_BYTES];
	char backend_before[33];
};

/* --- events --------------------------------------------------------------- */

/*
 * phase: "intent" is durable before the vault changes, "done" or "failed"
 * follows. The subject is a secret's name, or the backend before a rewrap.
 */
struct note {
	const char *kind, *subject, *actor, *phase;
	uint32_t number;    /* version or key id; 0 is none */
	const char *reason; /* or NULL */
};

static bool is_rotation(const char *kind)
{
	return strcmp(kind, "vault.rotated") == 0;
}

static enum err put_subject(struct engine *e, const struct note *n,
			    struct buf *b)
{
	struct vault_config vault;
	enum err err;

	if (!is_rotation(n->kind)) {
		err = attrs_put_text(b, "kenaz.secret", span_text(n->subject));
		if (err == ERR_OK && n->number)
			err = attrs_put_u64(b, "kenaz.secret.version",
					    n->number);
		return err;
	}
	vault_client_config(e, &vault);
	err = attrs_put_text(b, "kenaz.vault.backend_before",
			     span_text(n->subject));
	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.vault.backend", vault.backend);
	if (err == ERR_OK && n->number)
		err = attrs_put_u64(b, "kenaz.vault.key_id", n->number);
	return err;
}

static enum err write_note(struct engine *e, const struct note *n,
			   audit_done_fn done, void *context)
{
	struct audit_event event = {.kind = n->kind,
				    .actor = n->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	buf_init(&b, 4096);
	err = put_subject(e, n, &b);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.phase", span_text(n->phase));
	if (err == ERR_OK && n->reason)
		err = attrs_put_text(&b, "kenaz.reason", span_text(n->reason));
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(e, &event, done, context);
	buf_fini(&b);
	return err;
}

static void write_outcome(struct engine *e, const struct note *n)
{
	if (write_note(e, n, NULL, NULL) != ERR_OK)
		log_error("that %s is %s could not be written", n->kind,
			  n->phase);
}

static void fail_log(struct rpc *r, enum err err, const char *text)
{
	rpc_fail(r, err, "nothing is taken while the log cannot be written: %s",
		 text ? text
		 : err == ERR_SEALED
			 ? audit_client_state(r->engine)->sealed_reason
			 : err_text(err));
}

/* --- what the client types ------------------------------------------------ */

static void on_handed(void *context, enum err error, const char *text,
		      uint32_t version, struct span names)
{
	struct handed *h = context;
	struct note n = {.kind = h->kind,
			 .actor = h->actor,
			 .phase = error == ERR_OK ? "done" : "failed",
			 .number = error == ERR_OK ? version : 0,
			 .reason = error == ERR_OK ? NULL : text};

	(void)names;
	if (error != ERR_OK)
		log_info("%s: %s", h->kind ? h->kind : "secret.unlock", text);
	if (h->kind) {
		n.subject = is_rotation(h->kind) ? h->backend_before : h->name;
		write_outcome(h->engine, &n);
	}
	free(h);
}

static void hand(struct conn *c, int fd, struct rpc *r, const char *kind,
		 struct secret_hand *what)
{
	struct handed *h = calloc(1, sizeof(*h));

	if (!h) {
		close(fd);
		return;
	}
	h->engine = c->engine;
	h->kind = kind;
	(void)snprintf(h->name, sizeof(h->name), "%s", r->name);
	(void)snprintf(h->actor, sizeof(h->actor), "%s", c->actor);
	(void)snprintf(h->backend_before, sizeof(h->backend_before), "%s",
		       vault_client_look(c->engine)->backend);
	what->name = h->name;
	what->rpc_id = r->id;
	if (broker_secret_hand(c->engine, what, fd, on_handed, h) != ERR_OK)
		free(h);
}

static void hand_secret(struct conn *c, int fd, struct rpc *r)
{
	struct secret_hand what = {.what = SECRET_HAND_SET};

	hand(c, fd, r, "secret.set", &what);
}

static void hand_unlock(struct conn *c, int fd, struct rpc *r)
{
	struct secret_hand what = {.what = SECRET_HAND_UNLOCK};

	hand(c, fd, r, NULL, &what);
}

static void hand_rewrap(struct conn *c, int fd, struct rpc *r)
{
	struct secret_hand what = {.what = SECRET_HAND_REWRAP};

	hand(c, fd, r, "vault.rotated", &what);
}

static void hand_over(struct rpc *r, struct span answer,
		      void (*fn)(struct conn *c, int fd, struct rpc *r))
{
	enum err err = rpc_hand_over(r, answer, fn);

	if (err != ERR_OK)
		rpc_fail(r, err,
			 "a connection that carries a secret can have no "
			 "other request");
}

static bool get_secret_name(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"name", NULL};
	const char *name;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "name", true, &name))
		return false;
	if (!text_is_name(span_text(name), NAME_MAX_BYTES)) {
		rpc_bad_params(r, "parameter name: must be 1 to 64 small "
				  "letters, digits, '.', '_' and '-'");
		return false;
	}
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	return true;
}

static void on_set_intent(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;

	if (o->error != ERR_OK)
		fail_log(r, o->error, o->text);
	else
		hand_over(r, span_text("{\"ready\":true}"), hand_secret);
}

static void secret_set(struct rpc *r, const cJSON *params)
{
	struct note n = {.kind = "secret.set",
			 .subject = r->name,
			 .actor = r->conn->actor,
			 .phase = "intent"};
	enum err err;

	if (!get_secret_name(r, params))
		return;
	err = write_note(r->engine, &n, on_set_intent, r);
	if (err != ERR_OK)
		fail_log(r, err, NULL);
}

/* --- the vault ------------------------------------------------------------ */

static void put_look(struct jsonw *w, const struct engine *e)
{
	const struct vault_look *l = vault_client_look(e);

	jsonw_put_cstr(w, "state", vault_state_name(l->state));
	jsonw_put_cstr(w, "backend", l->backend);
	jsonw_put_cstr(w, "configured", l->configured);
}

static void secret_status(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	const struct vault_look *l = vault_client_look(r->engine);
	struct jsonw w;
	struct buf b;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, 8192);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	put_look(&w, r->engine);
	jsonw_put_u64(&w, "key_id", l->key_id);
	jsonw_put_u64(&w, "generation", l->generation);
	jsonw_put_u64(&w, "secrets", l->secrets);
	vault_client_put_expiry(r->engine, &w);
	jsonw_put_cstr(&w, "text", l->text);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

/* The client asks its user for as much as this says is needed. */
static void ready_with_look(struct rpc *r,
			    void (*fn)(struct conn *c, int fd, struct rpc *r))
{
	struct vault_config vault;
	struct jsonw w;
	struct buf b;

	vault_client_config(r->engine, &vault);
	buf_init(&b, 1024);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_bool(&w, "ready", true);
	put_look(&w, r->engine);
	jsonw_key(&w, "next");
	jsonw_text(&w, vault.backend);
	jsonw_end_object(&w);
	if (jsonw_finish(&w) == ERR_OK)
		hand_over(r, buf_span(&b), fn);
	else
		rpc_fail(r, ERR_INTERNAL, "the answer could not be written");
	buf_fini(&b);
}

static void secret_unlock(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};

	if (rpc_check_keys(r, params, keys))
		ready_with_look(r, hand_unlock);
}

static void on_rewrap_intent(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;

	if (o->error != ERR_OK)
		fail_log(r, o->error, o->text);
	else
		ready_with_look(r, hand_rewrap);
}

static void note_config(struct rpc *r)
{
	struct buf b;

	buf_init(&b, 4096);
	if (attrs_put_text(&b, "kenaz.config.digest",
			   span_text(r->engine->config->digest)) == ERR_OK)
		audit_note(r->engine, "config.loaded", NULL, r->conn->actor,
			   buf_span(&b));
	buf_fini(&b);
}

static void secret_rewrap(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	struct note n = {.kind = "vault.rotated",
			 .subject = vault_client_look(e)->backend,
			 .actor = r->conn->actor,
			 .phase = "intent"};
	char digest[DIGEST_HEX_BYTES];
	struct conf_error error;
	enum err err;

	if (!rpc_check_keys(r, params, keys))
		return;
	(void)snprintf(digest, sizeof(digest), "%s", e->config->digest);
	conf_error_init(&error);
	if (rpc_reload_config(e, &error) != ERR_OK) {
		rpc_fail(r, ERR_CONFIG,
			 "the vault stays as it is, because kenaz.toml cannot "
			 "be used: %s",
			 error.text);
		return;
	}
	if (strcmp(digest, e->config->digest) != 0)
		note_config(r);
	err = write_note(e, &n, on_rewrap_intent, r);
	if (err != ERR_OK)
		fail_log(r, err, NULL);
}

/* --- removed, listed ------------------------------------------------------ */

static void on_removed(void *context, enum err error, const char *text,
		       uint32_t version, struct span names)
{
	struct rpc *r = context;
	struct note n = {.kind = "secret.removed",
			 .subject = r->name,
			 .actor = r->conn ? r->conn->actor : NULL,
			 .phase = error == ERR_OK ? "done" : "failed",
			 .reason = error == ERR_OK ? NULL : text};
	char json[160];

	(void)names;
	(void)version;
	write_outcome(r->engine, &n);
	if (error != ERR_OK) {
		rpc_fail(r, error, "%s", text);
		return;
	}
	(void)snprintf(json, sizeof(json), "{\"name\":\"%s\"}", r->name);
	rpc_reply(r, span_text(json));
}

static void on_remove_intent(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	enum err err = o->error;

	if (err != ERR_OK) {
		rpc_fail(r, err, "%s", o->text);
		return;
	}
	err = broker_secret_remove(r->engine, r->name, on_removed, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the broker cannot be asked: %s",
			 err_text(err));
}

static void secret_remove(struct rpc *r, const cJSON *params)
{
	struct note n = {.kind = "secret.removed",
			 .subject = r->name,
			 .actor = r->conn->actor,
			 .phase = "intent"};
	enum err err;

	if (!get_secret_name(r, params))
		return;
	err = write_note(r->engine, &n, on_remove_intent, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the log cannot be written: %s",
			 err_text(err));
}

static void on_names(void *context, enum err error, const char *text,
		     uint32_t version, struct span names)
{
	struct rpc *r = context;
	struct reader list;
	struct jsonw w;
	struct buf b;

	(void)version;
	if (error != ERR_OK) {
		rpc_fail(r, error, "%s", text);
		return;
	}
	buf_init(&b, 65536);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "secrets");
	jsonw_begin_array(&w);
	reader_init(&list, names);
	while (reader_left(&list)) {
		struct span one = reader_get_lp(&list, NAME_MAX_BYTES);

		if (list.status == ERR_OK)
			jsonw_text(&w, one);
	}
	jsonw_end_array(&w);
	jsonw_put_cstr(&w, "backend", vault_client_look(r->engine)->backend);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static void secret_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	enum err err;

	if (!rpc_check_keys(r, params, keys))
		return;
	err = broker_secret_list(r->engine, on_names, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the broker cannot be asked: %s",
			 err_text(err));
}

const struct rpc_method rpc_secret_methods[] = {
	{"secret.set", secret_set},
	{"secret.remove", secret_remove},
	{"secret.list", secret_list},
	{"secret.status", secret_status},
	{"secret.unlock", secret_unlock},
	{"secret.rewrap", secret_rewrap},
	{NULL, NULL},
};
