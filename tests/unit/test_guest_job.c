/* SPDX-License-Identifier: Apache-2.0 */
/* test_guest_job.c - programs with their readers; pumps between streams */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/job.h"
#include "guest/loop.h"
#include "guest/pump.h"

struct seen {
	struct job_reader reader;
	struct buf output;
	int32_t code;
	bool signalled, exited;
	bool is_full;
};

static struct watch children;

static void on_child(struct watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		process_reap_all();
}

static void on_output(struct job_reader *r, uint8_t stream, struct span data)
{
	struct seen *s = r->owner;

	(void)stream;
	assert_int_equal(buf_put_span(&s->output, data), ERR_OK);
}

static void on_flush(struct job_reader *r)
{
	(void)r;
}

static void on_exit_seen(struct job_reader *r, int32_t code, bool signalled)
{
	struct seen *s = r->owner;

	s->code = code;
	s->signalled = signalled;
	s->exited = true;
	loop_stop();
}

static void on_input_room(struct job_reader *r)
{
	(void)r;
}

static bool has_room(const struct job_reader *r)
{
	const struct seen *s = r->owner;

	return !s->is_full;
}

static int set_up(void **state)
{
	sigset_t set;

	(void)state;
	process_keep_user();
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int open_loop(void **state)
{
	sigset_t set;

	(void)state;
	assert_int_equal(loop_open(), ERR_OK);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	watch_init(&children, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC),
		   on_child, NULL);
	assert_int_equal(watch_set(&children, EPOLLIN), ERR_OK);
	return 0;
}

static int close_loop(void **state)
{
	(void)state;
	watch_fini(&children);
	(void)close(children.fd);
	loop_close();
	return 0;
}

static void seen_init(struct seen *s)
{
	*s = (struct seen){.reader = {.on_output = on_output,
				      .on_flush = on_flush,
				      .on_exit = on_exit_seen,
				      .on_input_room = on_input_room,
				      .has_room = has_room,
				      .owner = s}};
	buf_init(&s->output, 4u << 20);
}

static enum err start(const char *command, const char *name, bool tty,
		      struct job **ret_job)
{
	static char sh[] = "/bin/sh", c[] = "-c", path[] = "PATH=/bin:/usr/bin";
	char *env[] = {path, NULL};
	char *text = strdup(command);
	char *argv[] = {sh, c, text, NULL};
	struct process_spec spec = {.argv = argv,
				    .env = env,
				    .cwd = "/",
				    .tty = tty,
				    .rows = 10,
				    .columns = 20};
	enum err e;

	assert_non_null(text);
	e = job_start(&spec, name, NULL, ret_job);
	free(text);
	return e;
}

static void runs_to_its_exit(void **state)
{
	struct seen s;
	struct job *job;

	(void)state;
	seen_init(&s);
	assert_int_equal(start("cat; echo end; exit 5", NULL, false, &job),
			 ERR_OK);
	job_attach(job, &s.reader);
	assert_int_equal(job_input(job, span_text("input\n")), ERR_OK);
	job_end_input(job);
	loop_run();
	assert_true(s.exited);
	assert_int_equal(s.code, 5);
	assert_false(s.signalled);
	assert_true(span_is(buf_span(&s.output), "input\nend\n"));
	job_leave(&s.reader);
	buf_fini(&s.output);
}

static void has_a_terminal_of_the_right_size(void **state)
{
	struct seen s;
	struct job *job;

	(void)state;
	seen_init(&s);
	assert_int_equal(start("stty size", NULL, true, &job), ERR_OK);
	job_attach(job, &s.reader);
	loop_run();
	assert_true(span_is(buf_span(&s.output), "10 20\r\n"));
	job_leave(&s.reader);
	buf_fini(&s.output);
}

static void is_signalled(void **state)
{
	struct seen s;
	struct job *job;

	(void)state;
	seen_init(&s);
	assert_int_equal(start("sleep 60", NULL, false, &job), ERR_OK);
	job_attach(job, &s.reader);
	job_signal(job, SIGTERM);
	loop_run();
	assert_true(s.signalled);
	assert_int_equal(s.code, SIGTERM);
	job_leave(&s.reader);
	buf_fini(&s.output);
}

