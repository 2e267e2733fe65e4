/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-broker: provider keys, TLS out; never parses a body
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for grants and configuration, audit for releases; neither
 *	    alone can make it send anything.
 * Never:   sends without a release, hands a key to another process.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <sodium.h>
#include <uv.h>

#include "engine/base/digest.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/broker/curl_loop.h"
#include "engine/broker/custody.h"
#include "engine/broker/releases.h"
#include "engine/broker/transfer.h"
#include "engine/broker/upstream.h"
#include "engine/broker/wipe_free.h"
#include "engine/proto/child.h"

struct broker {
	uv_loop_t loop;
	struct chan *core;
	struct chan *audit; /* NULL while audit is lost */
	struct custody *custody;
	struct upstreams upstreams;
	struct releases *releases;
	struct transfer_host host;
	struct transfer *transfers;
	unsigned transfer_count;
};

static struct transfer *find(const struct broker *b, uint64_t grant)
{
	struct transfer *t = b->transfers;

	while (t && (transfer_is_done(t) || transfer_grant(t) != grant))
		t = transfer_next(t);
	return t;
}

static void on_gone(void *context, struct transfer *gone)
{
	struct broker *b = context;
	struct transfer *t = b->transfers;

	b->transfer_count--;
	if (t == gone) {
		b->transfers = transfer_next(gone);
		return;
	}
	while (t && transfer_next(t) != gone)
		t = transfer_next(t);
	if (t)
		transfer_set_next(t, transfer_next(gone));
}

static void on_done(void *context, struct transfer *t,
		    const struct msg_transfer_done *m, int memfd)
{
	struct broker *b = context;

	(void)releases_cancel(b->releases, transfer_grant(t));
	if (chan_send_transfer_done(b->core, m, memfd >= 0 ? &memfd : NULL,
				    memfd >= 0 ? 1 : 0) != ERR_OK)
		child_fatal(b->core, ERR_CLOSED,
			    "the outcome of a request cannot be reported");
}

/* --- releases ------------------------------------------------------- */

static void settle(struct broker *b, uint64_t grant,
		   enum release_outcome outcome)
{
	struct transfer *t = find(b, grant);

	if (!t || outcome == RELEASE_WAITING)
		return;
	if (outcome == RELEASE_MATCHED)
		transfer_start(t);
	else
		transfer_fail(t, ERR_INTEGRITY,
			      "the request differs from the one that audit "
			      "released; it was not sent");
}

static void refuse_waiting(struct broker *b)
{
	uint64_t grant;

	while (releases_close(b->releases, &grant)) {
		struct transfer *t = find(b, grant);

		if (t)
			transfer_fail(t, ERR_SEALED,
				      "the audit log was lost; the request "
				      "was not sent");
	}
}

static enum err on_release(struct chan *c, void *context,
			   struct chan_message *message)
{
	struct broker *b = context;
	struct release_claim claim;
	enum release_outcome outcome;
	struct msg_release m;
	uint64_t late;
	enum err e = msg_release_get(message->payload, &m);

	(void)c;
	if (e != ERR_OK || message->type != MSG_RELEASE)
		return e != ERR_OK ? e : ERR_STATE;
	/* Grants have timers of their own; this drops stale releases. */
	while (releases_expire(b->releases, uv_hrtime(), &late))
		;
	claim.grant = m.grant;
	memcpy(claim.header_digest, m.header_digest, DIGEST_BYTES);
	memcpy(claim.body_digest, m.body_digest, DIGEST_BYTES);
	claim.deadline_ns = uv_hrtime() + TRANSFER_RELEASE_MAX_NS;
	e = releases_add_release(b->releases, &claim, &outcome);
	if (e == ERR_LIMIT)
		log_warn("a release was dropped: too many grants wait");
	else if (e == ERR_OK)
		settle(b, m.grant, outcome);
	return e == ERR_LIMIT ? ERR_OK : e;
}

static void on_audit_closed(struct chan *c, void *context, enum err reason)
{
	struct broker *b = context;

	log_info("the release channel closed: %s", err_text(reason));
	if (b->audit == c)
		b->audit = NULL;
	chan_free(c);
	refuse_waiting(b);
}

static enum err open_release_channel(struct broker *b, int fd)
{
	static const struct chan_handler handler = {on_release,
						    on_audit_closed};

	if (b->audit)
		chan_free(b->audit);
	b->audit = NULL;
	refuse_waiting(b);
	return chan_new(&b->loop, fd, ROLE_BROKER, ROLE_AUDIT, &handler, b,
			&b->audit);
}

/* --- grants --------------------------------------------------------- */

