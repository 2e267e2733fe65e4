/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - core from its first file to its last event
 *
 * Runs in: kenazd.
 * Trusts:  its configuration and policy files, checked as they are read.
 * Never:   listens to clients before the log is open and the policy loaded.
 *
 * Start: folders -> configuration -> policy -> jail -> audit and broker (with
 * their release channel) -> scripted -> engine.start, config.loaded and
 * policy.loaded are written -> the control socket. Stop: sessions end ->
 * engine.stop -> audit commits, anchors and closes -> the process ends.
 */
#include "engine/core/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/core/accel.h"
#include "engine/core/adopt.h"
#include "engine/core/approving.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/budget_keep.h"
#include "engine/core/control.h"
#include "engine/core/handover.h"
#include "engine/core/image_trust.h"
#include "engine/core/keeping.h"
#include "engine/core/limits.h"
#include "engine/core/pool.h"
#include "engine/core/session.h"
#include "engine/core/spawner.h"
#include "engine/core/state_lock.h"
#include "engine/core/vault_client.h"
#include "engine/core/vsock_door.h"
#include "engine/proto/child.h"

#define TICK_MS             500u
#define STOP_DEADLINE_NS    (15ull * 1000000000ull)
#define APPROVALS_A_SESSION 16u
#define SCRIPTED_PAUSE_NS   (1000000000ull)

static uint64_t stop_deadline_ns;

/** engine_now_ns() - Monotonic clock */
uint64_t engine_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/** engine_wall_us() - Wall clock */
uint64_t engine_wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000ull + (uint64_t)t.tv_nsec / 1000u;
}

/** engine_next_request() - A number no message of this engine had yet */
uint64_t engine_next_request(struct engine *e)
{
	return ++e->next_request;
}

/** engine_scripted_answers() - Whether no model is called by default */
bool engine_scripted_answers(const struct engine *e)
{
	const struct config_provider *p = config_default_provider(e->config);

	return p && strcmp(p->kind, CONFIG_SCRIPTED) == 0;
}

/* --- start ---------------------------------------------------------------- */

static enum err fail(const char *text)
{
	log_error("%s", text);
	return ERR_CONFIG;
}

static enum err load_files(struct engine *e)
{
	struct conf_error error;
	enum err err;

	conf_error_init(&error);
	err = paths_join(e->paths.config.path, CONFIG_FILE_NAME, e->config_path,
			 sizeof(e->config_path));
	if (err == ERR_OK)
		err = config_load(e->config_path, &error, &e->config);
	if (err != ERR_OK)
		return fail(error.text);
	policy_sources_choose(PATHS_SYSTEM_CONFIG, e->paths.config.path,
			      e->paths.system, &e->policy_sources);
	err = policy_load(&e->policy_sources, &error, &e->policy);
	return err == ERR_OK ? ERR_OK : fail(error.text);
}

static enum err make_folders(struct engine *e)
{
	struct conf_error error;
	enum err err;

	conf_error_init(&error);
	err = paths_make_private(e->paths.state.path, &error);
	if (err == ERR_OK)
		err = paths_make_private(e->paths.runtime.path, &error);
	if (err != ERR_OK)
		return fail(error.text);
	err = state_lock_take(e->paths.state.path, e->paths.socket, &error,
			      &e->lock_fd);
	if (err != ERR_OK)
		return fail(error.text);
	e->survive = config_survives(e->config, e->paths.system) &&
		     !e->idle_exit && !e->dev_mock_vm;
	if (e->survive && keeping_prepare(e, &error) != ERR_OK)
		return fail(error.text);
	/* Numbers of an earlier engine are not given again in this boot. */
	if (e->survive)
		e->next_request = engine_now_ns() / 1000u;
	err = paths_join(e->paths.runtime.path, "scripted.sock",
			 e->scripted_socket, sizeof(e->scripted_socket));
	if (err == ERR_OK)
		err = paths_join(e->paths.state.path, "keys/log.key",
				 e->log_key_path, sizeof(e->log_key_path));
	return err;
}

static void on_scripted_gone(struct child *c, void *context, const char *why)
{
	struct engine *e = context;

	child_end(c);
	e->scripted = NULL;
	e->scripted_lost_ns = engine_now_ns();
	if (!e->stopping)
		log_error("the scripted provider was lost: %s", why);
}

static enum err start_scripted(struct engine *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	enum err err;
	int fd;

	if (text_format(address.sun_path, sizeof(address.sun_path), "%s",
			e->scripted_socket) != ERR_OK)
		return fail("the runtime folder's path is too long for a "
			    "socket; choose a shorter --runtime-dir");
	(void)unlink(e->scripted_socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_SYS;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 64) < 0) {
		close(fd);
		return ERR_SYS;
	}
	err = child_start(e, ROLE_SCRIPTED, "--listen-fd\n4", &fd, 1,
			  &e->scripted);
	if (err != ERR_OK)
		return err;
	e->scripted->context = e;
	e->scripted->on_gone = on_scripted_gone;
	return ERR_OK;
}

