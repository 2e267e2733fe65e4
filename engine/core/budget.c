/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget.c - requests, tokens, money, bytes and time: reserve, then settle
 *
 * Runs in: kenazd.
 * Trusts:  the amounts that core passes; tokens and money are what a gate
 *	    reported.
 * Never:   reads a clock, uses fractions, forgets a reservation's limits.
 *
 * Theory of operation: a row counts for one session, one user or the host.
 * A reservation must fit under the limits of its three rows before anything
 * is sent; settling replaces it by what was really used, which may be more.
 * User and host rows count one UTC day and start anew with the first
 * reservation of a later one; what was reserved before midnight belongs to
 * the day before. What survives a crash is a bound: amounts with a limit are
 * written down a block ahead before they are reserved, so a restart never
 * finds less than was used, and at most a block more. A limit that is used up
 *refuses also who reserves none of its unit, because the true amount is known
 *only afterwards.
 */
#include "engine/core/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_US       INT64_C(86400000000)
#define SLOTS        BUDGET_RESERVATIONS_MAX
#define AMOUNT_BYTES 40u
#define NO_ROW       UINT32_MAX
#define BLOCKS       64 /* of a limit; what a crash may cost is one */

struct row {
	struct budget_row data;
	bool used;
	bool ended;    /* session is over; leaves with its last reservation */
	uint32_t open; /* reservations of the present day */
};

struct reservation {
	uint64_t id; /* 0: free */
	uint32_t rows[BUDGET_SCOPE_COUNT];
	int64_t days[BUDGET_SCOPE_COUNT];
	struct budget_amounts amounts;
};

struct budget {
	struct budget_limits limits;
	budget_save_fn save;
	void *context;
	uint64_t sequence;
	size_t row_count; /* rows[] in use lie below it */
	uint32_t touched; /* slots below it were used at least once */
	uint32_t free_count;
	uint32_t free_slots[SLOTS];
	struct row rows[BUDGET_ROWS_MAX];
	struct reservation reservations[SLOTS];
};

static const char *const unit_texts[BUDGET_UNIT_COUNT] = {"requests", "tokens",
							  "usd", "bytes",
							  "time_s"};
static const char *const scope_texts[BUDGET_SCOPE_COUNT] = {"session", "user",
							    "host"};

/** budget_unit_text() - A unit as policy files write it */
const char *budget_unit_text(enum budget_unit unit)
{
	return unit_texts[unit];
}

/** budget_scope_text() - A scope as policy files write it */
const char *budget_scope_text(enum budget_scope scope)
{
	return scope_texts[scope];
}

/** budget_limits_init() - Limits that limit nothing */
void budget_limits_init(struct budget_limits *ret_limits)
{
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++)
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
			ret_limits->of[s].of[u] = BUDGET_UNLIMITED;
}

/** budget_limits_tighten() - Keep the lower of each pair of limits */
void budget_limits_tighten(struct budget_limits *limits,
			   const struct budget_limits *other)
{
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++)
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
			if (other->of[s].of[u] < limits->of[s].of[u])
				limits->of[s].of[u] = other->of[s].of[u];
}

/**
 * budget_new() - Make an empty ledger
 * @limits:	Copied
 * @save:	Writes a row down, or NULL; must not call back into the ledger
 * @context:	For @save
 * @ret_budget:	The ledger; free with budget_free()
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err budget_new(const struct budget_limits *limits, budget_save_fn save,
		    void *context, struct budget **ret_budget)
{
	struct budget *budget = calloc(1, sizeof(*budget));

	if (!budget)
		return ERR_MEMORY;
	budget->limits = *limits;
	budget->save = save;
	budget->context = context;
	*ret_budget = budget;
	return ERR_OK;
}

/** budget_free() - Release a ledger; NULL is accepted */
void budget_free(struct budget *budget)
{
	free(budget);
}

