/* SPDX-License-Identifier: Apache-2.0 */
/* budget.h - requests, tokens, money, bytes and time: reserve, then settle */
#ifndef KENAZ_CORE_BUDGET_H
#define KENAZ_CORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define BUDGET_KEY_MAX_BYTES    40u /* session or user, with the NUL */
#define BUDGET_ROWS_MAX         4096u
#define BUDGET_RESERVATIONS_MAX 8192u
#define BUDGET_TEXT_BYTES       256u
#define BUDGET_UNLIMITED        INT64_MAX

enum budget_unit {
	BUDGET_REQUESTS,
	BUDGET_TOKENS,
	BUDGET_MICROUSD,
	BUDGET_BYTES,
	BUDGET_TIME_MS,
	BUDGET_UNIT_COUNT,
};

/* SESSION counts over its life; USER and HOST over one UTC day. */
enum budget_scope {
	BUDGET_SESSION,
	BUDGET_USER,
	BUDGET_HOST,
	BUDGET_SCOPE_COUNT,
};

struct budget_amounts {
	int64_t of[BUDGET_UNIT_COUNT];
};

struct budget_limits {
	struct budget_amounts of[BUDGET_SCOPE_COUNT];
};

/* One line of the ledger: what a key used and holds reserved. */
struct budget_row {
	enum budget_scope scope;
	char key[BUDGET_KEY_MAX_BYTES]; /* "" for the host */
	int64_t day;                    /* UTC days since 1970; -1: no day */
	struct budget_amounts used;
	struct budget_amounts reserved;
	struct budget_amounts durable; /* written down: never less is known */
};

/* Which limit refused, and when it will be new. */
struct budget_refusal {
	enum budget_scope scope;
	enum budget_unit unit;
	int64_t limit;
	int64_t used; /* reservations included */
	int64_t wanted;
	int64_t reset_wall_us; /* 0: never, the session's own limit */
	char text[BUDGET_TEXT_BYTES];
};

/*
 * Writes a row's durable amounts down before they are relied on. An error
 * refuses the reservation that needed it.
 */
typedef enum err (*budget_save_fn)(void *context, const struct budget_row *row);

struct budget;

void budget_limits_init(struct budget_limits *ret_limits);
void budget_limits_tighten(struct budget_limits *limits,
			   const struct budget_limits *other);
MUST_CHECK enum err budget_new(const struct budget_limits *limits,
			       budget_save_fn save, void *context,
			       struct budget **ret_budget);
void budget_free(struct budget *budget);
void budget_set_limits(struct budget *budget,
		       const struct budget_limits *limits);
MUST_CHECK enum err budget_restore(struct budget *budget,
				   const struct budget_row *row);

MUST_CHECK enum err
budget_reserve(struct budget *budget, const char *session, const char *user,
	       const struct budget_amounts *amounts, int64_t now_wall_us,
	       struct budget_refusal *ret_refusal, uint64_t *ret_reservation);
MUST_CHECK enum err budget_settle(struct budget *budget, uint64_t reservation,
				  const struct budget_amounts *amounts);
uint64_t budget_changes(const struct budget *budget);
void budget_written(struct budget *budget);
void budget_end_session(struct budget *budget, const char *session);
size_t budget_row_count(const struct budget *budget);
const struct budget_row *budget_row_at(const struct budget *budget,
				       size_t index);
void budget_usage(const struct budget *budget, enum budget_scope scope,
		  const char *key, int64_t now_wall_us,
		  struct budget_amounts *ret_used);

const char *budget_unit_text(enum budget_unit unit);
const char *budget_scope_text(enum budget_scope scope);

#endif
