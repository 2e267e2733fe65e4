/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_client.c - core's side of kenaz-broker
 *
 * Runs in: kenazd.
 * Trusts:  the broker for what left the host and what came back.
 * Never:   sees a key or a body's plaintext beyond passing its descriptor on.
 */
#include "engine/core/broker_client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/core/audit_client.h"
#include "engine/core/restarts.h"
#include "engine/core/route_of.h"
#include "engine/core/vault_client.h"

#define CA_FILE_MAX_BYTES   (1024 * 1024)
#define SECRET_REQUESTS_MAX 64u

struct grant_pending {
	TAILQ_ENTRY(grant_pending) next;
	uint64_t grant;
	transfer_done_fn done;
	void *context;
};

struct secret_pending {
	TAILQ_ENTRY(secret_pending) next;
	uint64_t request;
	secret_done_fn done;
	void *context;
};

struct broker_client {
	struct child *child;
	bool ready;
	int release_fd; /* for the next start; -1 is none */
	uint64_t next_grant;
	TAILQ_HEAD(, grant_pending) grants;
	size_t n_grants;
	TAILQ_HEAD(secret_list, secret_pending) secrets;
	size_t n_secrets;
	struct restarts restarts;
};

static void finish_grant(struct broker_client *b, struct grant_pending *p,
			 struct transfer_outcome *o)
{
	TAILQ_REMOVE(&b->grants, p, next);
	b->n_grants--;
	if (p->done)
		p->done(p->context, o);
	free(p);
}

static enum err take_done(struct engine *e, struct chan_message *cm)
{
	struct broker_client *b = e->broker;
	struct msg_transfer_done m;
	struct transfer_outcome o = {.body_fd = -1};
	struct grant_pending *p;
	char text[REASON_MAX_BYTES];
	enum err err = msg_transfer_done_get(cm->payload, &m);

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.text, text, sizeof(text));
	o.error = err_from_wire(m.error);
	o.text = text;
	o.done = &m;
	if (cm->n_fds) {
		o.body_fd = cm->fds[0];
		cm->fds[0] = -1;
	}
	TAILQ_FOREACH(p, &b->grants, next)
	if (p->grant == m.grant)
		break;
	if (p)
		finish_grant(b, p, &o);
	if (o.body_fd >= 0)
		close(o.body_fd);
	return ERR_OK;
}

static enum err take_secret(struct engine *e, struct chan_message *cm)
{
	struct broker_client *b = e->broker;
	struct msg_secret_result m;
	struct secret_pending *p;
	char text[REASON_MAX_BYTES];
	enum err err = msg_secret_result_get(cm->payload, &m);

	if (err != ERR_OK)
		return err;
	(void)text_escape_line(m.text, text, sizeof(text));
	TAILQ_FOREACH(p, &b->secrets, next)
	if (p->request == m.request)
		break;
	if (!p)
		return ERR_OK;
	TAILQ_REMOVE(&b->secrets, p, next);
	b->n_secrets--;
	if (p->done)
		p->done(p->context, err_from_wire(m.error), text, m.version,
			m.names);
	free(p);
	return ERR_OK;
}

static enum err on_message(struct child *c, void *context,
			   struct chan_message *m)
{
	struct engine *e = context;

	if (m->type == MSG_BROKER_READY) {
		e->broker->ready = true;
		engine_ready(e);
		return ERR_OK;
	}
	if (m->type == MSG_TRANSFER_DONE)
		return take_done(e, m);
	if (m->type == MSG_SECRET_RESULT)
		return take_secret(e, m);
	if (m->type == MSG_VAULT_VIEW || m->type == MSG_KEYCHAIN_WANTED)
		return vault_client_on_message(e, c, m);
	return ERR_STATE;
}

static void fail_all(struct broker_client *b)
{
	struct grant_pending *g;
	struct secret_pending *s;

	while ((g = TAILQ_FIRST(&b->grants))) {
		struct transfer_outcome o = {.error = ERR_UPSTREAM,
					     .text = "broker lost",
					     .body_fd = -1};

		finish_grant(b, g, &o);
	}
	while ((s = TAILQ_FIRST(&b->secrets))) {
		TAILQ_REMOVE(&b->secrets, s, next);
		b->n_secrets--;
		if (s->done)
			s->done(s->context, ERR_CLOSED, "broker lost", 0,
				(struct span){0});
		free(s);
	}
}

/** broker_client_unset_provider() - A provider is gone; ERR_CLOSED as above */
enum err broker_client_unset_provider(struct engine *e, const char *name)
{
	struct msg_provider_unset m = {.name = span_text(name)};