/** budget_set_limits() - Use other limits from the next reservation on */
void budget_set_limits(struct budget *budget,
		       const struct budget_limits *limits)
{
	budget->limits = *limits;
}

static int64_t add_amount(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* --- rows ----------------------------------------------------------------- */

static uint32_t find_row(const struct budget *budget, enum budget_scope scope,
			 const char *key)
{
	for (size_t i = 0; i < budget->row_count; i++) {
		const struct row *row = &budget->rows[i];

		if (row->used && !row->ended && row->data.scope == scope &&
		    strcmp(row->data.key, key) == 0)
			return (uint32_t)i;
	}
	return NO_ROW;
}

/* A free row, or one whose day is over and to which nothing refers. */
static uint32_t free_row(struct budget *budget, int64_t day)
{
	for (size_t i = 0; i < budget->row_count; i++)
		if (!budget->rows[i].used)
			return (uint32_t)i;
	if (budget->row_count < BUDGET_ROWS_MAX)
		return (uint32_t)budget->row_count++;
	for (size_t i = 0; i < budget->row_count; i++) {
		const struct row *row = &budget->rows[i];

		if (row->data.scope != BUDGET_SESSION && row->data.day < day)
			return (uint32_t)i;
	}
	return NO_ROW;
}

static void start_day(struct row *row, int64_t day)
{
	row->data.day = day;
	row->open = 0;
	row->data.used = (struct budget_amounts){0};
	row->data.reserved = (struct budget_amounts){0};
	row->data.durable = (struct budget_amounts){0};
}

/* A clock that goes back does not give a day's budget twice. */
static enum err take_row(struct budget *budget, enum budget_scope scope,
			 const char *key, int64_t day, uint32_t *ret_row)
{
	uint32_t at = find_row(budget, scope, key);
	struct row *row;

	if (scope == BUDGET_SESSION)
		day = -1;
	if (strlen(key) >= BUDGET_KEY_MAX_BYTES)
		return ERR_RANGE;
	if (at == NO_ROW) {
		at = free_row(budget, day);
		if (at == NO_ROW)
			return ERR_LIMIT;
		row = &budget->rows[at];
		*row = (struct row){.used = true};
		row->data.scope = scope;
		memcpy(row->data.key, key, strlen(key) + 1);
		start_day(row, day);
	} else if (budget->rows[at].data.day < day) {
		start_day(&budget->rows[at], day);
	}
	*ret_row = at;
	return ERR_OK;
}

/**
 * budget_restore() - Put back a row that budget_save_fn was told of
 * @budget:	Ledger
 * @row:	Its reservations are ignored: they died with the engine
 *
 * Return: ERR_OK; ERR_RANGE for a bad row; ERR_EXISTS; ERR_LIMIT.
 */
enum err budget_restore(struct budget *budget, const struct budget_row *row)
{
	uint32_t at;
	enum err e;

	if ((unsigned int)row->scope >= BUDGET_SCOPE_COUNT ||
	    !memchr(row->key, 0, sizeof(row->key)))
		return ERR_RANGE;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		if (row->used.of[u] < 0)
			return ERR_RANGE;
	if (find_row(budget, row->scope, row->key) != NO_ROW)
		return ERR_EXISTS;
	e = take_row(budget, row->scope, row->key, row->day, &at);
	if (e == ERR_OK)
		budget->rows[at].data.used = budget->rows[at].data.durable =
			row->used;
	return e;
}

/* --- refusals ------------------------------------------------------------- */

static void put_amount(enum budget_unit unit, int64_t amount,
		       char ret_text[AMOUNT_BYTES])
{
	switch (unit) {
	case BUDGET_MICROUSD:
		(void)snprintf(ret_text, AMOUNT_BYTES,
			       "%" PRId64 ".%06" PRId64 " USD",
			       amount / 1000000, amount % 1000000);
		break;
	case BUDGET_TIME_MS:
		(void)snprintf(ret_text, AMOUNT_BYTES, "%" PRId64 " s",
			       amount / 1000);
		break;
	case BUDGET_REQUESTS:
	case BUDGET_TOKENS:
	case BUDGET_BYTES:
	case BUDGET_UNIT_COUNT:
		(void)snprintf(ret_text, AMOUNT_BYTES, "%" PRId64 " %s", amount,
			       unit_texts[unit]);
		break;
	}
}

static void put_refusal(struct budget_refusal *refusal)
{
	static const char *const whose[BUDGET_SCOPE_COUNT] = {
		"this session's budget", "this user's budget of the day",
		"this host's budget of the day"};
	time_t reset_s = (time_t)(refusal->reset_wall_us / 1000000);
	char limit[AMOUNT_BYTES], used[AMOUNT_BYTES], when[64] = "";
	struct tm utc;

	put_amount(refusal->unit, refusal->limit, limit);
	put_amount(refusal->unit, refusal->used, used);
	if (refusal->reset_wall_us && gmtime_r(&reset_s, &utc))
		(void)strftime(when, sizeof(when),
			       "; it is new at "
			       "%Y-%m-%dT%H:%M:%SZ",
			       &utc);
	(void)snprintf(refusal->text, sizeof(refusal->text),
		       "%s is %s, of which %s are used or reserved%s",
		       whose[refusal->scope], limit, used, when);
}

static enum err check_row(const struct budget *budget, const struct row *row,
			  const struct budget_amounts *wanted,
			  struct budget_refusal *ret_refusal)
{
	enum budget_scope scope = row->data.scope;

	for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
		int64_t limit = budget->limits.of[scope].of[u];
		int64_t taken = add_amount(row->data.used.of[u],
					   row->data.reserved.of[u]);
		int64_t least = wanted->of[u] > 0 ? wanted->of[u] : 1;

		if (limit == BUDGET_UNLIMITED ||
		    add_amount(taken, least) <= limit)
			continue;
		*ret_refusal = (struct budget_refusal){
			.scope = scope,
			.unit = (enum budget_unit)u,
			.limit = limit,
			.used = taken,
			.wanted = wanted->of[u],
			.reset_wall_us = scope == BUDGET_SESSION
						 ? 0
						 : (row->data.day + 1) * DAY_US,
		};
		put_refusal(ret_refusal);
		return ERR_DENIED;
	}
	return ERR_OK;
}

