/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt.c - sessions that an earlier engine left behind
 *
 * Runs in: kenazd, once the log is open and engine.start is in it.
 * Trusts:  records in its own state folder for what they say, after the
 *	    processes they name were found where they should be.
 * Never:   lets a gate serve before session.adopted, with the gap, is durable;
 *	    kills a process whose start time is not the recorded one.
 *
 * For each record: a session in the state adopting -> both sockets connected,
 * the peers checked -> adopt and a new survive sent -> both views are here ->
 * the session's last event is looked up -> session.adopted durable -> ready,
 * and the gate is told to resume. What fails on the way ends the session with
 * that reason, and what is left of its processes is killed.
 */
#include "engine/core/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/core/control.h"
#include "engine/core/keeping.h"
#include "engine/core/process.h"
#include "engine/core/own_user.h"
#include "engine/core/session_record.h"
#include "engine/core/terminal.h"
#include "engine/core/vsock_door.h"

#define RECORD_SUFFIX ".json"

struct adoption {
	struct session_record record;
	uint64_t deadline_ns;
	bool launch_seen, gate_seen, writing;
	uint64_t away_ns;
	uint32_t failed, refused;
	uint64_t terminals[SESSION_TERMINALS_MAX];
	size_t n_terminals;
	/* The session's last event before the gap. */
	bool has_last;
	uint64_t last_seq;
	char last_time[40];
};

/* --- what is left when it fails ----------------------------------------- */

static void kill_process(struct engine *e, uint64_t pid, uint64_t started)
{
	struct msg_child_adopt adopt = {.pid = (uint32_t)pid};
	struct msg_child_kill kill = {.pid = (uint32_t)pid, .signal = SIGKILL};
	int fd;

	if (process_open((pid_t)pid, started, &fd) != ERR_OK)
		return;
	if (chan_send_child_adopt(e->spawner, &adopt, &fd, 1) != ERR_OK ||
	    chan_send_child_kill(e->spawner, &kill, NULL, 0) != ERR_OK)
		log_error("process %u of a lost session may be left",
			  adopt.pid);
}

/** adopt_abandon() - The session ends: so do the processes it left behind */
void adopt_abandon(struct session *s)
{
	struct adoption *a = s->adoption;

	if (!a)
		return;
	s->adoption = NULL;
	audit_forget(s->engine, s);
	kill_process(s->engine, a->record.launch_pid, a->record.launch_started);
	kill_process(s->engine, a->record.gate_pid, a->record.gate_started);
	free(a);
}

/* --- the end of it: session.adopted, resume ------------------------------- */

static void finish(struct session *s)
{
	struct adoption *a = s->adoption;

	s->adoption = NULL;
	s->launch->on_message = session_on_launch;
	s->launch->on_gone = session_on_launch_gone;
	s->gate->on_message = session_on_gate;
	s->gate->on_gone = session_on_gate_gone;
	s->active_ns = engine_now_ns();
	session_set_state(s, SESSION_READY);
	if (chan_send_resume(s->gate->chan, &(struct msg_resume){0}, NULL, 0) !=
	    ERR_OK)
		session_end(s, ERR_CLOSED, "the gate was lost");
	terminals_keep_only(s, a->terminals, a->n_terminals);
	log_info("session %s was adopted; it was without engine for %llu ms",
		 s->id, (unsigned long long)(a->away_ns / 1000000u));
	free(a);
	keeping_write(s);
	vsock_door_open(s);
	session_check_orphan(s);
}

static void on_adopted_durable(void *context, struct audit_outcome *o)
{
	struct session *s = context;

	if (s->state != SESSION_ADOPTING)
		return;
	if (o->error == ERR_OK && s->launch && s->gate)
		finish(s);
	else
		session_end(s, o->error == ERR_OK ? ERR_CLOSED : o->error,
			    o->error == ERR_OK ? "a process of it was lost"
					       : o->text);
}

static enum err put_adopted(struct session *s, struct buf *b)
{
	const struct adoption *a = s->adoption;
	enum err err = attrs_put_text(b, "kenaz.user", span_text(s->user));

