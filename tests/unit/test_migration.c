/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_migration.c - the commands around saving and loading, against a QEMU
 * that answers as it should, late, or not at all
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/migration.h"

#define GREETING                                                     \
	"{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2," \
	"\"major\":7}},\"capabilities\":[]}}\n"

static uv_loop_t loop;
static struct qmp *qmp;
static struct migration *migration;
static int qemu; /* QEMU's end */
static unsigned done_count, resumed_count;
static enum err done_error, resumed_error;
static char done_text[MIGRATION_TEXT_BYTES];
static char heard[8192];

static void on_done(void *arg, enum err e, const char *text)
{
	(void)arg;
	done_count++;
	done_error = e;
	(void)snprintf(done_text, sizeof(done_text), "%s", text);
}

static void on_resumed(void *arg, enum err e)
{
	(void)arg;
	resumed_count++;
	resumed_error = e;
}

static const struct migration_events migration_handlers = {on_done, on_resumed};

static void on_ready(void *arg, const char *version)
{
	(void)arg;
	(void)version;
}

static void on_event(void *arg, const char *name)
{
	(void)arg;
	migration_event(migration, name);
}

static void on_answer(void *arg, uint64_t id, enum err e, struct span text)
{
	(void)arg;
	if (migration)
		migration_answer(migration, id, e, text);
}

static const struct qmp_events qmp_handlers = {on_ready, on_event, on_answer};

static void say(const char *text)
{
	assert_int_equal(write(qemu, text, strlen(text)), strlen(text));
	assert_int_equal(qmp_turn(qmp), ERR_OK);
}

/* All that was said since the last time; a passed descriptor is closed. */
static int hear(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	int fd = -1;

	heard[0] = '\0';
	for (;;) {
		size_t have = strlen(heard);
		struct iovec iov = {heard + have, sizeof(heard) - 1 - have};
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control.bytes,
				   .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(qemu, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n <= 0)
			return fd;
		heard[have + (size_t)n] = '\0';
		if (CMSG_FIRSTHDR(&m))
			memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	}
}

static void begin(enum migration_kind kind)
{
	assert_int_equal(migration_new(&loop, kind, qmp,
				       open("/dev/null", O_RDWR | O_CLOEXEC),
				       &migration_handlers, NULL, &migration),
			 ERR_OK);
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	done_count = resumed_count = 0;
	migration = NULL;
	if (uv_loop_init(&loop) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	qemu = pair[0];
	if (qmp_new(pair[1], &qmp_handlers, NULL, &qmp) != ERR_OK)
		return -1;
	say(GREETING);
	say("{\"return\":{},\"id\":0}\n");
	(void)hear();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	migration_free(migration);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	qmp_free(qmp);
	close(qemu);
	return uv_loop_close(&loop);
}

static void load_plugs_after_the_load_and_before_the_guest_runs(void **state)
{
	int fd;

	(void)state;
	begin(MIGRATION_LOAD);
	fd = hear();
	assert_true(fd >= 0);
	close(fd);
	assert_non_null(strstr(heard, "x-ignore-shared"));
	assert_non_null(strstr(heard, "migrate-incoming"));
	assert_null(strstr(heard, "device_add"));
	say("{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n"
	    "{\"return\":{},\"id\":3}\n");
	(void)hear();
	assert_non_null(strstr(heard, "query-migrate"));
	say("{\"return\":{\"status\":\"active\"},\"id\":4}\n");
	say("{\"event\":\"STOP\"}\n");
	(void)hear();
	assert_string_equal(heard, "");
	say("{\"event\":\"MIGRATION\"}\n");
	(void)hear();
	assert_non_null(strstr(heard, "query-migrate"));
	say("{\"return\":{\"status\":\"completed\"},\"id\":5}\n");
	(void)hear();
	assert_non_null(strstr(heard, "vhost-user-vsock-pci"));
	assert_null(strstr(heard, "cont"));
	assert_int_equal(done_count, 0);
	say("{\"return\":{},\"id\":6}\n");
	assert_int_equal(done_count, 1);
	assert_int_equal(done_error, ERR_OK);
	assert_int_equal(migration_resume(migration), ERR_OK);
	(void)hear();
	assert_non_null(strstr(heard, "\"cont\""));
	say("{\"return\":{},\"id\":7}\n");
	assert_int_equal(resumed_count, 1);
	assert_int_equal(resumed_error, ERR_OK);
}

static void save_stops_the_guest_first(void **state)
{
	int fd;

	(void)state;
	begin(MIGRATION_SAVE);
	fd = hear();
	assert_true(fd >= 0);
	close(fd);
	assert_true(strstr(heard, "\"stop\"") < strstr(heard, "\"migrate\""));
	say("{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n"
	    "{\"return\":{},\"id\":3}\n{\"return\":{},\"id\":4}\n");
	say("{\"return\":{\"status\":\"completed\"},\"id\":5}\n");
	assert_int_equal(done_count, 1);
	assert_int_equal(done_error, ERR_OK);
}

/* What QEMU says goes into a sentence for people, escaped. */
static void a_refusal_ends_it_once(void **state)
{
	(void)state;
	begin(MIGRATION_LOAD);
	say("{\"return\":{},\"id\":1}\n"
	    "{\"error\":{\"class\":\"G\",\"desc\":\"no\\u001b[2J\"},\"id\":2}\n"
	    "{\"error\":{\"class\":\"G\",\"desc\":\"again\"},\"id\":3}\n");
	assert_int_equal(done_count, 1);
	assert_int_equal(done_error, ERR_UPSTREAM);
	assert_non_null(strstr(done_text, "refused a step"));
	assert_null(strchr(done_text, '\x1b'));
}

static void a_failed_migration_is_told(void **state)
{
	(void)state;
	begin(MIGRATION_LOAD);
	say("{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n"
	    "{\"return\":{},\"id\":3}\n");
	say("{\"return\":{\"status\":\"failed\"},\"id\":4}\n");
	assert_int_equal(done_count, 1);
	assert_int_equal(done_error, ERR_UPSTREAM);
	assert_non_null(strstr(done_text, "failed"));
}

/* Without events the slow timer asks. */
static void it_is_polled_without_events(void **state)
{
	(void)state;
	begin(MIGRATION_SAVE);
	say("{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n"
	    "{\"return\":{},\"id\":3}\n{\"return\":{},\"id\":4}\n");
	say("{\"return\":{\"status\":\"active\"},\"id\":5}\n");
	close(hear());
	(void)uv_run(&loop, UV_RUN_ONCE);
	(void)hear();
	assert_non_null(strstr(heard, "query-migrate"));
}

static void a_refused_resume_is_told(void **state)
{
	(void)state;
	begin(MIGRATION_LOAD);
	assert_int_equal(migration_resume(migration), ERR_OK);
	say("{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n"
	    "{\"return\":{},\"id\":3}\n"
	    "{\"error\":{\"class\":\"G\",\"desc\":\"no\"},\"id\":4}\n");
	assert_int_equal(resumed_count, 1);
	assert_int_equal(resumed_error, ERR_STATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			load_plugs_after_the_load_and_before_the_guest_runs,
			setup, teardown),
		cmocka_unit_test_setup_teardown(save_stops_the_guest_first,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal_ends_it_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_failed_migration_is_told,
						setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_polled_without_events,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_refused_resume_is_told, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