/* --- reserving and settling ----------------------------------------------- */

static struct reservation *new_reservation(struct budget *budget)
{
	uint32_t slot;

	if (budget->free_count)
		slot = budget->free_slots[--budget->free_count];
	else if (budget->touched < SLOTS)
		slot = budget->touched++;
	else
		return NULL;
	budget->sequence++;
	budget->reservations[slot].id = (budget->sequence * SLOTS) + slot;
	return &budget->reservations[slot];
}

/* Writes down what a row may have used by now, if that was not done yet. */
static enum err cover(struct budget *budget, struct row *row)
{
	const struct budget_amounts *limits =
		&budget->limits.of[row->data.scope];
	struct budget_row ahead = row->data;
	bool uncovered = false;
	enum err e;

	if (!budget->save)
		return ERR_OK;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
		int64_t taken = add_amount(row->data.used.of[u],
					   row->data.reserved.of[u]);

		if (taken <= row->data.durable.of[u])
			continue;
		ahead.durable.of[u] = taken;
		if (limits->of[u] == BUDGET_UNLIMITED)
			continue;
		ahead.durable.of[u] = add_amount(taken, limits->of[u] / BLOCKS);
		uncovered = true;
	}
	if (!uncovered)
		return ERR_OK;
	e = budget->save(budget->context, &ahead);
	if (e == ERR_OK)
		row->data.durable = ahead.durable;
	return e;
}