	if (err == ERR_OK)
		err = attrs_put_text(b, "kenaz.image.name",
				     span_text(s->image));
	if (err == ERR_OK && s->has_fingerprint) {
		char hex[2 * DIGEST_BYTES + 1];

		text_hex(s->fingerprint.fingerprint, DIGEST_BYTES, hex);
		err = attrs_put_text(b, "kenaz.vm.fingerprint", span_text(hex));
	}
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.gap.ms", a->away_ns / 1000000u);
	if (err == ERR_OK && a->has_last)
		err = attrs_put_u64(b, "kenaz.gap.last_seq", a->last_seq);
	if (err == ERR_OK && a->has_last)
		err = attrs_put_text(b, "kenaz.gap.last_time",
				     span_text(a->last_time));
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.gate_reported.requests_failed",
				    a->failed);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.gate_reported.requests_refused",
				    a->refused);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.gate_reported.terminals",
				    a->n_terminals);
	if (err == ERR_OK)
		err = attrs_put_u64(b, "kenaz.session.adoptions", s->adoptions);
	return err == ERR_OK ? attrs_put_text(b, "kenaz.session.start_policy",
					      span_text(s->policy))
			     : err;
}

static void write_adopted(struct session *s)
{
	struct audit_event event = {.kind = "session.adopted",
				    .session = s->id,
				    .actor = s->actor,
				    .payload_fd = -1};
	struct buf b;
	enum err err;

	s->adoptions++;
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_adopted(s, &b);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(s->engine, &event, on_adopted_durable, s);
	buf_fini(&b);
	if (err != ERR_OK)
		session_end(s, err, "the log cannot be written");
}

/* One event, as audit stored it. */
static void take_last(struct adoption *a, struct span page)
{
	struct reader r;
	struct json j;
	struct span event;

	reader_init(&r, page);
	event = reader_get_lp(&r, EVENT_MAX_BYTES);
	if (r.status != ERR_OK)
		return;
	json_init(&j);
	a->has_last = json_parse(&j, event, NULL) == ERR_OK &&
		      json_uint(&j, json_get(&j, JSON_ROOT, "seq"), 0,
				INT64_MAX, &a->last_seq) == ERR_OK &&
		      json_text(&j, json_get(&j, JSON_ROOT, "time"),
				a->last_time, sizeof(a->last_time)) == ERR_OK;
	json_fini(&j);
}

static void on_last_event(void *context, struct audit_outcome *o)
{
	struct session *s = context;

	if (s->state != SESSION_ADOPTING || !s->adoption)
		return;
	if (o->error == ERR_OK)
		take_last(s->adoption, o->bytes);
	write_adopted(s);
}

static void maybe_write(struct session *s)
{
	const struct audit_filter filter = {.session = s->id};
	struct adoption *a = s->adoption;
	uint64_t size = audit_client_state(s->engine)->size;

	if (!a->launch_seen || !a->gate_seen || a->writing)
		return;
	a->writing = true;
	/* Without it the event says less; the session is as good. */
	if (size == 0 || audit_query(s->engine, size - 1, 1, true, &filter,
				     on_last_event, s) != ERR_OK)
		write_adopted(s);
}

/* --- the two processes ---------------------------------------------------- */

static enum err on_launch(struct child *c, void *context,
			  struct chan_message *m)
{
	struct session *s = context;
	struct msg_launch_view view;
	enum err err;

	if (m->type != MSG_LAUNCH_VIEW)
		return session_on_launch(c, context, m);
	err = msg_launch_view_get(m->payload, &view);
	if (err != ERR_OK || !s->adoption)
		return err;
	if (view.qemu_pid)
		s->qemu_pid = view.qemu_pid;
	s->adoption->launch_seen = true;
	keeping_settle(s, KEEPING_LAUNCH);
	if (view.running)
		maybe_write(s);
	else
		session_end(s, ERR_CLOSED,
			    "its virtual machine ended while there was no "
			    "engine");
	return ERR_OK;
}

static enum err on_gate(struct child *c, void *context, struct chan_message *m)
{
	struct session *s = context;
	struct adoption *a = s->adoption;
	struct msg_gate_view view;
	struct reader r;
	enum err err;

