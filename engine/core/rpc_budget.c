/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_budget.c - what is left of the budgets
 *
 * Runs in: kenazd.
 * Trusts:  budget.c, which enforces, for every number.
 * Never:   shows a user what others spent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/core/control.h"
#include "engine/core/policy.h"
#include "engine/core/session.h"

#define DAY_US INT64_C(86400000000)

/* Machine names: whole numbers of these. */
static const char *const unit_names[BUDGET_UNIT_COUNT] = {"requests", "tokens",
							  "microusd", "bytes",
							  "time_ms"};

/* In the texts; the numbers keep their unit. */
static const char *const unit_texts[BUDGET_UNIT_COUNT] = {"requests", "tokens",
							  "USD", "bytes",
							  "time"};

static bool may_see(struct rpc *r, const struct budget_row *row)
{
	const struct roles_peer *peer = &r->conn->peer;
	char reason[ROLES_REASON_MAX_BYTES];
	const struct session *s;

	if (roles_reach(peer->roles, r->method) == ROLE_REACH_ALL)
		return true;
	if (row->scope == BUDGET_USER)
		return strcmp(row->key, peer->user) == 0;
	s = row->scope == BUDGET_SESSION ? session_find(r->engine, row->key)
					 : NULL;
	return s && roles_check(peer, r->method, s->uid, reason) == ERR_OK;
}

static void put_amount(struct jsonw *w, const char *key, int unit,
		       int64_t amount)
{
	char text[64];

	if (unit == BUDGET_MICROUSD)
		(void)snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64,
			       amount / 1000000, amount % 1000000);
	else if (unit == BUDGET_TIME_MS)
		(void)snprintf(text, sizeof(text),
			       "%" PRId64 ".%03" PRId64 " s", amount / 1000,
			       amount % 1000);
	else
		(void)snprintf(text, sizeof(text), "%" PRId64, amount);
	jsonw_put_cstr(w, key, text);
}

static void put_row(struct rpc *r, struct jsonw *w,
		    const struct budget_row *row, int unit, int64_t today)
{
	int64_t limit =
		policy_budgets(r->engine->policy)->of[row->scope].of[unit];
	bool past = row->scope != BUDGET_SESSION && row->day < today;
	int64_t used = past ? 0 : row->used.of[unit];
	int64_t reserved = past ? 0 : row->reserved.of[unit];
	bool limited = limit != BUDGET_UNLIMITED;
	int64_t left = limited && limit - used > reserved
			       ? limit - used - reserved
			       : 0;

	if (!limited && used == 0 && reserved == 0)
		return;
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "scope", budget_scope_text(row->scope));
	jsonw_put_cstr(w, "key", row->key);
	jsonw_put_cstr(w, "unit", unit_names[unit]);
	jsonw_put_cstr(w, "unit_text", unit_texts[unit]);
	jsonw_put_i64(w, "used", used);
	jsonw_put_i64(w, "reserved", reserved);
	put_amount(w, "used_text", unit, used);
	put_amount(w, "reserved_text", unit, reserved);
	if (limited) {
		jsonw_put_i64(w, "limit", limit);
		jsonw_put_i64(w, "left", left);
		put_amount(w, "limit_text", unit, limit);
		put_amount(w, "left_text", unit, left);
	}
	if (limited && row->scope != BUDGET_SESSION)
		jsonw_put_i64(w, "reset_s",
			      ((today + 1) * DAY_US -
			       (int64_t)engine_wall_us()) /
				      1000000);
	jsonw_end_object(w);
}

/* Who spent nothing today has a budget all the same. */
static void put_own(struct rpc *r, struct jsonw *w, enum budget_scope scope,
		    const char *key, int64_t today)
{
	struct budget_row row = {.scope = scope, .day = today};
	size_t i;

	for (i = 0; i < budget_row_count(r->engine->budget); i++) {
		const struct budget_row *one =
			budget_row_at(r->engine->budget, i);

		if (one->scope == scope && strcmp(one->key, key) == 0)
			return;
	}
	(void)snprintf(row.key, sizeof(row.key), "%s", key);
	if (!may_see(r, &row))
		return;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		put_row(r, w, &row, u, today);
}

static void budget_show(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {NULL};
	int64_t today = (int64_t)engine_wall_us() / DAY_US;
	const struct session *s;
	struct jsonw w;
	struct buf b;
	size_t i;

	if (!rpc_check_keys(r, params, keys))
		return;
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 2);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "budgets");
	jsonw_begin_array(&w);
	for (i = 0; i < budget_row_count(r->engine->budget); i++) {
		const struct budget_row *row =
			budget_row_at(r->engine->budget, i);

		for (int u = 0; may_see(r, row) && u < BUDGET_UNIT_COUNT; u++)
			put_row(r, &w, row, u, today);
	}
	put_own(r, &w, BUDGET_HOST, "", today);
	put_own(r, &w, BUDGET_USER, r->conn->peer.user, today);
	LIST_FOREACH(s, &r->engine->sessions, next)
	if (!session_has_ended(s))
		put_own(r, &w, BUDGET_SESSION, s->id, today);
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	rpc_finish(r, &w, &b);
}

const struct rpc_method rpc_budget_methods[] = {
	{"budget.show", budget_show},
	{NULL, NULL},
};
