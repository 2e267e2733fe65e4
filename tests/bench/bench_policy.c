/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_policy.c - decisions a second on one core, 200 rules
 *
 * Runs in: make bench.
 * Trusts:  nothing.
 * Never:   measures anything but policy_evaluate().
 *
 * Prints one JSON object, as build/bench.json has them. The requests are a
 * mix of what a session asks: model calls, tool calls with two arguments,
 * hosts that are allowed, denied and unknown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/core/policy.h"

#define RULES      200u
#define REQUESTS   64u
#define RUN_NS     UINT64_C(500000000)
#define RUNS       3u
#define TARGET     1000000u
#define LINE_BYTES 512u
#define ROUND      4096u

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 120 hosts, 30 suffixes, 30 tools, 10 arguments, 10 patterns of models. */
static enum err put_rule(struct buf *out, unsigned int i)
{
	static const char *const effects[] = {"allow", "deny", "allow", "ask"};
	const char *effect = effects[i % ARRAY_SIZE(effects)];
	enum err e =
		buf_printf(out, "[[rule]]\nid = \"r%u\"\neffect = \"%s\"\n", i,
			   effect);

	if (e != ERR_OK)
		return e;
	if (i < 120)
		return buf_printf(out,
				  "target = \"egress\"\n"
				  "host = [\"a%u.example\", \"b%u.example\"]\n"
				  "port = [443, 8443]\n",
				  i, i);
	if (i < 150)
		return buf_printf(out,
				  "target = \"egress\"\n"
				  "host = \"*.zone%u.example\"\n",
				  i);
	if (i < 180)
		return buf_printf(out, "target = \"tool\"\nname = \"tool%u\"\n",
				  i);
	if (i < 190)
		return buf_printf(out,
				  "target = \"tool\"\nname = \"write\"\n"
				  "args = [{ name = \"path\", under = "
				  "\"/secret%u\" }]\n",
				  i);
	return buf_printf(out,
			  "target = \"inference\"\nmodel = \"family%u-*\"\n",
			  i);
}

static const struct policy_arg args[] = {
	{{(const uint8_t *)"path", 4},
	 {(const uint8_t *)"/data/src/engine/core/policy.c", 30},
	 POLICY_ARG_WHOLE},
	{{(const uint8_t *)"content", 7},
	 {(const uint8_t *)"int main(void) { return 0; }", 28},
	 POLICY_ARG_WHOLE},
};

static void make_request(unsigned int i, char text[LINE_BYTES],
			 struct policy_request *ret_request)
{
	struct policy_request r = {.user = span_text("ann"),
				   .image = span_text("mini"),
				   .port = 443};
	const char *format;

	switch (i % 4) {
	case 0:
		r.target = POLICY_INFERENCE;
		format = "claude-sonnet-%u";
		break;
	case 1:
		r.target = POLICY_TOOL;
		format = i % 8 == 1 ? "write" : "tool%u";
		r.args = args;
		r.arg_count = ARRAY_SIZE(args);
		break;
	case 2:
		r.target = POLICY_EGRESS;
		format = "a%u.example";
		break;
	default:
		r.target = POLICY_EGRESS;
		format = "deep.name.zone%u.example";
		break;
	}
	/* The formats above are literals with at most one number. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(text, LINE_BYTES, format, 100 + i);
#pragma GCC diagnostic pop
	r.model = r.name = r.host = span_text(text);
	*ret_request = r;
}

/* Written and never read, so that no decision is optimised away. */
static volatile uint32_t sink;

static double run(const struct policy *policy,
		  const struct policy_request *requests)
{
	uint64_t start = now_ns(), spent = 0, count = 0;
	struct policy_decision d;

	while (spent < RUN_NS) {
		for (unsigned int i = 0; i < ROUND; i++) {
			policy_evaluate(policy, &requests[i % REQUESTS], &d);
			sink = d.matched_count;
		}
		count += ROUND;
		spent = now_ns() - start;
	}
	return (double)count * 1e9 / (double)spent;
}

int main(void)
{
	static char texts[REQUESTS][LINE_BYTES];
	struct policy_request requests[REQUESTS];
	struct policy *policy = NULL;
	struct policy_text text = {.file = "bench.toml"};
	struct conf_error error;
	double best = 0;
	struct buf b;

	buf_init(&b, CONF_TEXT_MAX_BYTES);
	for (unsigned int i = 0; i < RULES; i++)
		if (put_rule(&b, i) != ERR_OK)
			return EXIT_FAILURE;
	text.text = buf_span(&b);
	conf_error_init(&error);
	if (policy_parse(&text, 1, &error, &policy) != ERR_OK) {
		(void)fprintf(stderr, "%s\n", error.text);
		return EXIT_FAILURE;
	}
	for (unsigned int i = 0; i < REQUESTS; i++)
		make_request(i, texts[i], &requests[i]);
	for (unsigned int i = 0; i < RUNS; i++) {
		double rate = run(policy, requests);

		best = rate > best ? rate : best;
	}
	(void)printf("{\"policy_decisions_s\": {\"value\": %.0f, \"unit\": "
		     "\"decisions/s\", \"baseline\": null, \"target\": %u, "
		     "\"note\": \"%u rules, %u mixed requests, one core, CPU "
		     "time, best of %u runs of 0.5 s\"}}\n",
		     best, TARGET, RULES, REQUESTS, RUNS);
	policy_free(policy);
	buf_fini(&b);
	return EXIT_SUCCESS;
}
