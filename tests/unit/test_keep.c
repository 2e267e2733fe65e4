/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_keep.c - a child without core: who may adopt it, and when it ends
 *
 * Runs in: the test machine, as both sides of real sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/proto/keep.h"
#include "tests/lib/rig.h"

#define SESSION "abcdefghjkmn"

static uv_loop_t loop;
static char folder[128];
static struct sockaddr_un address;

/* The child: a gate whose channel to core is ours. */
static struct {
	struct keep *keep;
	struct chan *core;
	bool lost, ends, adopted, given_up;
	char why[128];
} child;

/* The engine that comes; NULL until connected. */
static struct {
	struct chan *chan;
	bool greeted, closed;
	uint32_t version;
} engine;

static enum err child_message(struct chan *c, void *context,
			      struct chan_message *m)
{
	(void)context;
	return keep_takes(m->type) ? keep_on_message(child.keep, c, m)
				   : ERR_STATE;
}

static void child_closed(struct chan *c, void *context, enum err reason)
{
	(void)context;
	child.lost = true;
	child.ends = !keep_lost_core(child.keep, c, reason);
}

static const struct chan_handler child_handler = {child_message, child_closed};

static void on_adopted(void *context, struct chan *core, uint64_t away_ns)
{
	(void)context;
	assert_true(away_ns < UINT64_C(60000000000));
	chan_free(child.core);
	child.core = core;
	child.adopted = true;
}

static void on_given_up(void *context, const char *why)
{
	(void)context;
	child.given_up = true;
	(void)snprintf(child.why, sizeof(child.why), "%s", why);
}

static const struct keep_handler keep_handler = {on_adopted, on_given_up};

static enum err engine_message(struct chan *c, void *context,
			       struct chan_message *m)
{
	struct msg_hello hello;

	(void)c;
	(void)context;
	assert_int_equal(m->type, MSG_HELLO);
	assert_int_equal(msg_hello_get(m->payload, &hello), ERR_OK);
	engine.version = hello.version;
	engine.greeted = true;
	return ERR_OK;
}

static void engine_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	(void)reason;
	engine.closed = true;
}

static const struct chan_handler engine_handler = {engine_message,
						   engine_closed};

static bool is_set(void *context)
{
	return *(bool *)context;
}

static void wait_until(bool *flag)
{
	assert_true(rig_wait(&loop, is_set, flag));
}

static int bound_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);

	(void)unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	return fd;
}

static int connect_now(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A child and the old core's end of its channel. */
static struct chan *begin(void)
{
	struct chan *core;
	int pair[2];

	memset(&child, 0, sizeof(child));
	memset(&engine, 0, sizeof(engine));
	assert_int_equal(keep_new(&loop, ROLE_GATE, &child_handler,
				  &keep_handler, NULL, &child.keep),
			 ERR_OK);
	assert_int_equal(chan_pair(pair), ERR_OK);
	assert_int_equal(chan_new(&loop, pair[0], ROLE_GATE, ROLE_CORE,
				  &child_handler, NULL, &child.core),
			 ERR_OK);
	assert_int_equal(chan_new(&loop, pair[1], ROLE_CORE, ROLE_GATE,
				  &engine_handler, NULL, &core),
			 ERR_OK);
	chan_set_state(child.core, S_RUN);
	return core;
}

static void survive(struct chan *core, uint32_t uid, uint32_t adopt_ms)
{
	struct msg_survive m = {.session = span_text(SESSION),
				.uid = uid,
				.adopt_ms = adopt_ms};
	int fd = bound_socket();

	assert_int_equal(chan_send_survive(core, &m, &fd, 1), ERR_OK);
}

static void lose(struct chan *core)
{
	chan_free(core);
	wait_until(&child.lost);
}

static void come(void)
{
	int fd = connect_now();

	assert_true(fd >= 0);
	memset(&engine, 0, sizeof(engine));
	assert_int_equal(chan_new(&loop, fd, ROLE_CORE, ROLE_GATE,
				  &engine_handler, NULL, &engine.chan),
			 ERR_OK);
}

static void adopt(uint32_t version, const char *session)
{
	struct msg_adopt m = {.version = version,
			      .session = span_text(session)};

	assert_int_equal(chan_send_adopt(engine.chan, &m, NULL, 0), ERR_OK);
}

static int end(void **state)
{
	(void)state;
	chan_free(engine.chan);
	chan_free(child.core);
	engine.chan = child.core = NULL;
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	return 0;
}

static void without_survive_the_end_is_the_end(void **state)
{
	(void)state;
	lose(begin());
	assert_true(child.ends);
}

static void a_dismissed_child_ends_with_its_channel(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 60000);
	assert_int_equal(chan_send_dismiss(core, &(struct msg_dismiss){0}, NULL,
					   0),
			 ERR_OK);
	lose(core);
	assert_true(child.ends);
	assert_int_equal(connect_now(), -1);
}