static int take(struct chan_message *message, size_t index)
{
	int fd = index < message->n_fds ? message->fds[index] : -1;

	if (fd >= 0)
		message->fds[index] = -1;
	return fd;
}

static void begin(struct broker *b, struct transfer *t,
		  const struct msg_grant *m, int body_fd)
{
	struct upstream *up = upstreams_find(&b->upstreams, m->provider);
	struct release_claim claim = {.grant = m->grant};
	enum release_outcome outcome;
	const char *why, *missing;
	enum err e;

	if (!b->audit) {
		transfer_fail(t, ERR_SEALED,
			      "the audit log is lost; nothing is sent");
		return;
	}
	if (!up) {
		transfer_fail(t, ERR_NOT_FOUND,
			      "the provider is not configured");
		return;
	}
	missing = upstream_missing_secret(up);
	if (missing && custody_locked(b->custody)) {
		transfer_fail(t, ERR_STATE,
			      "the secret '%s' cannot be used: %s", missing,
			      custody_locked(b->custody));
		return;
	}
	if (missing) {
		transfer_fail(t, ERR_NOT_FOUND,
			      "the secret '%s' is not set; set it with "
			      "'kenaz secret set %s'",
			      missing, missing);
		return;
	}
	if (up->problem) {
		transfer_fail(t, ERR_CONFIG, "provider %s: %s", up->name,
			      up->problem);
		return;
	}
	if (up->credential && up->credential->aws.expires_wall_s &&
	    (uint64_t)time(NULL) >= up->credential->aws.expires_wall_s) {
		transfer_fail(t, ERR_STATE,
			      "the session credentials in the secret '%s' have "
			      "ended: put fresh ones into the shell's AWS_... "
			      "variables, then 'kenaz secret import --provider "
			      "%s'",
			      up->secret, up->name);
		return;
	}
	e = transfer_prepare(t, up, m, body_fd, &why);
	if (e != ERR_OK) {
		transfer_fail(t, e, "%s: %s", why, err_text(e));
		return;
	}
	memcpy(claim.header_digest, m->header_digest, DIGEST_BYTES);
	memcpy(claim.body_digest, m->body_digest, DIGEST_BYTES);
	claim.deadline_ns = uv_hrtime() + TRANSFER_RELEASE_MAX_NS;
	e = releases_add_grant(b->releases, &claim, &outcome);
	if (e != ERR_OK)
		transfer_fail(t, e, "too many requests wait for audit");
	else
		settle(b, m->grant, outcome);
}

static enum err on_grant(struct broker *b, struct chan_message *message)
{
	struct transfer *t;
	struct msg_grant m;
	size_t want;
	int stream = -1, body = -1;
	enum err e = msg_grant_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	want = (m.has_stream ? 1u : 0u) +
	       (m.body_bytes > BODY_INLINE_MAX_BYTES ? 1u : 0u);
	if (message->n_fds != want)
		return ERR_FORMAT;
	if (find(b, m.grant))
		return ERR_EXISTS;
	if (m.has_stream)
		stream = take(message, 0);
	if (m.body_bytes > BODY_INLINE_MAX_BYTES)
		body = message->fds[want - 1];
	e = transfer_new(&b->host, m.grant, stream, &t);
	if (e != ERR_OK) {
		struct msg_transfer_done done = {
			.grant = m.grant,
			.error = (int)e,
			.text = span_text("the broker has no room for it")};

		return chan_send_transfer_done(b->core, &done, NULL, 0);
	}
	transfer_set_next(t, b->transfers);
	b->transfers = t;
	if (++b->transfer_count > TRANSFERS_MAX)
		transfer_fail(t, ERR_LIMIT, "too many requests are under way");
	else
		begin(b, t, &m, body);
	return ERR_OK;
}

static enum err on_grant_cancel(struct broker *b, struct chan_message *message)
{
	struct msg_grant_cancel m;
	struct transfer *t;
	enum err e = msg_grant_cancel_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	t = find(b, m.grant);
	if (t)
		transfer_fail(t, ERR_CANCELLED, "the request was cancelled");
	return ERR_OK;
}

/* --- configuration -------------------------------------- */

static enum err on_provider_set(struct broker *b, struct chan_message *message)
{
	struct msg_provider_set m;
	struct body ca = {0};
	const char *why = "the private CA did not arrive sealed";
	size_t size = 0;
	enum err e = msg_provider_set_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	if (message->n_fds) {
		e = memfd_check(message->fds[0], UPSTREAM_CA_MAX_BYTES, &size);
		if (e == ERR_OK)
			e = body_open((struct span){0}, message->fds[0], size,
				      UPSTREAM_CA_MAX_BYTES, &ca);
	}
	if (e == ERR_OK)
		e = upstreams_set(&b->upstreams, &m, ca.bytes,
				  custody_vault(b->custody), &why);
	if (e != ERR_OK)
		log_error("provider '%.*s': %s: %s", (int)m.name.len_bytes,
			  (const char *)m.name.data, why, err_text(e));
	body_close(&ca);
	return ERR_OK;
}