	if (m->type != MSG_GATE_VIEW)
		return session_on_gate(c, context, m);
	err = msg_gate_view_get(m->payload, &view);
	if (err != ERR_OK || !a)
		return err;
	if (view.terminals.len_bytes % sizeof(uint64_t) != 0 ||
	    view.terminals.len_bytes / sizeof(uint64_t) > SESSION_TERMINALS_MAX)
		return ERR_FORMAT;
	reader_init(&r, view.terminals);
	while (reader_left(&r))
		a->terminals[a->n_terminals++] = reader_get_u64(&r);
	a->away_ns = view.away_ns;
	a->failed = view.requests_failed;
	a->refused = view.requests_refused;
	a->gate_seen = true;
	keeping_settle(s, KEEPING_GATE);
	if (view.guest_ready)
		maybe_write(s);
	else
		session_end(s, ERR_CLOSED,
			    "its guest was lost while there was no engine");
	return ERR_OK;
}

/*
 * It may just have taken the word of an engine that died meanwhile, and listen
 * anew in a moment: as long as it has said nothing to us, we try again.
 */
static void on_gone(struct child *c, void *context, const char *why)
{
	struct session *s = context;
	struct adoption *a = s->adoption;
	bool launch = c->role == ROLE_LAUNCH;

	if (!a || c->refused || (launch ? a->launch_seen : a->gate_seen)) {
		if (launch)
			session_on_launch_gone(c, context, why);
		else
			session_on_gate_gone(c, context, why);
		return;
	}
	log_debug("session %s: %s", s->id, why);
	if (launch)
		s->launch = NULL;
	else
		s->gate = NULL;
	c->pid = 0; /* let go of, but not to be killed */
	child_end(c);
}

static enum err send_adopt(struct session *s, struct child *c, const char *name)
{
	struct msg_adopt m = {.version = PROTO_VERSION,
			      .session = span_text(s->id)};
	enum err err = chan_send_adopt(c->chan, &m, NULL, 0);

	/* At once: this engine may be lost before it is done. */
	return err == ERR_OK ? keeping_arm(s, c, name) : err;
}

/* Under root's engine a launcher runs as its session's own user. */
static bool is_peer(const struct engine *e, enum role role, int fd,
		    uint64_t pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (uint64_t)peer.pid == pid &&
	       (peer.uid == geteuid() ||
		(role == ROLE_LAUNCH && geteuid() == 0 &&
		 own_user_is(e->config->engine.session_uid_first, peer.uid)));
}

/* ERR_AGAIN: nobody listens behind it, perhaps not yet. */
static enum err connect_once(const char *folder, const char *name, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	enum err err = text_format(address.sun_path, sizeof(address.sun_path),
				   "%s/%s", folder, name);
	int fd;

	if (err != ERR_OK)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_SYS;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		*ret_fd = fd;
		return ERR_OK;
	}
	close(fd);
	return ERR_AGAIN;
}

/*
 * Engines that died while they adopted have left sockets of their own: the
 * child listens on the last one that it was given.
 */
static enum err connect_to(struct session *s, const char *name, int *ret_fd)
{
	char folder[PATHS_MAX_BYTES];
	enum err err =
		text_format(folder, sizeof(folder), "%s/" KEEPING_FOLDER "/%s",
			    s->engine->paths.runtime.path, s->id);
	struct dirent *entry;
	DIR *dir;

	if (err != ERR_OK)
		return err;
	dir = opendir(folder);
	if (!dir)
		return ERR_NOT_FOUND;
	err = ERR_AGAIN;
	while (err == ERR_AGAIN && (entry = readdir(dir)))
		if (strncmp(entry->d_name, name, strlen(name)) == 0)
			err = connect_once(folder, entry->d_name, ret_fd);
	closedir(dir);
	return err;
}

