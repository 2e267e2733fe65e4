/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget_keep.c - the engine's budget and the file that keeps it
 *
 * Runs in: kenazd.
 * Trusts:  ledger.c for what survives.
 * Never:   starts without knowing what was spent.
 */
#include "engine/core/budget_keep.h"

#include "engine/base/log.h"
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
