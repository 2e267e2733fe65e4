/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_engine.c - verbs about the engine itself, its doctor and approvals
 *
 * Runs in: kenazd.
 * Trusts:  the role of the client.
 * Never:   changes the host: the doctor only looks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/adopt.h"
#include "engine/core/approving.h"
#include "engine/core/audit_client.h"
#include "engine/core/control.h"
#include "engine/core/doctor.h"
#include "engine/core/handover.h"
#include "engine/core/image_list.h"
#include "engine/core/image_trust.h"
#include "engine/core/pool.h"
#include "engine/core/session.h"
#include "engine/core/vault_client.h"
#include "engine/proto/child.h"

static void put_log(struct engine *e, struct jsonw *w)
{
	const struct audit_state *st = audit_client_state(e);
	char path[PATHS_MAX_BYTES];

	jsonw_key(w, "log");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "origin", st->origin);
	jsonw_put_u64(w, "size", st->size);
	jsonw_put_cstr(w, "verifier_key", st->verifier_key);
	if (paths_join(e->paths.state.path, "log", path, sizeof(path)) ==
	    ERR_OK)
		jsonw_put_cstr(w, "log_dir", path);
	if (paths_join(e->paths.state.path, "anchor", path, sizeof(path)) ==
	    ERR_OK)
		jsonw_put_cstr(w, "anchor", path);
	jsonw_end_object(w);
}

static void engine_info(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	const struct audit_state *st = audit_client_state(e);
	struct jsonw w;
	struct buf b;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, 65536);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "version", KENAZ_VERSION);
	jsonw_put_u64(&w, "protocol", PROTO_VERSION);
	jsonw_put_u64(&w, "pid", (uint64_t)getpid());
	jsonw_put_cstr(&w, "mode", e->paths.system ? "system" : "user");
	jsonw_put_cstr(&w, "state", st->sealed ? "sealed" : "running");
	if (st->sealed)
		jsonw_put_cstr(&w, "sealed_reason", st->sealed_reason);
	jsonw_put_u64(&w, "sessions", sessions_live(e));
	jsonw_put_bool(&w, "scripted", engine_scripted_answers(e));
	jsonw_put_bool(&w, "no_isolation", e->dev_mock_vm);
	jsonw_put_bool(&w, "survive", e->survive);
	put_log(e, &w);
	if (e->accelerator.name[0]) {
		jsonw_key(&w, "accelerator");
		jsonw_begin_object(&w);
		jsonw_put_cstr(&w, "name", e->accelerator.name);
		jsonw_put_cstr(&w, "reason", e->accelerator.reason);
		jsonw_end_object(&w);
	}
	jsonw_put_u64(&w, "uptime_s",
		      (engine_now_ns() - e->started_ns) / 1000000000u);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static void engine_stop_verb(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	char text[96];

	if (!rpc_check_keys(r, params, keys))
		return;
	(void)snprintf(text, sizeof(text), "asked for by %s",
		       r->conn->peer.user);
	rpc_reply_empty(r);
	engine_stop(e, text);
}

static void engine_handover(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	char text[96];

	if (!rpc_check_keys(r, params, keys))
		return;
	if (!e->survive) {
		rpc_fail(r, ERR_STATE,
			 "this engine does not keep its sessions: it is none "
			 "of a service, or engine.survive is false; see "
			 "`kenaz engine stop`");
		return;
	}
	(void)snprintf(text, sizeof(text), "handed over by %s",
		       r->conn->peer.user);
	rpc_reply_empty(r);
	if (handover_begin(e, text) != ERR_OK)
		log_info("it was stopping already");
}

/* Its reason is in the log already, and in image.list. */
static void ignore_key(void *context, const char *path, const char *why)
{
	(void)context;
	(void)path;
	(void)why;
}

static void doctor(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	struct doctor_input input = {
		.paths = &e->paths,
		.config = e->config,
		.policy = e->policy,
		.qemu_version = e->accelerator.qemu_version[0]
					? e->accelerator.qemu_version
					: NULL,
		.log_key_path = e->log_key_path,
		.kvm_text =
			e->accelerator.reason[0] ? e->accelerator.reason : NULL,
		.cgroups = &e->cgroups,
		.landlock_version = e->landlock_version,
		.service = e->survive,
		.adopting = adopt_count(e),
		.dev_dir = "/dev",
		.proc_dir = "/proc"};
	struct doctor_report *report;
	char image_dir[PATHS_MAX_BYTES];
	struct image_keys trusted;
	struct jsonw w;
	struct buf b;

	if (!rpc_check_keys(r, params, keys))
		return;
	if (strcmp(e->accelerator.name, "kvm") == 0)
		input.kvm = DOCTOR_KVM_WORKS;
	else if (e->accelerator.name[0])
		input.kvm = DOCTOR_KVM_FAILS;
	if (image_list_path(e, accel_default_image(e), image_dir) == ERR_OK)
		input.image_dir = image_dir;
	image_trust_load(e, ignore_key, NULL, &trusted);
	input.image_keys = &trusted;
	report = calloc(1, sizeof(*report));
	if (!report) {
		rpc_fail(r, ERR_MEMORY, "%s", err_text(ERR_MEMORY));
		return;
	}
	doctor_run(&input, report);
	pool_doctor(e, report);
	vault_client_doctor(e, report);
	buf_init(&b, 256 * 1024);
	jsonw_init(&w, &b);
	doctor_json(report, &w);
	free(report);
	rpc_finish(r, &w, &b);
}