static void a_core_that_breaks_the_rules_is_not_waited_for(void **state)
{
	struct chan *core = begin();
	struct msg_vm_stop m = {.kill = 1};

	(void)state;
	survive(core, getuid(), 60000);
	/* No message for a gate: our side refuses to send it. */
	assert_int_equal(chan_send_vm_stop(core, &m, NULL, 0), ERR_INTERNAL);
	assert_int_equal(chan_send_resume(core, &(struct msg_resume){0}, NULL,
					  0),
			 ERR_OK);
	wait_until(&child.lost);
	assert_true(child.ends);
	chan_free(core);
}

static void nobody_is_let_in_while_core_is_there(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 60000);
	assert_int_equal(chan_flush(core), ERR_OK);
	(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(connect_now(), -1);
	assert_int_equal(errno, ECONNREFUSED);
	lose(core);
	assert_false(child.ends);
	assert_true(keep_is_away(child.keep));
}

static void a_new_engine_adopts_it_and_again(void **state)
{
	struct chan *core = begin();
	int turn;

	(void)state;
	for (turn = 0; turn < 3; turn++) {
		survive(core, getuid(), 60000);
		child.lost = child.adopted = false;
		lose(core);
		assert_false(child.ends);
		come();
		wait_until(&engine.greeted);
		assert_int_equal(engine.version, PROTO_VERSION);
		adopt(PROTO_VERSION, SESSION);
		wait_until(&child.adopted);
		assert_false(keep_is_away(child.keep));
		assert_int_equal(connect_now(), -1);
		core = engine.chan;
		engine.chan = NULL;
	}
	chan_free(core);
}

static void an_engine_that_leaves_again_is_forgotten(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 60000);
	lose(core);
	come();
	wait_until(&engine.greeted);
	child.lost = false;
	chan_free(engine.chan);
	wait_until(&child.lost);
	assert_false(child.ends);
	come();
	adopt(PROTO_VERSION, SESSION);
	wait_until(&child.adopted);
}

static void another_session_is_no_reason_to_end(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 60000);
	lose(core);
	child.lost = false;
	come();
	adopt(PROTO_VERSION, "nmkjhgfedcba");
	wait_until(&child.lost);
	assert_false(child.ends);
	assert_false(child.adopted);
	assert_true(keep_is_away(child.keep));
}

static void another_version_ends_it_with_that_reason(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 60000);
	lose(core);
	come();
	adopt(PROTO_VERSION + 1, SESSION);
	wait_until(&child.given_up);
	assert_non_null(strstr(child.why, "protocol"));
	assert_false(child.adopted);
}

static void another_user_is_not_even_greeted(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid() + 1, 60000);
	lose(core);
	come();
	wait_until(&engine.closed);
	assert_false(engine.greeted);
	assert_true(keep_is_away(child.keep));
}

static void nobody_in_time_ends_it(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), 1);
	lose(core);
	wait_until(&child.given_up);
	assert_non_null(strstr(child.why, "in time"));
	assert_int_equal(connect_now(), -1);
}

static void a_deadline_out_of_range_is_refused(void **state)
{
	struct chan *core = begin();

	(void)state;
	survive(core, getuid(), KEEP_ADOPT_MAX_MS + 1);
	wait_until(&child.lost);
	assert_true(child.ends);
	chan_free(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(without_survive_the_end_is_the_end,
					  end),
		cmocka_unit_test_teardown(
			a_dismissed_child_ends_with_its_channel, end),
		cmocka_unit_test_teardown(
			a_core_that_breaks_the_rules_is_not_waited_for, end),
		cmocka_unit_test_teardown(nobody_is_let_in_while_core_is_there,
					  end),
		cmocka_unit_test_teardown(a_new_engine_adopts_it_and_again,
					  end),
		cmocka_unit_test_teardown(
			an_engine_that_leaves_again_is_forgotten, end),
		cmocka_unit_test_teardown(another_session_is_no_reason_to_end,
					  end),
		cmocka_unit_test_teardown(
			another_version_ends_it_with_that_reason, end),
		cmocka_unit_test_teardown(another_user_is_not_even_greeted,
					  end),
		cmocka_unit_test_teardown(nobody_in_time_ends_it, end),
		cmocka_unit_test_teardown(a_deadline_out_of_range_is_refused,
					  end),
	};
	int failed;

	if (uv_loop_init(&loop) != 0 ||
	    rig_temp_dir(folder, sizeof(folder)) != 0)
		return 1;
	address.sun_family = AF_UNIX;
	(void)snprintf(address.sun_path, sizeof(address.sun_path),
		       "%.90s/keep.sock", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_remove_dir(folder);
	return failed;
}