static enum err on_provider_unset(struct broker *b,
				  struct chan_message *message)
{
	struct msg_provider_unset m;
	enum err e = msg_provider_unset_get(message->payload, &m);

	if (e == ERR_OK)
		upstreams_remove(&b->upstreams, m.name);
	return e;
}

/* --- start ---------------------------------------------------------- */

static enum err on_start(struct broker *b, struct chan_message *message)
{
	struct msg_broker_ready ready = {0};
	struct msg_broker_start m;
	int vault_fd, credentials_fd;
	enum err e = msg_broker_start_get(message->payload, &m);

	if (e == ERR_OK)
		e = span_copy_text(m.scripted_socket, b->host.scripted_socket,
				   sizeof(b->host.scripted_socket));
	if (e != ERR_OK)
		return e;
	vault_fd = take(message, 0);
	credentials_fd = take(message, 2);
	e = custody_new(&b->loop, b->core, &b->upstreams, &m, vault_fd,
			credentials_fd, &b->custody);
	if (e != ERR_OK)
		return e;
	e = open_release_channel(b, take(message, 1));
	if (e != ERR_OK)
		child_fatal(b->core, e, "the release channel cannot be used");
	chan_set_state(b->core, S_RUN);
	e = chan_send_broker_ready(b->core, &ready, NULL, 0);
	/* Without its vault the scripted provider still works. */
	custody_begin(b->custody);
	return e;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *message)
{
	struct broker *b = context;

	(void)c;
	if (message->type == MSG_BROKER_START)
		return on_start(b, message);
	if (message->type == MSG_RELEASE_CHANNEL)
		return open_release_channel(b, take(message, 0));
	if (message->type == MSG_PROVIDER_SET)
		return on_provider_set(b, message);
	if (message->type == MSG_PROVIDER_UNSET)
		return on_provider_unset(b, message);
	if (message->type == MSG_GRANT)
		return on_grant(b, message);
	if (message->type == MSG_GRANT_CANCEL)
		return on_grant_cancel(b, message);
	if (custody_handles(message->type))
		return b->custody ? custody_on_message(b->custody, message)
				  : ERR_STATE;
	return ERR_STATE;
}

/* Core is gone: so are all permissions. Locked memory goes with us. */
static void on_core_closed(struct chan *c, void *context, enum err reason)
{
	struct broker *b = context;

	(void)c;
	upstreams_fini(&b->upstreams);
	custody_free(b->custody);
	exit(reason == ERR_CLOSED ? 0 : 1);
}

static void on_withdrawn(void *context)
{
	struct broker *b = context;

	curl_loop_forget(b->host.curl);
}

static void allow_locked_memory(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
			log_warn("RLIMIT_MEMLOCK cannot be raised");
	}
}

int main(int argc, char **argv)
{
	static const struct chan_handler handler = {on_message, on_core_closed};
	static struct broker b;
	enum err e;

	log_init("kenaz-broker");
	allow_locked_memory();
	if (sodium_init() < 0 || digest_init() != ERR_OK ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		die("the cryptographic libraries cannot be started");
	if (uv_loop_init(&b.loop) != 0)
		die("no event loop");
	e = jail_enter(JAIL_BROKER);
	if (e != ERR_OK)
		die("the jail could not be built: %s", err_text(e));
	e = curl_loop_new(&b.loop, transfer_on_curl_done, transfer_on_curl_turn,
			  &b.host, &b.host.curl);
	if (e == ERR_OK)
		e = releases_new(&b.releases);
	if (e != ERR_OK)
		die("out of memory");
	b.host.loop = &b.loop;
	b.host.context = &b;
	b.host.done = on_done;
	b.host.gone = on_gone;
	b.upstreams.withdrawn = on_withdrawn;
	b.upstreams.context = &b;
	if (!wipe_free_works())
		log_debug("this build does not wipe freed memory");
	e = child_begin(argc, argv, ROLE_BROKER, &b.loop, &handler, &b,
			&b.core);
	if (e != ERR_OK)
		die("this program is started by kenazd, which passes it a "
		    "channel as descriptor 3: %s",
		    err_text(e));
	(void)uv_run(&b.loop, UV_RUN_DEFAULT);
	return 0;
}