static void is_kept_and_replayed(void **state)
{
	struct seen s, late;
	struct job *job, *other;

	(void)state;
	seen_init(&s);
	seen_init(&late);
	assert_int_equal(start("echo kept; exit 3", "main", false, &job),
			 ERR_OK);
	assert_int_equal(start("true", "main", false, &other), ERR_EXISTS);
	job_attach(job, &s.reader);
	loop_run();
	job_leave(&s.reader);
	assert_ptr_equal(job_find(span_text("main")), job);
	job_attach(job, &late.reader);
	assert_true(late.exited);
	assert_int_equal(late.code, 3);
	assert_true(span_is(buf_span(&late.output), "kept\n"));
	job_leave(&late.reader);
	buf_fini(&s.output);
	buf_fini(&late.output);
}

static void on_check(struct timer *timer)
{
	struct seen *s = timer->owner;

	/* The pipe is full by now, and nothing more may have been read. */
	assert_true(s->output.len_bytes <= 64 * 1024);
	s->is_full = false;
	job_resume(s->reader.job);
}

static void waits_for_a_full_reader(void **state)
{
	struct timer timer = {0};
	struct seen s;
	struct job *job;

	(void)state;
	seen_init(&s);
	assert_int_equal(start("head -c 1000000 /dev/zero", NULL, false, &job),
			 ERR_OK);
	s.is_full = true;
	job_attach(job, &s.reader);
	timer_start(&timer, 100 * LOOP_MS_NS, on_check, &s);
	loop_run();
	assert_int_equal(s.output.len_bytes, 1000000);
	job_leave(&s.reader);
	buf_fini(&s.output);
}

struct end {
	struct watch watch;
	size_t got_bytes;
};

static void on_end(struct watch *watch, uint32_t events)
{
	struct end *end = watch->owner;
	uint8_t data[4096];
	ssize_t n = read(watch->fd, data, sizeof(data));

	(void)events;
	if (n > 0)
		end->got_bytes += (size_t)n;
	else if (n == 0)
		loop_stop();
}

static void pump_passes_half_close_on(void **state)
{
	static uint8_t data[PUMP_BUFFER_MAX_BYTES];
	struct end end = {0};
	int a[2], b[2];
	struct span none = {0};

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a),
			 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b),
			 0);
	assert_int_equal(pump_start(a[1], b[1], span_text("first "), none),
			 ERR_OK);
	assert_int_equal(send(a[0], data, sizeof(data), MSG_NOSIGNAL),
			 sizeof(data));
	assert_int_equal(shutdown(a[0], SHUT_WR), 0);
	watch_init(&end.watch, b[0], on_end, &end);
	assert_int_equal(watch_set(&end.watch, EPOLLIN), ERR_OK);
	loop_run();
	assert_int_equal(end.got_bytes, sizeof(data) + 6);
	/* The other direction still works, and its end ends the pump. */
	assert_int_equal(pump_count(), 1);
	watch_fini(&end.watch);
	assert_int_equal(send(b[0], "back", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(shutdown(b[0], SHUT_WR), 0);
	end.got_bytes = 0;
	watch_init(&end.watch, a[0], on_end, &end);
	assert_int_equal(watch_set(&end.watch, EPOLLIN), ERR_OK);
	loop_run();
	assert_int_equal(end.got_bytes, 4);
	assert_int_equal(pump_count(), 0);
	watch_fini(&end.watch);
	(void)close(a[0]);
	(void)close(b[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_to_its_exit, open_loop,
						close_loop),
		cmocka_unit_test_setup_teardown(
			has_a_terminal_of_the_right_size, open_loop,
			close_loop),
		cmocka_unit_test_setup_teardown(is_signalled, open_loop,
						close_loop),
		cmocka_unit_test_setup_teardown(is_kept_and_replayed, open_loop,
						close_loop),
		cmocka_unit_test_setup_teardown(waits_for_a_full_reader,
						open_loop, close_loop),
		cmocka_unit_test_setup_teardown(pump_passes_half_close_on,
						open_loop, close_loop),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
