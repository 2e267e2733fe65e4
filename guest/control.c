/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the operations of the control stream, and the session's state
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host.
 * Never:   starts anything before a hello.
 */
#include "guest/control.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "engine/base/jsonw.h"
#include "guest/announce.h"
#include "guest/hello.h"
#include "guest/init.h"
#include "guest/loop.h"

#define CONTROL_GRACE_NS      (1500 * LOOP_MS_NS)
#define CONTROL_LINE_MAX      4096u
#define CONTROL_FAILED_CODE   125 /* Kenaz's own failure, as `kenaz run` */
#define CONTROL_DEFAULT_AGENT "kenaz-workbench"

struct machine machine;

static struct timer end_timer;

static void send_event(const char *event, const char *name, int32_t code,
		       bool has_code, bool signalled)
{
	struct buf line;
	struct jsonw w;
	enum err e;

	buf_init(&line, CONTROL_LINE_MAX);
	jsonw_init(&w, &line);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "event", event);
	jsonw_put_cstr(&w, "name", name);
	if (has_code) {
		jsonw_put_i64(&w, "code", code);
		jsonw_put_bool(&w, "signalled", signalled);
	}
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_text(&line, "\n");
	if (e == ERR_OK && machine.on_event)
		machine.on_event(buf_span(&line));
	buf_fini(&line);
}

static void on_kept_exit(const char *name, int32_t code, bool signalled)
{
	if (name[0] != '\0')
		send_event("exited", name, code, true, signalled);
}

/**
 * control_start_job() - Start what a request names, with the session's
 *			 environment
 * @r:		Exec or start
 * @name:	To keep it under, or NULL
 * @ret_job:	As job_start()
 *
 * Return: as job_start() and environment_set(); ERR_STATE before a hello or
 *	   while the machine ends.
 */
enum err control_start_job(const struct host_request *r, const char *name,
			   struct job **ret_job)
{
	static char agent[] = CONTROL_DEFAULT_AGENT;
	char *default_argv[] = {agent, NULL};
	struct environment env;
	struct process_spec spec;
	enum err e;

	if (!machine.has_hello || machine.is_ending)
		return ERR_STATE;
	environment_init(&env);
	e = environment_copy(&env, &machine.env);
	if (e == ERR_OK && r->tty)
		e = environment_set(&env, span_text("TERM"),
				    span_text("xterm-256color"));
	if (e == ERR_OK)
		e = environment_copy(&env, &r->env);
	spec = (struct process_spec){.argv = r->argc ? r->argv : default_argv,
				     .env = env.vars,
				     .cwd = r->cwd[0] ? r->cwd : machine.home,
				     .tty = r->tty,
				     .rows = r->rows,
				     .columns = r->columns};
	if (e == ERR_OK)
		e = job_start(&spec, name, on_kept_exit, ret_job);
	environment_fini(&env);
	return e;
}

static enum err take_hello(const struct host_request *r, struct buf *answer)
{
	enum err e = ERR_OK;

	if (machine.is_vm) {
		e = hello_seed(r);
		if (e == ERR_OK)
			e = hello_identify(r);
	}
	if (e == ERR_OK)
		e = environment_copy(&machine.env, &r->env);
	if (e == ERR_OK)
		e = hello_answer(r, answer);
	if (e != ERR_OK)
		return e;
	machine.has_hello = true;
	announce_stop();
	return ERR_OK;
}

static enum err take_start(const struct host_request *r, struct buf *answer)
{
	struct job *job;
	struct jsonw w;
	enum err e = control_start_job(r, r->name, &job);
	enum err finished;

	jsonw_init(&w, answer);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "event", e == ERR_OK ? "started" : "failed");
	jsonw_put_cstr(&w, "name", r->name);
	if (e != ERR_OK)
		jsonw_put_cstr(&w, "text", err_text(e));
	jsonw_end_object(&w);
	finished = jsonw_finish(&w);
	if (finished == ERR_OK)
		finished = buf_put_text(answer, "\n");
	/* Whoever waits for its end must not wait for ever. */
	if (finished == ERR_OK && e != ERR_OK)
		finished = buf_printf(answer,
				      "{\"event\":\"exited\",\"name\":\"%s\","
				      "\"code\":%d,\"signalled\":false}\n",
				      r->name, CONTROL_FAILED_CODE);
	return finished;
}

static void power_off(struct timer *timer)
{
	(void)timer;
	if (machine.is_vm) {
		(void)kill(-1, SIGKILL);
		init_power_off();
	}
	job_signal_all(SIGKILL);
	loop_stop();
}

/** control_end() - End every program, then the machine */
void control_end(void)
{
	if (machine.is_ending)
		return;
	machine.is_ending = true;
	announce_stop();
	if (machine.is_vm)
		(void)kill(-1, SIGTERM);
	else
		job_signal_all(SIGTERM);
	timer_start(&end_timer, CONTROL_GRACE_NS, power_off, NULL);
	control_child_ended();
}

/** control_child_ended() - While ending: do not wait for nobody */
void control_child_ended(void)
{
	siginfo_t info;

	if (!machine.is_ending || !end_timer.armed)
		return;
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
	    errno == ECHILD)
		timer_start(&end_timer, 0, power_off, NULL);
}

/**
 * control_take() - Do what a line of the control stream asks
 * @r:		Request
 * @answer:	Lines to send back are appended
 *
 * Return: ERR_OK; ERR_STATE when the operation is not one of the control
 *	   stream or comes before a hello; ERR_SYS; ERR_LIMIT; ERR_MEMORY.
 */
enum err control_take(const struct host_request *r, struct buf *answer)
{
	if (r->op == HOST_REQUEST_HELLO)
		return take_hello(r, answer);
	if (!machine.has_hello)
		return ERR_STATE;
	switch (r->op) {
	case HOST_REQUEST_START:
		return take_start(r, answer);
	case HOST_REQUEST_RESEED:
		return machine.is_vm ? hello_seed(r) : ERR_OK;
	case HOST_REQUEST_SHUTDOWN:
		control_end();
		return ERR_OK;
	case HOST_REQUEST_HELLO:
	case HOST_REQUEST_EXEC:
	case HOST_REQUEST_ATTACH:
		break;
	}
	return ERR_STATE;
}