static enum err on_spawner_message(struct chan *c, void *context,
				   struct chan_message *m)
{
	(void)c;
	children_on_spawner(context, m);
	return ERR_OK;
}

static void on_spawner_closed(struct chan *c, void *context, enum err reason)
{
	struct engine *e = context;

	(void)c;
	(void)reason;
	if (e->stopping)
		return;
	log_error("the spawner was lost; the engine ends");
	e->exit_code = 1;
	engine_stop(e, "the spawner was lost");
}

static const struct chan_handler spawner_handler = {on_spawner_message,
						    on_spawner_closed};

static void finish_stop(struct engine *e)
{
	uv_stop(&e->loop);
}

static void note_stop(struct engine *e)
{
	struct buf b;

	budget_keep_note(e);
	buf_init(&b, 256);
	if (!e->leaving || attrs_put_u64(&b, "kenaz.sessions_left",
					 sessions_live(e)) == ERR_OK)
		audit_note(e, "engine.stop", NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

/* Sessions first, then the log: its last event says that it ends. */
static void drive_stop(struct engine *e)
{
	static bool written;
	bool late = engine_now_ns() > stop_deadline_ns;

	if (!late && (pool_machines(e) || (e->leaving ? !handover_is_due(e)
						      : sessions_live(e) > 0)))
		return;
	if (!written) {
		written = true;
		note_stop(e);
		audit_client_stop(e);
	}
	if (late || !audit_client_state(e)->ready)
		finish_stop(e);
}

static void on_tick(uv_timer_t *timer)
{
	struct engine *e = timer->data;
	uint64_t now = engine_now_ns();

	approving_pump(e);
	session_tick(e);
	pool_tick(e);
	adopt_tick(e);
	keeping_tick(e);
	children_tick(e);
	limits_engine_tick(e);
	vault_client_tick(e);
	budget_keep_tick(e);
	control_tick(e);
	if (e->stopping) {
		drive_stop(e);
		return;
	}
	if (!e->scripted && now - e->scripted_lost_ns > SCRIPTED_PAUSE_NS &&
	    start_scripted(e) != ERR_OK)
		e->scripted_lost_ns = now;
	if (sessions_live(e) || control_clients(e))
		e->idle_since_ns = now;
	if (e->idle_exit &&
	    now - e->idle_since_ns >
		    e->config->engine.exit_idle_s * 1000000000ull)
		engine_stop(e, "nobody needs it any more");
}

static void note_policy(struct engine *e)
{
	struct buf b;
	enum err err;

	buf_init(&b, 1024);
	err = attrs_put_text(&b, "kenaz.policy.digest",
			     span_text(policy_digest(e->policy)));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.policy.rules",
				    policy_rule_count(e->policy));
	if (err == ERR_OK)
		audit_note(e, "policy.loaded", NULL, NULL, buf_span(&b));
	buf_fini(&b);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct engine *e = handle->data;
	struct conf_error error;

	if (signum == SIGUSR2) {
		if (handover_begin(e, "SIGUSR2") != ERR_OK)
			log_warn("SIGUSR2: this engine does not keep its "
				 "sessions (engine.survive); it goes on");
		return;
	}
	if (signum != SIGHUP) {
		engine_stop(e, signum == SIGTERM ? "SIGTERM" : "SIGINT");
		return;
	}
	conf_error_init(&error);
	if (policy_reload(&e->policy, &e->policy_sources, &error) != ERR_OK) {
		log_error("the old policy stays: %s", error.text);
		return;
	}
	budget_set_limits(e->budget, policy_budgets(e->policy));
	note_policy(e);
}

static enum err start_clocks(struct engine *e)
{
	if (uv_timer_init(&e->loop, &e->tick) != 0 ||
	    uv_timer_init(&e->loop, &e->retry_timer) != 0 ||
	    uv_signal_init(&e->loop, &e->on_term) != 0 ||
	    uv_signal_init(&e->loop, &e->on_int) != 0 ||
	    uv_signal_init(&e->loop, &e->on_hup) != 0 ||
	    uv_signal_init(&e->loop, &e->on_leave) != 0)
		return ERR_SYS;
	e->on_leave.data = e;
	e->tick.data = e->on_term.data = e->on_int.data = e->on_hup.data = e;
	if (uv_signal_start(&e->on_term, on_signal, SIGTERM) != 0 ||
	    uv_signal_start(&e->on_int, on_signal, SIGINT) != 0 ||
	    uv_signal_start(&e->on_hup, on_signal, SIGHUP) != 0 ||
	    uv_signal_start(&e->on_leave, on_signal, SIGUSR2) != 0 ||
	    uv_timer_start(&e->tick, on_tick, TICK_MS, TICK_MS) != 0)
		return ERR_SYS;
	return ERR_OK;
}

/**
 * engine_start() - Bring core up as far as it goes without its children
 * @e:		Zeroed
 * @options:	From the command line, borrowed
 * @spawner_fd:	Channel of spawner_fork(), owned from here on
 *
 * The rest happens in engine_ready(), once audit and broker answered.
 *
 * Return: ERR_OK; any error, with a sentence on stderr.
 */
enum err engine_start(struct engine *e, const struct engine_options *options,
		      int spawner_fd)
{
	struct paths_environment environment;
	struct conf_error error;
	enum err err;

	LIST_INIT(&e->children);
	LIST_INIT(&e->sessions);
	e->uid = getuid();
	e->started_ns = e->idle_since_ns = engine_now_ns();
	e->dev_mock_vm = options->dev_mock_vm;
	e->idle_exit = options->idle_exit;
	e->new_origin = options->new_origin;
	conf_error_init(&error);
	paths_environment_read(&environment);
	err = paths_resolve(&options->paths, &environment, &error, &e->paths);
	if (err != ERR_OK)
		return fail(error.text);
	accel_find_images(e, options->image_dir);
	err = image_trust_find(e, options->image_keys);
	if (err == ERR_OK)
		err = load_files(e);
	if (err == ERR_OK)
		err = make_folders(e);
	if (err != ERR_OK)
		return err;
	vsock_door_clean(e);
	accel_read_cache(e);
	limits_open(e, spawner_pid());
	if (uv_loop_init(&e->loop) != 0)
		return ERR_SYS;
	if (jail_enter(JAIL_CORE) != ERR_OK)
		return fail("core's jail could not be built");
	err = chan_new(&e->loop, spawner_fd, ROLE_CORE, ROLE_SPAWNER,
		       &spawner_handler, e, &e->spawner);
	if (err != ERR_OK)
		return err;
	chan_set_state(e->spawner, S_RUN);
	err = start_clocks(e);
	if (err == ERR_OK)
		err = budget_keep_open(e, &error);
	if (err == ERR_CONFIG)
		return fail(error.text);
	if (err == ERR_OK)
		err = approvals_new(e->config->limits.approvals_max,
				    APPROVALS_A_SESSION,
				    e->config->limits.ask_timeout_s *
					    1000000000ull,
				    &e->approvals);
	if (err == ERR_OK)
		err = pool_new(e);
	if (err == ERR_OK)
		err = start_scripted(e);
	if (err == ERR_OK)
		err = vault_client_new(e);
	if (err == ERR_OK)
		err = broker_client_start(e);
	if (err == ERR_OK)
		err = audit_client_start(e);
	return err;
}

static void note_files(struct engine *e)
{
	struct buf b;
	enum err err;

	buf_init(&b, 4096);
	err = attrs_put_text(&b, "kenaz.config.digest",
			     span_text(e->config->digest));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.config.file",
				     span_text(e->config->file));
	if (err == ERR_OK)
		audit_note(e, "config.loaded", NULL, NULL, buf_span(&b));
	buf_fini(&b);
	note_policy(e);
}