	if (!e->broker->child)
		return ERR_CLOSED;
	return chan_send_provider_unset(e->broker->child->chan, &m, NULL, 0);
}

static enum err start_child(struct engine *e);

static void on_gone(struct child *c, void *context, const char *why)
{
	struct engine *e = context;
	struct broker_client *b = e->broker;
	bool was_ready = b->ready;
	int release[2];
	enum err err;

	child_end(c);
	b->child = NULL;
	b->ready = false;
	vault_client_lost(e);
	fail_all(b);
	if (e->stopping)
		return;
	log_error("the broker was lost: %s", why);
	if (!was_ready || !restarts_allow(&b->restarts, engine_now_ns())) {
		e->exit_code = 1;
		engine_stop(e, why);
		return;
	}
	/* The release channel died with it: both ends get a new one. */
	err = chan_pair(release);
	if (err == ERR_OK) {
		b->release_fd = release[1];
		err = audit_client_set_release(e, release[0]);
		if (err == ERR_OK)
			err = start_child(e);
	}
	if (err != ERR_OK) {
		e->exit_code = 1;
		engine_stop(e, "the broker could not be restarted");
	}
}

static enum err send_ca(struct engine *e, const struct config_provider *p,
			int *ret_fd)
{
	struct buf b;
	int fd;
	enum err err = ERR_OK;

	*ret_fd = -1;
	if (!p->ca_file)
		return ERR_OK;
	(void)e;
	fd = open(p->ca_file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ERR_NOT_FOUND;
	buf_init(&b, CA_FILE_MAX_BYTES);
	for (;;) {
		uint8_t chunk[8192];
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n <= 0) {
			err = n < 0 ? ERR_SYS : ERR_OK;
			break;
		}
		err = buf_put(&b, chunk, (size_t)n);
		if (err != ERR_OK)
			break;
	}
	close(fd);
	if (err == ERR_OK)
		err = memfd_from_span("kenaz-ca", buf_span(&b), ret_fd);
	buf_fini(&b);
	return err;
}

/**
 * broker_client_set_provider() - Tell the broker of a configured provider
 * @e:	Engine
 * @p:	Provider, borrowed
 *
 * Return: ERR_OK; ERR_NOT_FOUND when its CA file cannot be read; ERR_CONFIG;
 *	   ERR_LIMIT; ERR_CLOSED.
 */
enum err broker_client_set_provider(struct engine *e,
				    const struct config_provider *p)
{
	struct msg_provider_set m = {
		.name = span_text(p->name),
		.kind = span_text(p->kind),
		.endpoint = span_text(p->endpoint),
		.secret = span_text(route_secret_of(p)),
		.allow_http = p->allow_http ? 1 : 0,
		.region = span_text(p->region),
		.endpoint_variant = span_text(route_variant_text(p->variant)),
		.auth = span_text(p->auth),
		.dialects = p->dialects,
		.api_version = span_text(p->api_version),
		.http_version = (uint8_t)p->http,
		.connect_timeout_ms = p->timeouts.connect_s * 1000u,
		.first_byte_timeout_ms = p->timeouts.first_byte_s * 1000u,
		.idle_timeout_ms = p->timeouts.idle_s * 1000u,
		.total_timeout_ms = p->timeouts.total_s * 1000u,
		.proxy = span_text(p->proxy),
		.proxy_secret = span_text(p->proxy_secret)};
	int fd;
	enum err err;

	err = send_ca(e, p, &fd);
	if (err == ERR_OK && !e->broker->child) {
		if (fd >= 0)
			close(fd);
		err = ERR_CLOSED;
	}
	if (err != ERR_OK)
		return err;
	return chan_send_provider_set(e->broker->child->chan, &m, &fd,
				      fd >= 0 ? 1 : 0);
}

static enum err start_child(struct engine *e)
{
	struct broker_client *b = e->broker;
	struct msg_broker_start m = {.scripted_socket =
					     span_text(e->scripted_socket)};
	struct vault_config vault;
	char path[PATHS_MAX_BYTES];
	struct conf_error error;
	int fds[3];
	size_t i, n_fds = 2;
	enum err err;