static enum err take_over(struct session *s, enum role role, uint64_t pid,
			  uint64_t started, struct child **ret_child)
{
	bool launch = role == ROLE_LAUNCH;
	const char *name = launch ? KEEPING_LAUNCH : KEEPING_GATE;
	struct child *c;
	int fd = -1, pid_fd = -1;
	enum err err = process_open((pid_t)pid, started, &pid_fd);

	if (err == ERR_OK)
		err = connect_to(s, name, &fd);
	if (err == ERR_OK && !is_peer(s->engine, role, fd, pid))
		err = ERR_PERMISSION;
	if (err != ERR_OK) {
		if (pid_fd >= 0)
			close(pid_fd);
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = child_adopt(s->engine, role, fd, (uint32_t)pid, pid_fd, &c);
	if (err != ERR_OK)
		return err;
	c->context = s;
	c->on_message = launch ? on_launch : on_gate;
	c->on_gone = on_gone;
	*ret_child = c;
	err = send_adopt(s, c, name);
	if (err != ERR_CLOSED)
		return err;
	/* As in on_gone(): it was still the word of another engine. */
	*ret_child = NULL;
	c->pid = 0;
	child_end(c);
	return ERR_AGAIN;
}

/* False when the session was ended. */
static bool try_one(struct session *s, enum role role, uint64_t pid,
		    uint64_t started, struct child **child)
{
	const char *program = role_program(role);
	char text[160];
	enum err err;

	if (*child)
		return true;
	err = take_over(s, role, pid, started, child);
	if (err == ERR_OK || err == ERR_AGAIN)
		return true;
	if (err == ERR_NOT_FOUND)
		(void)snprintf(text, sizeof(text),
			       "%s ended while there was no engine", program);
	else
		(void)snprintf(text, sizeof(text),
			       "%s cannot be taken over (%s)", program,
			       err_text(err));
	session_end(s, err == ERR_NOT_FOUND ? ERR_CLOSED : err, text);
	return false;
}

static void step(struct session *s)
{
	struct adoption *a = s->adoption;
	const struct session_record *r = &a->record;

	if (engine_now_ns() > a->deadline_ns)
		session_end(s, ERR_TIMEOUT,
			    "its processes did not answer the new engine");
	else if (try_one(s, ROLE_LAUNCH, r->launch_pid, r->launch_started,
			 &s->launch))
		(void)try_one(s, ROLE_GATE, r->gate_pid, r->gate_started,
			      &s->gate);
}

/** adopt_count() - How many sessions are not taken over yet */
size_t adopt_count(const struct engine *e)
{
	const struct session *s;
	size_t n = 0;

	LIST_FOREACH(s, &e->sessions, next)
	n += s->state == SESSION_ADOPTING;
	return n;
}

/** adopt_tick() - Go on with the sessions that are not taken over yet */
void adopt_tick(struct engine *e)
{
	struct session *s, *after;

	for (s = LIST_FIRST(&e->sessions); s; s = after) {
		after = LIST_NEXT(s, next);
		if (s->adoption && s->state == SESSION_ADOPTING)
			step(s);
	}
}

/* --- the records ---------------------------------------------------------- */

static void copy_fingerprint(struct session *s, const struct session_record *r)
{
	struct msg_vm_fingerprint *f = &s->fingerprint;

	s->has_fingerprint = r->has_fingerprint;
	memcpy(f->fingerprint, r->fingerprint, DIGEST_BYTES);
	memcpy(f->manifest, r->manifest, DIGEST_BYTES);
	memcpy(f->kernel, r->kernel, DIGEST_BYTES);
	memcpy(f->initrd, r->initrd, DIGEST_BYTES);
	memcpy(f->qemu, r->qemu, DIGEST_BYTES);
	memcpy(f->arguments, r->arguments, DIGEST_BYTES);
	memcpy(f->jail, r->jail, DIGEST_BYTES);
	memcpy(s->vsock, r->vsock, sizeof(s->vsock));
	memcpy(f->template, r->template, DIGEST_BYTES);
	memcpy(s->image_key, r->image_key, sizeof(s->image_key));
	memcpy(s->image_key_id, r->image_key_id, sizeof(s->image_key_id));
	memcpy(s->disk.root, r->root, DIGEST_BYTES);
	memcpy(s->disk.root_hash, r->root_hash, DIGEST_BYTES);
	s->disk.root_bytes = r->root_bytes;
	s->disk.disk_mib = (uint32_t)r->disk_mib;
	memcpy(s->disk.filesystem, r->filesystem, sizeof(s->disk.filesystem));
	s->disk.known = r->filesystem[0] != '\0';
	memcpy(s->identity, r->identity, DIGEST_BYTES);
	memcpy(s->vm, r->vm, sizeof(s->vm));
	s->way = (enum pool_way)r->way;
	s->vm_age_ns = r->vm_age_ns;
	memcpy(s->cpu, r->cpu, sizeof(s->cpu));
	memcpy(s->command_line, r->command_line, sizeof(s->command_line));
	memcpy(s->qemu_version, r->qemu_version, sizeof(s->qemu_version));
}

static void copy_state(struct session *s, const struct session_record *r)
{
	memcpy(s->user, r->user, sizeof(s->user));
	memcpy(s->image, r->image, sizeof(s->image));
	memcpy(s->provider, r->provider, sizeof(s->provider));
	memcpy(s->accelerator, r->accelerator, sizeof(s->accelerator));
	memcpy(s->secret_noted, r->secret_noted, sizeof(s->secret_noted));
	memcpy(s->policy, r->policy, sizeof(s->policy));
	memcpy(s->nonce, r->nonce, sizeof(s->nonce));
	memcpy(s->stages, r->stages, sizeof(s->stages));
	s->n_stages = r->n_stages;
	s->uid = (uid_t)r->uid;
	s->memory_mib = (uint32_t)r->memory_mib;
	s->vcpus = (uint32_t)r->vcpus;
	s->adoptions = (uint32_t)r->adoptions;
	s->qemu_pid = (uint32_t)r->qemu_pid;
	s->payload_bytes = r->payload_bytes;
	s->usage = r->usage;
	s->ready_durable = r->ready;
	s->detach = r->detach;
	s->orphan = !r->detach;
	s->main_running = r->main_running;
	s->main_ended = r->main_ended;
	s->main_signalled = r->main_signalled;
	s->main_code = (int)r->main_code;
}

static void restore_budget(struct session *s, const struct session_record *r)
{
	struct budget_row row = {.scope = BUDGET_SESSION, .day = -1};
	size_t i;
	enum err err;

	(void)snprintf(row.key, sizeof(row.key), "%s", s->id);
	for (i = 0; i < BUDGET_UNIT_COUNT; i++)
		row.used.of[i] = (int64_t)r->budget[i];
	err = budget_restore(s->engine->budget, &row);

	/* The ledger may know it already, and better. */
	if (err != ERR_OK && err != ERR_EXISTS)
		log_warn("the budget of session %s starts anew", s->id);
}

/* The monotonic clock of another boot says nothing: the wall clock must do. */
static void set_times(struct session *s, const struct session_record *r,
		      bool same_boot)
{
	uint64_t now = engine_now_ns(), wall = engine_wall_us(), age;

	s->created_wall_us = r->created_wall_us;
	s->created_ns = r->created_ns;
	if (same_boot && r->created_ns <= now)
		return;
	age = wall > r->created_wall_us ? (wall - r->created_wall_us) * 1000u
					: 0;
	s->created_ns = age < now ? now - age : 0;
}

static struct session *session_of_record(struct engine *e,
					 const struct session_record *r,
					 const char *id, bool same_boot)
{
	struct session *s = calloc(1, sizeof(*s));
	struct adoption *a = calloc(1, sizeof(*a));

	if (!s || !a) {
		free(s);
		free(a);
		return NULL;
	}
	s->engine = e;
	(void)snprintf(s->id, sizeof(s->id), "%s", id);
	(void)snprintf(s->actor, sizeof(s->actor), "%s",
		       r->actor[0] ? r->actor : "engine");
	s->state = SESSION_ADOPTING;
	s->start_asked = s->start_durable = s->announced = true;
	s->kept = true;
	copy_state(s, r);
	copy_fingerprint(s, r);
	set_times(s, r, same_boot);
	LIST_INIT(&s->infers);
	LIST_INIT(&s->judged);
	LIST_INIT(&s->tunnels);
	LIST_INIT(&s->terminals);
	a->record = *r;
	a->deadline_ns = engine_now_ns() + ADOPT_ANSWER_MAX_NS;
	s->deadline_ns = UINT64_MAX;
	s->adoption = a;
	LIST_INSERT_HEAD(&e->sessions, s, next);
	return s;
}

static enum err read_record(int dir_fd, const char *name, struct buf *text)
{
	int fd = openat(dir_fd, name,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum err err = ERR_OK;
	struct stat st;
	uint8_t *at;
	ssize_t n;

	if (fd < 0)
		return ERR_SYS;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid())
		err = ERR_PERMISSION;
	else if (st.st_size > (off_t)SESSION_RECORD_MAX_BYTES)
		err = ERR_LIMIT;
	else
		err = buf_reserve(text, SESSION_RECORD_MAX_BYTES, &at);
	if (err == ERR_OK) {
		n = read(fd, at, SESSION_RECORD_MAX_BYTES);
		buf_truncate(text, n > 0 ? (size_t)n : 0);
		if (n < 0)
			err = ERR_SYS;
	}
	close(fd);
	return err;
}

/* NULL, or why nothing can be taken over. */
static const char *refusal(const struct session_record *r, bool same_boot)
{
	if (!same_boot)
		return "the host was restarted";
	if (!r->ready)
		return "the engine ended while the session was starting";
	return NULL;
}

static void begin(struct engine *e, int dir_fd, const char *id,
		  const char *name)
{
	struct session_record *r = calloc(1, sizeof(*r));
	char boot_id[PROCESS_BOOT_BYTES], why[256] = "", text[320];
	struct session *s = NULL;
	const char *no = NULL;
	struct buf raw;
	enum err err = r ? ERR_OK : ERR_MEMORY;
	bool same_boot;

	buf_init(&raw, SESSION_RECORD_MAX_BYTES);
	if (err == ERR_OK)
		err = read_record(dir_fd, name, &raw);
	if (err != ERR_OK)
		(void)snprintf(why, sizeof(why), "it cannot be read (%s)",
			       err_text(err));
	else
		err = session_record_parse(buf_span(&raw), r, why, sizeof(why));
	if (err == ERR_OK && strcmp(r->session, id) != 0) {
		err = ERR_FORMAT;
		(void)snprintf(why, sizeof(why), "it is of another session");
	}
	process_boot_id(boot_id);
	same_boot = r && strcmp(r->boot_id, boot_id) == 0;
	if (r && !session_find(e, id))
		s = session_of_record(e, r, id, same_boot);
	if (!s)
		goto out;
	if (!same_boot)
		s->adoption->record.launch_pid = s->adoption->record.gate_pid =
			0;
	if (err == ERR_OK)
		no = refusal(r, same_boot);
	if (err == ERR_OK && !no) {
		restore_budget(s, r);
		terminals_restore(s, r->terminals, r->n_terminals);
		log_info("session %s is being adopted", id);
		step(s);
		goto out;
	}
	if (!no) {
		(void)snprintf(text, sizeof(text),
			       "the record of the session: %s", why);
		no = text;
	}
	session_end(s, err == ERR_OK ? ERR_CLOSED : err, no);
out:
	buf_fini(&raw);
	free(r);
}

/** adopt_all() - Take over, or end, what an earlier engine left behind */
void adopt_all(struct engine *e)
{
	char path[PATHS_MAX_BYTES], id[SESSION_ID_BYTES + 1];
	const size_t suffix = strlen(RECORD_SUFFIX);
	struct dirent *entry;
	DIR *dir;

	if (paths_join(e->paths.state.path, KEEPING_FOLDER, path,
		       sizeof(path)) != ERR_OK)
		return;
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		/* What a crash left half written. */
		if (len > 4 && strcmp(entry->d_name + len - 4, ".new") == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		if (len != SESSION_ID_BYTES + suffix ||
		    strcmp(entry->d_name + SESSION_ID_BYTES, RECORD_SUFFIX) !=
			    0 ||
		    !text_is_name(span_of(entry->d_name, SESSION_ID_BYTES),
				  SESSION_ID_BYTES))
			continue;
		memcpy(id, entry->d_name, SESSION_ID_BYTES);
		id[SESSION_ID_BYTES] = '\0';
		begin(e, dirfd(dir), id, entry->d_name);
	}
	closedir(dir);
}
