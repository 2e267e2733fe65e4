/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_qmp.c - the monitor's client, against QEMU and against nonsense
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/qmp.h"

#define GREETING                                                           \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2," \
	" \"major\": 7}, \"package\": \"Debian\"}, \"capabilities\": "     \
	"[\"oob\"]"                                                        \
	"}}\r\n"

static struct qmp *qmp;
static int qemu; /* QEMU's end */
static unsigned ready_count, answer_count;
static char last_event[QMP_EVENT_BYTES], last_text[256], version[64];
static enum err last_error;
static uint64_t last_id;

static void on_ready(void *arg, const char *text)
{
	(void)arg;
	(void)strncpy(version, text, sizeof(version) - 1);
	ready_count++;
}

static void on_event(void *arg, const char *name)
{
	(void)arg;
	(void)strncpy(last_event, name, sizeof(last_event) - 1);
}

static void on_answer(void *arg, uint64_t id, enum err e, struct span text)
{
	(void)arg;
	last_id = id;
	last_error = e;
	assert_int_equal(span_copy_text(text, last_text, sizeof(last_text)),
			 ERR_OK);
	answer_count++;
}

static const struct qmp_events events = {on_ready, on_event, on_answer};

static int setup(void **state)
{
	int pair[2];

	(void)state;
	ready_count = answer_count = 0;
	last_event[0] = '\0';
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	qemu = pair[0];
	return qmp_new(pair[1], &events, NULL, &qmp) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	qmp_free(qmp);
	close(qemu);
	return 0;
}

static enum err say(const char *text)
{
	assert_int_equal(write(qemu, text, strlen(text)), strlen(text));
	return qmp_turn(qmp);
}

static void hear(const char *word)
{
	char got[512] = {0};

	assert_true(recv(qemu, got, sizeof(got) - 1, MSG_DONTWAIT) > 0);
	assert_non_null(strstr(got, word));
}

static void greet(void)
{
	assert_int_equal(say(GREETING), ERR_OK);
	hear("qmp_capabilities");
	assert_int_equal(say("{\"return\": {}, \"id\": 0}\r\n"), ERR_OK);
	assert_int_equal(ready_count, 1);
}

static void handshake_makes_ready(void **state)
{
	(void)state;
	assert_int_equal(qmp_send(qmp, "quit", NULL), ERR_STATE);
	greet();
	assert_string_equal(version, "7.2.22");
	assert_true(qmp_is_ready(qmp));
}

static void command_is_answered(void **state)
{
	uint64_t id;

	(void)state;
	greet();
	assert_int_equal(qmp_send(qmp, "query-status", &id), ERR_OK);
	hear("query-status");
	assert_int_equal(say("{\"return\": {\"running\": true}, \"id\": 1}\n"),
			 ERR_OK);
	assert_int_equal(last_id, id);
	assert_int_equal(last_error, ERR_OK);
}

static void refusal_carries_its_text(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_send(qmp, "nonsense", NULL), ERR_OK);
	assert_int_equal(say("{\"id\": 1, \"error\": {\"class\": "
			     "\"CommandNotFound\", \"desc\": \"not found\"}}"
			     "\n"),
			 ERR_OK);
	assert_int_equal(last_error, ERR_STATE);
	assert_string_equal(last_text, "not found");
}

static void events_may_come_between(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_send(qmp, "quit", NULL), ERR_OK);
	assert_int_equal(say("{\"timestamp\": {\"seconds\": 1, "
			     "\"microseconds\": 2}, \"event\": \"SHUTDOWN\", "
			     "\"data\": {\"guest\": false}}\n"
			     "{\"return\": {}, \"id\": 1}\n"),
			 ERR_OK);
	assert_string_equal(last_event, "SHUTDOWN");
	assert_int_equal(answer_count, 1);
}

static void lines_may_come_in_pieces(void **state)
{
	const char *at;

	(void)state;
	for (at = GREETING; *at; at++) {
		assert_int_equal(write(qemu, at, 1), 1);
		assert_int_equal(qmp_turn(qmp), ERR_OK);
	}
	hear("qmp_capabilities");
}

static void refused(enum err e)
{
	assert_int_equal(e, ERR_FORMAT);
	assert_non_null(qmp_fault(qmp));
}

static void bad_greeting_is_refused(void **state)
{
	(void)state;
	refused(say("{\"return\": {}}\n"));
}

static void broken_json_is_refused(void **state)
{
	(void)state;
	refused(say("{\"QMP\": \n"));
}

static void endless_line_is_refused(void **state)
{
	static char part[8192];
	enum err e = ERR_OK;
	size_t sent;

	(void)state;
	memset(part, ' ', sizeof(part));
	for (sent = 0; e == ERR_OK && sent <= QMP_LINE_MAX_BYTES;
	     sent += sizeof(part)) {
		assert_int_equal(write(qemu, part, sizeof(part)), sizeof(part));
		e = qmp_turn(qmp);
	}
	refused(e);
}

static void answer_to_nothing_is_refused(void **state)
{
	(void)state;
	greet();
	refused(say("{\"return\": {}, \"id\": 1}\n"));
}

static void answers_out_of_order_are_refused(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_send(qmp, "stop", NULL), ERR_OK);
	assert_int_equal(qmp_send(qmp, "cont", NULL), ERR_OK);
	refused(say("{\"return\": {}, \"id\": 2}\n"));
}

static void answer_without_number_is_refused(void **state)
{
	(void)state;
	greet();
	assert_int_equal(qmp_send(qmp, "stop", NULL), ERR_OK);
	refused(say("{\"return\": {}}\n"));
}

static void full_host_is_seen_in_the_event(void **state)
{
	(void)state;
	greet();
	assert_int_equal(
		say("{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": "
		    "\"\", \"reason\": \"No space left on device\"}}\n"),
		ERR_OK);
	assert_string_equal(last_event, "BLOCK_IO_ERROR");
	assert_true(qmp_event_no_space(qmp));
	assert_int_equal(say("{\"event\": \"BLOCK_IO_ERROR\", \"data\": "
			     "{\"reason\": \"Input/output error\"}}\n"),
			 ERR_OK);
	assert_false(qmp_event_no_space(qmp));
}

static void hostile_event_name_is_refused(void **state)
{
	(void)state;
	greet();
	refused(say("{\"event\": \"\\u001b[2J\"}\n"));
}

static void unanswered_commands_are_limited(void **state)
{
	enum err e = ERR_OK;
	unsigned i;

	(void)state;
	greet();
	for (i = 0; i < 100 && e == ERR_OK; i++)
		e = qmp_send(qmp, "query-status", NULL);
	assert_int_equal(e, ERR_LIMIT);
}

static void end_is_told(void **state)
{
	(void)state;
	greet();
	assert_int_equal(shutdown(qemu, SHUT_RDWR), 0);
	assert_int_equal(qmp_turn(qmp), ERR_CLOSED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(handshake_makes_ready),
		T(command_is_answered),
		T(refusal_carries_its_text),
		T(events_may_come_between),
		T(lines_may_come_in_pieces),
		T(bad_greeting_is_refused),
		T(broken_json_is_refused),
		T(endless_line_is_refused),
		T(answer_to_nothing_is_refused),
		T(answers_out_of_order_are_refused),
		T(answer_without_number_is_refused),
		T(full_host_is_seen_in_the_event),
		T(hostile_event_name_is_refused),
		T(unanswered_commands_are_limited),
		T(end_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
