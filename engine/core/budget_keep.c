/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget_keep.c - the engine's budget and the file that keeps it
 *
 * Runs in: kenazd.
 * Trusts:  ledger.c for what survives.
 * Never:   starts without knowing what was spent; takes an older ledger for
 *	    the last one without saying so.
 *
 * Whoever can write the state folder can put an older ledger there, or none.
 * What cannot be replaced like that is the log: each start and stop notes the
 * ledger's generation there (budget.kept), and a start that finds less than
 * was noted says so (budget.reset). Budgets are then counted from what was
 * found: it is also the way in which an administrator begins anew.
 */
#include "engine/core/budget_keep.h"

#include <inttypes.h>
#include <stdio.h>

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/core/audit_client.h"
#include "engine/core/ledger.h"
#include "engine/core/session.h"

#define WRITE_PAUSE_NS UINT64_C(30000000000)
/* Sessions that outlive an engine have been adopted by then, or ended. */
#define ADOPTED_NS UINT64_C(10000000000)

/**
 * budget_keep_open() - Make the budget, with what was spent before
 * @e:		Engine with paths, policy and survive set
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; as ledger_open(), budget_new() and ledger_restore().
 */
enum err budget_keep_open(struct engine *e, struct conf_error *error)
{
	enum err err =
		ledger_open(e->paths.state.path, e->survive,
			    (int64_t)engine_wall_us(), error, &e->ledger);

	if (err == ERR_OK)
		e->ledger_opened = ledger_was_found(e->ledger)
					   ? ledger_generation(e->ledger)
					   : 0;
	if (err == ERR_OK)
		err = budget_new(policy_budgets(e->policy), ledger_save,
				 e->ledger, &e->budget);
	if (err == ERR_OK)
		err = ledger_restore(e->ledger, e->budget);
	if (err != ERR_OK)
		(void)conf_fail_at(error, NULL, 0,
				   "the budget's ledger cannot be kept: %s",
				   err_text(err));
	return err;
}

static void note(struct engine *e, const char *kind, const char *reason)
{
	struct buf b;
	enum err err;

	buf_init(&b, 1024);
	err = attrs_put_u64(&b, "kenaz.budget.generation",
			    ledger_generation(e->ledger));
	if (err == ERR_OK && reason)
		err = attrs_put_text(&b, "kenaz.reason", span_text(reason));
	if (err == ERR_OK)
		audit_note(e, kind, NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

/** budget_keep_note() - Write it as it stands, and down in the log that it is
 */
void budget_keep_note(struct engine *e)
{
	if (!e->ledger || !e->budget)
		return;
	if (ledger_write_all(e->ledger, e->budget) != ERR_OK)
		log_warn("the budget's ledger stays as it was");
	note(e, "budget.kept", NULL);
}

static uint64_t noted_generation(struct span event)
{
	static const struct json_limits limits = {0};
	uint64_t generation = 0;
	struct json j;

	json_init(&j);
	if (json_parse(&j, event, &limits) != ERR_OK ||
	    json_uint(&j,
		      json_get(&j, json_get(&j, JSON_ROOT, "attrs"),
			       "kenaz.budget.generation"),
		      0, UINT64_MAX, &generation) != ERR_OK)
		generation = 0;
	json_fini(&j);
	return generation;
}

static void on_noted(void *context, struct audit_outcome *o)
{
	struct engine *e = context;
	char reason[REASON_MAX_BYTES];
	uint64_t noted;
	struct reader r;
	struct span one;

	if (!e->ledger)
		return;
	reader_init(&r, o->bytes);
	one = reader_get_lp(&r, EVENT_MAX_BYTES);
	noted = o->error == ERR_OK && r.status == ERR_OK ? noted_generation(one)
							 : 0;
	if (noted > e->ledger_opened) {
		(void)snprintf(reason, sizeof(reason),
			       "%s: generation %" PRIu64
			       " was noted last, and %" PRIu64
			       " was found; budgets count from there",
			       e->ledger_opened ? "the ledger is an older one"
						: "there was no ledger",
			       noted, e->ledger_opened);
		log_warn("budget: %s", reason);
		note(e, "budget.reset", reason);
	}
	note(e, "budget.kept", NULL);
}

/**
 * budget_keep_begin() - Compare the ledger with what the log says of it
 * @e:	Engine whose log is open
 */
void budget_keep_begin(struct engine *e)
{
	const struct audit_filter filter = {.kind = "budget.kept"};
	uint64_t size = audit_client_state(e)->size;

	if (!e->ledger)
		return;
	if (size == 0)
		note(e, "budget.kept", NULL);
	else if (audit_query(e, size - 1, 1, true, &filter, on_noted, e) !=
		 ERR_OK)
		log_warn("the budget's ledger was not compared with the log");
}

/* Rows of sessions that nobody adopted count for nobody. */
static void prune(struct engine *e)
{
	size_t i = 0;

	while (i < budget_row_count(e->budget)) {
		const struct budget_row *row = budget_row_at(e->budget, i);
		size_t before = budget_row_count(e->budget);

		if (row->scope == BUDGET_SESSION && !session_find(e, row->key))
			budget_end_session(e->budget, row->key);
		if (budget_row_count(e->budget) == before)
			i++;
	}
}

/** budget_keep_tick() - Write it anew from time to time, as it stands */
void budget_keep_tick(struct engine *e)
{
	uint64_t now = engine_now_ns();

	if (!e->ledger || now - e->ledger_written_ns < WRITE_PAUSE_NS)
		return;
	e->ledger_written_ns = now;
	if (now - e->started_ns >
	    e->config->engine.adopt_s * 1000000000ull + ADOPTED_NS)
		prune(e);
	if (!ledger_is_dirty(e->ledger) &&
	    budget_changes(e->budget) == e->ledger_changes)
		return;
	e->ledger_changes = budget_changes(e->budget);
	if (ledger_write_all(e->ledger, e->budget) != ERR_OK)
		log_warn("the budget's ledger stays as it was");
}

/** budget_keep_close() - Write down exactly what was spent, and forget it */
void budget_keep_close(struct engine *e)
{
	if (e->ledger && e->budget &&
	    ledger_write_all(e->ledger, e->budget) != ERR_OK)
		log_warn("the budget's ledger stays as it was");
	budget_free(e->budget);
	ledger_free(e->ledger);
	e->budget = NULL;
	e->ledger = NULL;
}