/* Finds the three rows and checks every limit; nothing is booked yet. */
static enum err check_limits(struct budget *budget,
			     const char *const keys[BUDGET_SCOPE_COUNT],
			     const struct budget_amounts *amounts, int64_t day,
			     struct budget_refusal *ret_refusal,
			     uint32_t rows[BUDGET_SCOPE_COUNT])
{
	enum err e = ERR_OK;

	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		if (amounts->of[u] < 0)
			return ERR_RANGE;
	for (int s = 0; e == ERR_OK && s < BUDGET_SCOPE_COUNT; s++)
		e = take_row(budget, (enum budget_scope)s, keys[s], day,
			     &rows[s]);
	for (int s = 0; e == ERR_OK && s < BUDGET_SCOPE_COUNT; s++)
		e = check_row(budget, &budget->rows[rows[s]], amounts,
			      ret_refusal);
	return e;
}

static void unbook(struct budget *budget, struct reservation *r)
{
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++) {
		struct row *row = &budget->rows[r->rows[s]];

		row->open--;
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
			row->data.reserved.of[u] -= r->amounts.of[u];
	}
	budget->free_slots[budget->free_count++] =
		(uint32_t)(r - budget->reservations);
	r->id = 0;
}

static enum err book(struct budget *budget,
		     const uint32_t rows[BUDGET_SCOPE_COUNT],
		     const struct budget_amounts *amounts,
		     uint64_t *ret_reservation)
{
	struct reservation *reservation = new_reservation(budget);
	enum err e = ERR_OK;

	if (!reservation)
		return ERR_LIMIT;
	reservation->amounts = *amounts;
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++) {
		struct row *row = &budget->rows[rows[s]];

		reservation->rows[s] = rows[s];
		reservation->days[s] = row->data.day;
		row->open++;
		for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
			row->data.reserved.of[u] =
				add_amount(row->data.reserved.of[u],
					   amounts->of[u]);
	}
	for (int s = 0; e == ERR_OK && s < BUDGET_SCOPE_COUNT; s++)
		e = cover(budget, &budget->rows[rows[s]]);
	if (e == ERR_OK)
		*ret_reservation = reservation->id;
	else
		unbook(budget, reservation);
	return e;
}

/**
 * budget_reserve() - Set amounts aside before they are used
 * @budget:		Ledger
 * @session:		Session
 * @user:		Its user
 * @amounts:		What may be used; 0 where it is not known
 * @now_wall_us:	Wall clock, microseconds since 1970
 * @ret_refusal:	Written for every failure; a reason in words
 * @ret_reservation:	For budget_settle(); never 0; written on success
 *
 * Return: ERR_OK; ERR_DENIED when a limit would be passed; ERR_RANGE for
 *	   negative amounts or long names; ERR_LIMIT when the ledger is full;
 *	   ERR_STORAGE when it cannot be written.
 */
enum err budget_reserve(struct budget *budget, const char *session,
			const char *user, const struct budget_amounts *amounts,
			int64_t now_wall_us, struct budget_refusal *ret_refusal,
			uint64_t *ret_reservation)
{
	const char *const keys[BUDGET_SCOPE_COUNT] = {session, user, ""};
	uint32_t rows[BUDGET_SCOPE_COUNT] = {0};
	enum err e = check_limits(budget, keys, amounts, now_wall_us / DAY_US,
				  ret_refusal, rows);

	if (e == ERR_OK)
		e = book(budget, rows, amounts, ret_reservation);
	if (e != ERR_OK && e != ERR_DENIED) {
		*ret_refusal = (struct budget_refusal){0};
		(void)snprintf(ret_refusal->text, sizeof(ret_refusal->text),
			       "the budget's ledger: %s", err_text(e));
	}
	return e;
}