static bool may_see(struct rpc *r, const struct approval *a)
{
	const struct session *s = session_find(r->engine, a->session);
	char reason[ROLES_REASON_MAX_BYTES];

	return roles_check(&r->conn->peer, r->method,
			   s ? s->uid : ROLES_NO_OWNER, reason) == ERR_OK;
}

static void approvals_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	struct engine *e = r->engine;
	uint64_t now = engine_now_ns();
	struct jsonw w;
	struct buf b;
	size_t i;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 2);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "approvals");
	jsonw_begin_array(&w);
	for (i = 0; i < approvals_count(e->approvals); i++) {
		const struct approval *a = approvals_at(e->approvals, i);

		if (a->state != APPROVAL_WAITING || !may_see(r, a))
			continue;
		jsonw_begin_object(&w);
		jsonw_put_u64(&w, "id", a->id);
		jsonw_put_cstr(&w, "session", a->session);
		jsonw_put_cstr(&w, "user", a->user);
		jsonw_put_cstr(&w, "target",
			       policy_target_text((enum policy_target)a->kind));
		jsonw_put_cstr(&w, "rule", a->rule);
		jsonw_put_cstr(&w, "summary", a->summary);
		jsonw_key(&w, "digest");
		jsonw_hex(&w, span_of(a->digest, DIGEST_BYTES));
		jsonw_put_u64(&w, "expires_s",
			      a->deadline_ns > now
				      ? (a->deadline_ns - now) / 1000000000u
				      : 0);
		jsonw_end_object(&w);
	}
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

static void decide(struct rpc *r, const cJSON *params, bool grant)
{
	static const char *const keys[] = {"id", "reason", "digest", NULL};
	struct engine *e = r->engine;
	const struct approval *a;
	const char *reason, *hex;
	uint8_t digest[DIGEST_BYTES];
	char text[96];
	uint64_t id;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_u64(r, params, "id", 1, 1ull << 52, 0, &id) ||
	    !rpc_get_text(r, params, "digest", false, &hex) ||
	    !rpc_get_text(r, params, "reason", false, &reason))
		return;
	a = approvals_find(e->approvals, id);
	if (!a || a->state != APPROVAL_WAITING || !may_see(r, a)) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "no approval %llu is waiting; see `kenaz approvals "
			 "list`",
			 (unsigned long long)id);
		return;
	}
	memcpy(digest, a->digest, sizeof(digest));
	if (hex &&
	    text_unhex(span_text(hex), digest, sizeof(digest)) != ERR_OK) {
		rpc_bad_params(r, "parameter digest: must be 64 hexadecimal "
				  "digits");
		return;
	}
	err = approvals_decide(e->approvals, id, digest, grant,
			       r->conn->peer.user, engine_now_ns());
	if (err != ERR_OK) {
		rpc_fail(r, err,
			 "approval %llu was not decided: %s; what it asks for "
			 "may have changed",
			 (unsigned long long)id, err_text(err));
		return;
	}
	if (reason)
		approvals_set_reason(e->approvals, id, reason);
	(void)snprintf(text, sizeof(text), "{\"id\":%llu,\"state\":\"%s\"}",
		       (unsigned long long)id, grant ? "granted" : "denied");
	rpc_reply(r, span_text(text));
	approving_pump(e);
}

static void approvals_grant(struct rpc *r, const cJSON *params)
{
	decide(r, params, true);
}

static void approvals_deny(struct rpc *r, const cJSON *params)
{
	decide(r, params, false);
}

const struct rpc_method rpc_engine_methods[] = {
	{"engine.info", engine_info},
	{"engine.stop", engine_stop_verb},
	{"engine.handover", engine_handover},
	{"doctor", doctor},
	{"approvals.list", approvals_list},
	{"approvals.grant", approvals_grant},
	{"approvals.deny", approvals_deny},
	{NULL, NULL},
};