	vault_client_config(e, &vault);
	m.vault_backend = vault.backend;
	m.vault_credential = vault.credential;
	m.vault_passes = vault.passes;
	m.vault_memory_mib = vault.memory_mib;
	conf_error_init(&error);
	err = paths_join(e->paths.state.path, "vault", path, sizeof(path));
	if (err == ERR_OK)
		err = paths_make_private(path, &error);
	if (err != ERR_OK) {
		log_error("%s", error.text);
		return err;
	}
	fds[0] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fds[0] < 0)
		return ERR_SYS;
	fds[1] = b->release_fd;
	b->release_fd = -1;
	fds[2] = vault_client_open_credentials(e);
	if (fds[2] >= 0)
		n_fds++;
	err = child_start(e, ROLE_BROKER, "", NULL, 0, &b->child);
	if (err != ERR_OK) {
		for (i = 0; i < n_fds; i++)
			close(fds[i]);
		return err;
	}
	b->child->context = e;
	b->child->on_message = on_message;
	b->child->on_gone = on_gone;
	err = chan_send_broker_start(b->child->chan, &m, fds, n_fds);
	for (i = 0; err == ERR_OK && i < e->config->provider_count; i++) {
		err = broker_client_set_provider(e, &e->config->providers[i]);
		if (err != ERR_OK)
			log_error("provider %s: %s",
				  e->config->providers[i].name, err_text(err));
	}
	return err;
}

/**
 * broker_client_start() - Start kenaz-broker; audit_client_start() comes next
 * @e:	Engine
 *
 * The process itself starts when audit made the release channel.
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err broker_client_start(struct engine *e)
{
	e->broker = calloc(1, sizeof(*e->broker));
	if (!e->broker)
		return ERR_MEMORY;
	TAILQ_INIT(&e->broker->grants);
	TAILQ_INIT(&e->broker->secrets);
	e->broker->release_fd = -1;
	e->broker->next_grant = 1;
	return ERR_OK;
}

/** broker_client_free() - Forget the broker */
void broker_client_free(struct engine *e)
{
	if (!e->broker)
		return;
	child_end(e->broker->child);
	e->broker->child = NULL;
	e->broker->ready = false;
	fail_all(e->broker);
	if (e->broker->release_fd >= 0)
		close(e->broker->release_fd);
	free(e->broker);
	e->broker = NULL;
}

/** broker_client_ready() - Whether grants can be given */
bool broker_client_ready(const struct engine *e)
{
	return e->broker && e->broker->ready;
}

/**
 * broker_client_set_release() - Hand over the broker's end of a new channel
 * @e:	Engine
 * @fd:	Owned from here on
 *
 * Return: ERR_OK; as child_start().
 */
enum err broker_client_set_release(struct engine *e, int fd)
{
	struct broker_client *b = e->broker;

	if (b->child)
		return chan_send_release_channel(b->child->chan,
						 &(struct msg_release_channel){
							 0},
						 &fd, 1);
	b->release_fd = fd;
	return start_child(e);
}

/** broker_next_grant() - A grant number never used before in this engine */
uint64_t broker_next_grant(struct engine *e)
{
	return e->broker->next_grant++;
}

/**
 * broker_grant() - Allow one attempt, once audit releases it
 * @e:		Engine
 * @m:		Borrowed
 * @fds:	Owned from here on
 * @n_fds:	As msg.def says
 * @done:	Called once
 * @context:	For @done; broker_forget() drops it
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_CLOSED without a broker; ERR_MEMORY. @done
 *	   is not called after an error.
 */
enum err broker_grant(struct engine *e, const struct msg_grant *m,
		      const int *fds, size_t n_fds, transfer_done_fn done,
		      void *context)
{
	struct broker_client *b = e->broker;
	struct grant_pending *p = NULL;
	enum err err = ERR_OK;
	size_t i;

	if (!b->child || !b->ready)
		err = ERR_CLOSED;
	else if (b->n_grants >= GRANTS_MAX)
		err = ERR_LIMIT;
	else if (!(p = calloc(1, sizeof(*p))))
		err = ERR_MEMORY;
	if (err != ERR_OK) {
		for (i = 0; i < n_fds; i++)
			close(fds[i]);
		return err;
	}
	err = chan_send_grant(b->child->chan, m, fds, n_fds);
	if (err != ERR_OK) {
		free(p);
		return err;
	}
	*p = (struct grant_pending){.grant = m->grant,
				    .done = done,
				    .context = context};
	TAILQ_INSERT_TAIL(&b->grants, p, next);
	b->n_grants++;
	return ERR_OK;
}

/** broker_cancel() - Stop an attempt; its transfer_done still comes */
void broker_cancel(struct engine *e, uint64_t grant)
{
	struct msg_grant_cancel m = {.grant = grant};

	if (e->broker && e->broker->child &&
	    chan_send_grant_cancel(e->broker->child->chan, &m, NULL, 0) !=
		    ERR_OK)
		log_warn("grant %lu could not be cancelled",
			 (unsigned long)grant);
}