static void on_started(void *context, struct audit_outcome *o)
{
	struct engine *e = context;
	enum err err;

	if (o->error != ERR_OK) {
		log_error("the log cannot be written: %s", o->text);
		e->exit_code = 1;
		engine_stop(e, "the log cannot be written");
		return;
	}
	note_files(e);
	if (e->control)
		return;
	budget_keep_begin(e);
	adopt_all(e);
	err = control_start(e);
	if (err != ERR_OK) {
		log_error("%s: %s", e->paths.socket,
			  err == ERR_EXISTS ? "an engine answers there already"
					    : strerror(errno));
		e->exit_code = 1;
		engine_stop(e, "no control socket");
		return;
	}
	log_info("ready on %s", e->paths.socket);
}

/** engine_ready() - A permanent child answered; go on when all have */
void engine_ready(struct engine *e)
{
	struct audit_event event = {.kind = "engine.start", .payload_fd = -1};
	struct buf b;
	enum err err;

	if (!broker_client_ready(e) || !audit_client_state(e)->ready ||
	    e->stopping || e->control)
		return;
	buf_init(&b, 2048);
	err = attrs_put_text(&b, "kenaz.version", span_text(KENAZ_VERSION));
	if (err == ERR_OK)
		err = attrs_put_bool(&b, "kenaz.isolation", !e->dev_mock_vm);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.mode",
				     span_text(e->paths.system ? "system"
							       : "user"));
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(e, &event, on_started, e);
	buf_fini(&b);
	if (err != ERR_OK) {
		struct audit_outcome o = {.error = err, .text = err_text(err)};

		on_started(e, &o);
	}
}

/* --- stop ----------------------------------------------------------------- */

/**
 * engine_stop() - Begin the end; the loop ends once everything has
 * @e:		Engine
 * @why:	For the log on stderr
 */
void engine_stop(struct engine *e, const char *why)
{
	if (e->stopping)
		return;
	e->stopping = true;
	stop_deadline_ns = engine_now_ns() + STOP_DEADLINE_NS;
	log_info("stopping: %s", why);
	control_stop(e);
	if (!e->leaving)
		sessions_end_all(e, "the engine stopped");
	pool_stop(e);
	if (!e->audit || !e->broker)
		finish_stop(e);
}
