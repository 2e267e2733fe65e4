/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the socket that clients speak to: JSON-RPC 2.0 by lines */
#ifndef KENAZ_CORE_CONTROL_H
#define KENAZ_CORE_CONTROL_H

#include <cjson/cJSON.h>

#include "engine/base/jsonw.h"
#include "engine/core/engine.h"

#define CONTROL_LINE_MAX_BYTES  (1024u * 1024)
#define CONTROL_QUEUE_MAX_BYTES (8u * 1024 * 1024)
#define CONTROL_PAUSE_BYTES     (1u * 1024 * 1024)
#define CONTROL_CLIENTS_MAX     256u
#define CONTROL_CLIENTS_USER    64u /* of one user on a shared host */
#define CONTROL_ID_MAX_BYTES    64u
#define CONTROL_BUSY_MAX        64u

struct session;
struct terminal;
struct conn;

/* One request that waits for its answer. Freed by answering it. */
struct tested;

struct rpc {
	LIST_ENTRY(rpc) next;
	struct conn *conn; /* NULL once the client left */
	struct engine *engine;
	char id[CONTROL_ID_MAX_BYTES + 1];
	const char *method;
	/* What the answer is about, if anything. */
	struct session *session;
	struct terminal *terminal;
	uint64_t number;
	char name[NAME_MAX_BYTES + 1];
	bool owns_session, raw;
	struct tested *tested; /* a provider's test under way, or NULL */
};

/* A connection that follows the log. */
struct tail {
	bool on, asking;
	uint64_t next_seq;
	char session[SESSION_ID_BYTES + 1];
	char kind[KIND_MAX_BYTES + 1];
};

struct conn {
	LIST_ENTRY(conn) next;
	struct engine *engine;
	uv_poll_t poll;
	int fd;
	struct buf in, out;
	size_t out_at_bytes;
	struct roles_peer peer;
	char actor[ACTOR_MAX_BYTES];
	LIST_HEAD(, rpc) rpcs;
	size_t n_rpcs;
	struct session *owned; /* ends with the connection */
	struct tail tail;
	bool closing, busy, leaving, doomed;
	/* After the last byte is out, the socket is handed over. */
	void (*hand_over)(struct conn *c, int fd, struct rpc *r);
	struct rpc *hand_over_rpc;
};

typedef void (*rpc_fn)(struct rpc *r, const cJSON *params);

struct rpc_method {
	const char *name;
	rpc_fn fn;
};

MUST_CHECK enum err control_start(struct engine *e);
void control_tick(struct engine *e);
void control_stop(struct engine *e);
void control_free(struct engine *e);
size_t control_clients(const struct engine *e);
void control_log_grew(struct engine *e);
void control_session_changed(struct engine *e, struct session *s);
void control_session_gone(struct engine *e, struct session *s);

void rpc_reply(struct rpc *r, struct span result_json);
void rpc_reply_empty(struct rpc *r);
void rpc_finish(struct rpc *r, struct jsonw *w, struct buf *b);
void rpc_fail(struct rpc *r, enum err error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void rpc_fail_rule(struct rpc *r, enum err error, const char *rule,
		   const char *text);
void rpc_bad_params(struct rpc *r, const char *text);
void conn_notify(struct conn *c, const char *method, struct span params_json);
MUST_CHECK enum err rpc_hand_over(struct rpc *r, struct span result_json,
				  void (*fn)(struct conn *c, int fd,
					     struct rpc *r));

/* For control.c and rpc.c. */
void rpc_send(struct rpc *r, const char *member, struct span json);
void rpc_free(struct rpc *r);
void rpc_provider_test_left(struct rpc *r);
void rpc_fail_code(struct rpc *r, int code, enum err error, const char *rule,
		   const char *text);

/* Typed parameters; a wrong type answers and gives false. */
bool rpc_get_text(struct rpc *r, const cJSON *params, const char *key,
		  bool needed, const char **ret_text);
bool rpc_get_u64(struct rpc *r, const cJSON *params, const char *key,
		 uint64_t min, uint64_t max, uint64_t fallback,
		 uint64_t *ret_value);
bool rpc_get_bool(struct rpc *r, const cJSON *params, const char *key,
		  bool fallback, bool *ret_value);
bool rpc_check_keys(struct rpc *r, const cJSON *params,
		    const char *const *keys);

/* Methods by area; each table ends with a NULL name. */
extern const struct rpc_method rpc_engine_methods[];
extern const struct rpc_method rpc_session_methods[];
extern const struct rpc_method rpc_audit_methods[];
extern const struct rpc_method rpc_policy_methods[];
extern const struct rpc_method rpc_budget_methods[];
extern const struct rpc_method rpc_provider_methods[];
extern const struct rpc_method rpc_provider_edit_methods[];
extern const struct rpc_method rpc_provider_test_methods[];
extern const struct rpc_method rpc_vault_methods[];
extern const struct rpc_method rpc_provider_models_methods[];
extern const struct rpc_method rpc_secret_methods[];
extern const struct rpc_method rpc_image_methods[];

MUST_CHECK enum err rpc_reload_config(struct engine *e,
				      struct conf_error *error);

#endif