static void settle_row(struct budget *budget, struct row *row,
		       const struct budget_amounts *reserved,
		       const struct budget_amounts *amounts)
{
	row->open--;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
		row->data.reserved.of[u] -= reserved->of[u];
		row->data.used.of[u] =
			add_amount(row->data.used.of[u], amounts->of[u]);
	}
	/* More than was reserved: a failure shows with the next reserve. */
	(void)!cover(budget, row);
	if (row->ended && row->open == 0)
		row->used = false;
}

/**
 * budget_settle() - Replace a reservation by what was really used
 * @budget:		Ledger
 * @reservation:	From budget_reserve(); spent by this call
 * @amounts:		What was used; all 0 when nothing was sent
 *
 * Return: ERR_OK; ERR_NOT_FOUND for a number that is not open; ERR_RANGE for
 *	   negative amounts, which leave the reservation open.
 */
enum err budget_settle(struct budget *budget, uint64_t reservation,
		       const struct budget_amounts *amounts)
{
	uint32_t slot = (uint32_t)(reservation % SLOTS);
	struct reservation *r = &budget->reservations[slot];

	if (reservation == 0 || r->id != reservation)
		return ERR_NOT_FOUND;
	for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
		if (amounts->of[u] < 0)
			return ERR_RANGE;
	for (int s = 0; s < BUDGET_SCOPE_COUNT; s++) {
		struct row *row = &budget->rows[r->rows[s]];

		if (row->used && row->data.scope == (enum budget_scope)s &&
		    row->data.day == r->days[s])
			settle_row(budget, row, &r->amounts, amounts);
	}
	r->id = 0;
	budget->free_slots[budget->free_count++] = slot;
	return ERR_OK;
}

/** budget_changes() - A number that changes with every reservation */
uint64_t budget_changes(const struct budget *budget)
{
	return budget->sequence;
}

/** budget_written() - The whole ledger was written as it stands */
void budget_written(struct budget *budget)
{
	for (size_t i = 0; i < budget->row_count; i++) {
		struct budget_row *row = &budget->rows[i].data;

		for (int u = 0; budget->rows[i].used && u < BUDGET_UNIT_COUNT;
		     u++)
			row->durable.of[u] = add_amount(row->used.of[u],
							row->reserved.of[u]);
	}
}

/**
 * budget_end_session() - Forget a session's row
 * @budget:	Ledger
 * @session:	Session; what it still holds reserved can be settled
 */
void budget_end_session(struct budget *budget, const char *session)
{
	uint32_t at = find_row(budget, BUDGET_SESSION, session);

	if (at == NO_ROW)
		return;
	budget->rows[at].ended = true;
	if (budget->rows[at].open == 0)
		budget->rows[at].used = false;
}

/* --- questions ------------------------------------------------------------ */

/** budget_row_count() - How many rows the ledger has */
size_t budget_row_count(const struct budget *budget)
{
	size_t count = 0;

	for (size_t i = 0; i < budget->row_count; i++)
		count += budget->rows[i].used;
	return count;
}

/** budget_row_at() - A row by number, below budget_row_count() */
const struct budget_row *budget_row_at(const struct budget *budget,
				       size_t index)
{
	for (size_t i = 0; i < budget->row_count; i++)
		if (budget->rows[i].used && index-- == 0)
			return &budget->rows[i].data;
	return NULL;
}

/**
 * budget_usage() - What was used of a budget so far
 * @budget:		Ledger
 * @scope:		Whose
 * @key:		Session or user; "" for the host
 * @now_wall_us:	Wall clock; what was used on an earlier day is none
 * @ret_used:		Always written; reservations are not counted
 */
void budget_usage(const struct budget *budget, enum budget_scope scope,
		  const char *key, int64_t now_wall_us,
		  struct budget_amounts *ret_used)
{
	uint32_t at = find_row(budget, scope, key);

	*ret_used = (struct budget_amounts){0};
	if (at == NO_ROW)
		return;
	if (scope == BUDGET_SESSION ||
	    budget->rows[at].data.day >= now_wall_us / DAY_US)
		*ret_used = budget->rows[at].data.used;
}