/** broker_vault_settings() - Tell the broker what [vault] says now */
void broker_vault_settings(struct engine *e, const struct msg_vault_settings *m)
{
	struct broker_client *b = e->broker;

	/* One that starts later gets them with its start. */
	if (b && b->child && b->ready &&
	    chan_send_vault_settings(b->child->chan, m, NULL, 0) != ERR_OK)
		log_warn("the broker was not told of [vault]");
}

/** broker_forget() - Drop the callbacks of a context that goes away */
void broker_forget(struct engine *e, const void *context)
{
	struct grant_pending *g;
	struct secret_pending *s;

	if (!e->broker)
		return;
	TAILQ_FOREACH(g, &e->broker->grants, next)
	if (g->context == context)
		g->done = NULL;
	TAILQ_FOREACH(s, &e->broker->secrets, next)
	if (s->context == context)
		s->done = NULL;
}

/* One that was never sent gets no answer. */
static enum err sent_secret(struct engine *e, enum err sent)
{
	struct broker_client *b = e->broker;
	struct secret_pending *p = TAILQ_LAST(&b->secrets, secret_list);

	if (sent == ERR_OK || !p)
		return sent;
	TAILQ_REMOVE(&b->secrets, p, next);
	b->n_secrets--;
	free(p);
	return sent;
}

static enum err add_secret(struct engine *e, uint64_t request,
			   secret_done_fn done, void *context)
{
	struct broker_client *b = e->broker;
	struct secret_pending *p;

	if (!b->child || !b->ready)
		return ERR_CLOSED;
	if (b->n_secrets >= SECRET_REQUESTS_MAX)
		return ERR_LIMIT;
	p = calloc(1, sizeof(*p));
	if (!p)
		return ERR_MEMORY;
	*p = (struct secret_pending){.request = request,
				     .done = done,
				     .context = context};
	TAILQ_INSERT_TAIL(&b->secrets, p, next);
	b->n_secrets++;
	return ERR_OK;
}

/**
 * broker_secret_hand() - Pass the client's socket on, for what is typed there
 * @e:		Engine
 * @hand:	Which request; borrowed
 * @client_fd:	Owned from here on
 * @done:	Called once; the version is the key's number for the last two
 * @context:	For @done
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_CLOSED; ERR_MEMORY.
 */
enum err broker_secret_hand(struct engine *e, const struct secret_hand *hand,
			    int client_fd, secret_done_fn done, void *context)
{
	struct span rpc_id = span_text(hand->rpc_id);
	uint64_t request = engine_next_request(e);
	struct msg_secret_unlock unlock = {.request = request,
					   .rpc_id = rpc_id};
	struct msg_secret_rewrap rewrap = {.request = request,
					   .rpc_id = rpc_id};
	struct msg_secret_set set = {.request = request,
				     .name = span_text(hand->name),
				     .rpc_id = rpc_id};
	enum err err = add_secret(e, request, done, context);
	struct vault_config vault;
	struct chan *chan;

	if (err != ERR_OK) {
		close(client_fd);
		return err;
	}
	chan = e->broker->child->chan;
	if (hand->what == SECRET_HAND_SET) {
		err = chan_send_secret_set(chan, &set, &client_fd, 1);
	} else if (hand->what == SECRET_HAND_UNLOCK) {
		err = chan_send_secret_unlock(chan, &unlock, &client_fd, 1);
	} else {
		vault_client_config(e, &vault);
		rewrap.vault_backend = vault.backend;
		rewrap.vault_credential = vault.credential;
		rewrap.vault_passes = vault.passes;
		rewrap.vault_memory_mib = vault.memory_mib;
		err = chan_send_secret_rewrap(chan, &rewrap, &client_fd, 1);
	}
	return sent_secret(e, err);
}

/** broker_secret_remove() - Forget a secret; as broker_secret_hand() */
enum err broker_secret_remove(struct engine *e, const char *name,
			      secret_done_fn done, void *context)
{
	struct msg_secret_remove m = {.request = engine_next_request(e),
				      .name = span_text(name)};
	enum err err = add_secret(e, m.request, done, context);

	return err == ERR_OK ? sent_secret(e, chan_send_secret_remove(
						      e->broker->child->chan,
						      &m, NULL, 0))
			     : err;
}

/** broker_secret_list() - Names of the secrets; as broker_secret_hand() */
enum err broker_secret_list(struct engine *e, secret_done_fn done,
			    void *context)
{
	struct msg_secret_list m = {.request = engine_next_request(e)};
	enum err err = add_secret(e, m.request, done, context);

	return err == ERR_OK ? sent_secret(e, chan_send_secret_list(
						      e->broker->child->chan,
						      &m, NULL, 0))
			     : err;
}
