/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_view.c - what people read: events, a session, choices
 *
 * Runs in: the unit test runner.
 * Trusts:  nothing.
 * Never:   needs an engine or a terminal.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/command.h"
#include "tui/event_summary.h"
#include "tui/output.h"
#include "tui/session_view.h"

static void expect_summary(const char *kind, const char *attrs,
			   const char *want)
{
	char text[EVENT_SUMMARY_MAX_BYTES], json[1024];
	cJSON *event;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"%s\",\"attrs\":{%s}}",
		       kind, attrs);
	event = cJSON_Parse(json);
	assert_non_null(event);
	event_summary(event, text, sizeof(text));
	assert_string_equal(text, want);
	cJSON_Delete(event);
}

static void test_summaries_say_what_matters(void **state)
{
	(void)state;
	expect_summary("prompt.sent",
		       "\"kenaz.provider\":\"scripted\","
		       "\"gen_ai.request.model\":\"default\","
		       "\"kenaz.request.bytes\":1306,\"x\":1",
		       "scripted/default 1306 B");
	expect_summary("tool.invoked",
		       "\"gen_ai.tool.name\":\"bash\","
		       "\"kenaz.policy.rule\":\"default.tool\"",
		       "bash allowed by default.tool");
	expect_summary("policy.deny",
		       "\"kenaz.policy.target\":\"tool\","
		       "\"gen_ai.tool.name\":\"bash\",\"kenaz.policy.rule\":"
		       "\"demo.no-recursive-delete\"",
		       "tool bash: rule demo.no-recursive-delete");
	expect_summary("policy.deny",
		       "\"kenaz.policy.target\":\"egress\","
		       "\"server.address\":\"example.com\",\"server.port\":80,"
		       "\"kenaz.policy.rule\":\"default.egress\"",
		       "egress example.com:80: rule default.egress");
	expect_summary("session.ready",
		       "\"kenaz.vm.accelerator\":\"tcg\","
		       "\"kenaz.stage_ms.hello\":2300",
		       "tcg 2.3 s");
	expect_summary("response.received",
		       "\"http.response.status_code\":200,"
		       "\"kenaz.response.bytes\":20480,\"kenaz.total_us\":621,"
		       "\"gen_ai.usage.input_tokens\":337,"
		       "\"gen_ai.usage.output_tokens\":17",
		       "HTTP 200 20.0 KiB in 0.6 ms, tokens: 337 in 17 out");
	expect_summary("response.received", "\"kenaz.error\":\"lost\"", "lost");
	expect_summary("policy.loaded",
		       "\"kenaz.policy.rules\":0,\"kenaz.policy.digest\":"
		       "\"62fbe9b2571da193a233bdc6cc91c132\"",
		       "rules: 0, digest 62fbe9b2571d");
	expect_summary("terminal.attached",
		       "\"kenaz.command\":\"sh\",\"kenaz.read_only\":false",
		       "sh");
	expect_summary("terminal.attached",
		       "\"kenaz.command\":\"sh\",\"kenaz.read_only\":true",
		       "sh (read only)");
	expect_summary("secret.used",
		       "\"kenaz.secret\":\"one\","
		       "\"kenaz.provider\":\"p\"",
		       "one for p");
	expect_summary("engine.stop", "", "");
	expect_summary("tool.invoked", "", "- allowed by -");
	expect_summary("of.tomorrow",
		       "\"kenaz.a\":1,\"b\":\"c\",\"d\":2,"
		       "\"e\":3",
		       "a=1 b=c d=2");
}

/* Guests and providers choose names, ids and reasons. */
static void test_hostile_values_stay_values(void **state)
{
	char text[EVENT_SUMMARY_MAX_BYTES], little[16];
	cJSON *event, *attrs;
	char name[4096];

	(void)state;
	expect_summary("tool.invoked",
		       "\"gen_ai.tool.name\":\"a\\n\\u001b[31m{x}[y]\","
		       "\"kenaz.policy.rule\":\"%s\"",
		       "a\\x0a\\x1b[31m{x}[y] allowed by %s");
	expect_summary("tool.completed",
		       "\"kenaz.gate_reported.result\":\"ok\","
		       "\"gen_ai.tool.call.id\":\"\303\251\303\251\303\251"
		       "\303\251\303\251\303\251a\"",
		       "ok (call \303\251\303\251\303\251\303\251\303\251a)");
	expect_summary("prompt.sent",
		       "\"kenaz.provider\":{\"a\":1},"
		       "\"kenaz.request.bytes\":\"many\"",
		       "{\"a\":1} many");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	event = cJSON_CreateObject();
	attrs = cJSON_AddObjectToObject(event, "attrs");
	assert_non_null(cJSON_AddStringToObject(event, "kind", "secret.set"));
	assert_non_null(cJSON_AddStringToObject(attrs, "kenaz.secret", name));
	event_summary(event, text, sizeof(text));
	assert_true(output_width(text) <= 60);
	assert_non_null(strstr(text, "\342\200\246"));
	event_summary(event, little, sizeof(little));
	assert_true(strlen(little) < sizeof(little));
	cJSON_Delete(event);
	event = cJSON_Parse("{\"kind\":7,\"attrs\":[1,\"x\"]}");
	event_summary(event, text, sizeof(text));
	cJSON_Delete(event);
}

static void test_session_shows_its_stages(void **state)
{
	cJSON *session = cJSON_Parse(
		"{\"session\":\"s1\",\"state\":\"ready\",\"user\":\"u\","
		"\"created\":1893553445,\"no_isolation\":false,"
		"\"stages\":[{\"name\":\"image verified\",\"ms\":123},"
		"{\"name\":\"a\\u001bb\",\"ms\":1180}],"
		"\"usage\":{\"requests\":5,\"bytes\":20380}}");
	const char *text = NULL;
	struct buf out;

	(void)state;
	buf_init(&out, OUTPUT_MAX_BYTES);
	assert_int_equal(session_view(session, &out), ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	assert_string_equal(text, "session          s1\n"
				  "state            ready\n"
				  "user             u\n"
				  "created          2030-01-02 03:04:05 UTC\n"
				  "\nstages\n"
				  "  image verified           123 ms\n"
				  "  a\\x1bb                  1057 ms\n"
				  "  total                   1180 ms\n"
				  "\nusage\n"
				  "  requests         5\n"
				  "  traffic          19.9 KiB\n");
	buf_fini(&out);
	cJSON_Delete(session);
}

static void test_choices_are_named(void **state)
{
	char text[256], little[8];

	(void)state;
	assert_int_equal(command_choices("secret", text, sizeof(text)), ERR_OK);
	assert_string_equal(text,
			    "set, list, remove, import, status, unlock and "
			    "rewrap");
	assert_int_equal(command_choices("secret", little, sizeof(little)),
			 ERR_OK);
	assert_true(strlen(little) < sizeof(little));
	assert_int_equal(command_choices("run", text, sizeof(text)),
			 ERR_NOT_FOUND);
	assert_int_equal(command_choices("sec", text, sizeof(text)),
			 ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summaries_say_what_matters),
		cmocka_unit_test(test_hostile_values_stay_values),
		cmocka_unit_test(test_session_shows_its_stages),
		cmocka_unit_test(test_choices_are_named),
	};

	/* Widths of characters depend on it. */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
