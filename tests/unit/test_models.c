/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_models.c - the tables of models agree with themselves
 *
 * Runs in: the test machine.
 * Trusts:  nothing.
 * Never:   repeats a figure of the tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/providers/provider.h"

#define PRICE_MAX_UUSD 1000000000u

static void check_prices(const struct provider_model *m)
{
	/* Both, or not known; a cache is never dearer than twice the input. */
	assert_int_equal(m->input_uusd == 0, m->output_uusd == 0);
	assert_true(m->input_uusd <= PRICE_MAX_UUSD &&
		    m->output_uusd <= PRICE_MAX_UUSD);
	assert_true(m->input_uusd <= m->output_uusd);
	assert_true(m->cache_read_uusd <= m->input_uusd);
	assert_true(m->cache_write_uusd <= 2 * m->input_uusd);
	assert_true(m->output_tokens <= m->context_tokens);
}

static void check_route(const struct provider_kind *kind, const char *name)
{
	const struct provider_ask ask = {DIALECT_ANTHROPIC, ROUTE_MESSAGES,
					 span_text(name), true};
	struct provider_wire wire;

	assert_true(provider_wire(kind, 0, &ask, &wire));
	assert_non_null(provider_route(kind, 0, wire.route, ask.model));
}

static void test_every_model(void **state)
{
	const struct provider_kind *kind;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		for (size_t i = 0; i < kind->model_count; i++) {
			const struct provider_model *m = &kind->models[i];

			assert_true(m->name && m->name[0] && m->label &&
				    m->label[0]);
			check_prices(m);
			check_route(kind, m->name);
			/* No row hides another, whichever comes first. */
			assert_ptr_equal(provider_model(kind,
							span_text(m->name)),
					 m);
		}
	}
}

static void test_kinds_and_their_tables(void **state)
{
	const struct provider_kind *kind;

	(void)state;
	for (size_t k = 0; (kind = provider_at(k)) != NULL; k++) {
		bool lists = false;

		for (size_t i = 0; i < kind->route_count; i++)
			lists = lists || kind->routes[i].route == ROUTE_MODELS;
		assert_int_equal(lists,
				 (kind->capabilities & PROVIDER_CAN_LIST) != 0);
		/* Who lists none has some to answer with. */
		if (!lists && (kind->capabilities & PROVIDER_CALLS_MODEL))
			assert_true(kind->model_count > 0);
		assert_int_equal(kind->model_count == 0, kind->models == NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_model),
		cmocka_unit_test(test_kinds_and_their_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
