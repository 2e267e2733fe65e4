/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeping.c - what a service engine does so that sessions outlive it
 *
 * Runs in: kenazd.
 * Trusts:  its own state and runtime folders.
 * Never:   keeps a session that is not ready, or one without isolation.
 *
 * From session.start on a session has a record in the state folder, from
 * session.ready on launch and gate have a socket each on which a later engine
 * finds them. A record goes when session.end is durable, so that a session
 * that ended with its engine still gets its end in the log.
 *
 * A record outlives core, not the host: nothing of a session does either. So
 * it is replaced by rename and not synced.
 */
#include "engine/core/keeping.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/process.h"
#include "engine/core/session_record.h"
#include "engine/core/terminal.h"

static enum err folder_of(const char *base, const char *id, char *ret_path,
			  size_t cap_bytes)
{
	return id ? text_format(ret_path, cap_bytes, "%s/" KEEPING_FOLDER "/%s",
				base, id)
		  : text_format(ret_path, cap_bytes, "%s/" KEEPING_FOLDER,
				base);
}

/**
 * keeping_prepare() - Make the folders, and check that sockets fit into them
 * @e:		Engine with its paths
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_LIMIT.
 */
enum err keeping_prepare(struct engine *e, struct conf_error *error)
{
	struct session probe = {.engine = e, .id = "0123456789ab"};
	struct sockaddr_un address;
	char path[PATHS_MAX_BYTES];
	enum err err;

	err = folder_of(e->paths.state.path, NULL, path, sizeof(path));
	if (err == ERR_OK)
		err = paths_make_private(path, error);
	if (err == ERR_OK)
		err = folder_of(e->paths.runtime.path, NULL, path,
				sizeof(path));
	if (err == ERR_OK)
		err = paths_make_private(path, error);
	if (err == ERR_OK &&
	    keeping_address(&probe, KEEPING_LAUNCH, true, &address) != ERR_OK)
		err = conf_fail_at(error, NULL, 0,
				   "the runtime folder's path is too long for "
				   "the sockets of sessions that outlive the "
				   "engine; pass a shorter --runtime-dir or "
				   "set engine.survive = false");
	return err;
}

/**
 * keeping_address() - Where a session's process waits for a new engine
 * @s:			Session
 * @name:		KEEPING_LAUNCH or KEEPING_GATE
 * @fresh:		The socket of this engine that is to replace it
 * @ret_address:	Written on success
 *
 * Return: ERR_OK; ERR_LIMIT.
 */
enum err keeping_address(const struct session *s, const char *name, bool fresh,
			 struct sockaddr_un *ret_address)
{
	char suffix[16] = "";

	if (fresh)
		(void)snprintf(suffix, sizeof(suffix), ".%d", (int)getpid());
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return text_format(ret_address->sun_path, sizeof(ret_address->sun_path),
			   "%s/" KEEPING_FOLDER "/%s/%s%s",
			   s->engine->paths.runtime.path, s->id, name, suffix);
}

/* --- the record --------------------------------------------------------- */

static void fill_process(const struct child *c, uint64_t *pid,
			 uint64_t *started)
{
	*pid = c ? c->pid : 0;
	if (*pid == 0 || process_started((pid_t)*pid, started) != ERR_OK)
		*started = 0;
}

static void fill_fingerprint(const struct session *s, struct session_record *r)
{
	const struct msg_vm_fingerprint *f = &s->fingerprint;

	r->has_fingerprint = s->has_fingerprint;
	memcpy(r->fingerprint, f->fingerprint, DIGEST_BYTES);
	memcpy(r->manifest, f->manifest, DIGEST_BYTES);
	memcpy(r->kernel, f->kernel, DIGEST_BYTES);
	memcpy(r->initrd, f->initrd, DIGEST_BYTES);
	memcpy(r->qemu, f->qemu, DIGEST_BYTES);
	memcpy(r->arguments, f->arguments, DIGEST_BYTES);
	memcpy(r->jail, f->jail, DIGEST_BYTES);
	(void)snprintf(r->vsock, sizeof(r->vsock), "%s", s->vsock);
	memcpy(r->template, f->template, DIGEST_BYTES);
	(void)snprintf(r->image_key, sizeof(r->image_key), "%s", s->image_key);
	(void)snprintf(r->image_key_id, sizeof(r->image_key_id), "%s",
		       s->image_key_id);
	memcpy(r->root, s->disk.root, DIGEST_BYTES);
	memcpy(r->root_hash, s->disk.root_hash, DIGEST_BYTES);
	r->root_bytes = s->disk.root_bytes;
	r->disk_mib = s->disk.disk_mib;
	(void)snprintf(r->filesystem, sizeof(r->filesystem), "%s",
		       s->disk.filesystem);
	memcpy(r->identity, s->identity, DIGEST_BYTES);
	(void)snprintf(r->vm, sizeof(r->vm), "%s", s->vm);
	r->way = (uint64_t)s->way;
	r->vm_age_ns = s->vm_age_ns;
	(void)snprintf(r->cpu, sizeof(r->cpu), "%s", s->cpu);
	(void)snprintf(r->command_line, sizeof(r->command_line), "%s",
		       s->command_line);
	(void)snprintf(r->qemu_version, sizeof(r->qemu_version), "%s",
		       s->qemu_version);
}

static void fill_names(const struct session *s, struct session_record *r)
{
	(void)snprintf(r->session, sizeof(r->session), "%s", s->id);
	(void)snprintf(r->actor, sizeof(r->actor), "%s", s->actor);
	(void)snprintf(r->user, sizeof(r->user), "%s", s->user);
	(void)snprintf(r->image, sizeof(r->image), "%s", s->image);
	(void)snprintf(r->provider, sizeof(r->provider), "%s", s->provider);
	(void)snprintf(r->accelerator, sizeof(r->accelerator), "%s",
		       s->accelerator);
	(void)snprintf(r->secret_noted, sizeof(r->secret_noted), "%s",
		       s->secret_noted);
	(void)snprintf(r->policy, sizeof(r->policy), "%s", s->policy);
	process_boot_id(r->boot_id);
}

static void fill(struct session *s, struct session_record *r)
{
	struct budget_amounts used;
	size_t i;

	memset(r, 0, sizeof(*r));
	fill_names(s, r);
	fill_process(s->launch, &r->launch_pid, &r->launch_started);
	fill_process(s->gate, &r->gate_pid, &r->gate_started);
	fill_fingerprint(s, r);
	r->ready = s->ready_durable;
	r->detach = s->detach;
	r->uid = s->uid;
	r->memory_mib = s->memory_mib;
	r->vcpus = s->vcpus;
	r->adoptions = s->adoptions;
	r->qemu_pid = s->qemu_pid;
	r->created_ns = s->created_ns;
	r->created_wall_us = s->created_wall_us;
	r->payload_bytes = s->payload_bytes;
	memcpy(r->nonce, s->nonce, sizeof(r->nonce));
	r->usage = s->usage;
	budget_usage(s->engine->budget, BUDGET_SESSION, s->id, 0, &used);
	for (i = 0; i < BUDGET_UNIT_COUNT; i++)
		r->budget[i] = used.of[i] > 0 ? (uint64_t)used.of[i] : 0;
	r->main_running = s->main_running;
	r->main_ended = s->main_ended;
	r->main_signalled = s->main_signalled;
	r->main_code = s->main_code;
	memcpy(r->stages, s->stages, sizeof(r->stages));
	r->n_stages = s->n_stages;
	r->n_terminals = terminals_record(s, r->terminals);
}

static struct session_mark mark_of(const struct session *s)
{
	const struct session_usage *u = &s->usage;

	return (struct session_mark){
		.usage_sum = u->requests + u->input_tokens + u->output_tokens +
			     u->tool_calls + u->tool_calls_denied +
			     u->egress_allowed + u->egress_denied + u->bytes,
		.payload_bytes = s->payload_bytes,
		.terminals_sum = terminals_sum(s),
		.main_state = (s->main_running ? 1 : 0) +
			      (s->main_ended ? 2 : 0) + (s->qemu_pid ? 4 : 0),
	};
}

static enum err replace_file(const char *path, struct span text)
{
	char fresh[PATHS_MAX_BYTES];
	enum err err = text_format(fresh, sizeof(fresh), "%s.new", path);
	ssize_t n;
	int fd;

	if (err != ERR_OK)
		return err;
	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd < 0)
		return ERR_SYS;
	n = write(fd, text.data, text.len_bytes);
	close(fd);
	if (n == (ssize_t)text.len_bytes && rename(fresh, path) == 0)
		return ERR_OK;
	(void)unlink(fresh);
	return ERR_SYS;
}

static enum err record_path(const struct engine *e, const char *id,
			    char *ret_path)
{
	return text_format(ret_path, PATHS_MAX_BYTES,
			   "%s/" KEEPING_FOLDER "/%s.json", e->paths.state.path,
			   id);
}

/** keeping_write() - Bring a session's record up to date */
void keeping_write(struct session *s)
{
	struct session_record *r = malloc(sizeof(*r));
	char path[PATHS_MAX_BYTES];
	struct buf text;
	enum err err = r ? ERR_OK : ERR_MEMORY;

	buf_init(&text, SESSION_RECORD_MAX_BYTES);
	if (err == ERR_OK) {
		fill(s, r);
		err = session_record_put(&text, r);
	}
	if (err == ERR_OK)
		err = record_path(s->engine, s->id, path);
	if (err == ERR_OK)
		err = replace_file(path, buf_span(&text));
	s->mark = mark_of(s);
	if (err != ERR_OK)
		log_warn("the record of session %s was not written: %s; the "
			 "session may not outlive the engine",
			 s->id,
			 err == ERR_SYS ? strerror(errno) : err_text(err));
	buf_fini(&text);
	free(r);
}

/** keeping_begin() - session.start is written: so is the first record */
void keeping_begin(struct session *s)
{
	if (!s->engine->survive)
		return;
	(void)snprintf(s->policy, sizeof(s->policy), "%s",
		       policy_digest(s->engine->policy));
	s->kept = true;
	keeping_write(s);
}

/** keeping_remove_record() - The log has the session's end */
void keeping_remove_record(struct engine *e, const char *id)
{
	char path[PATHS_MAX_BYTES];

	if (record_path(e, id, path) == ERR_OK && unlink(path) < 0 &&
	    errno != ENOENT)
		log_warn("%s cannot be removed: %s", path, strerror(errno));
}

struct ended {
	struct engine *engine;
	char id[SESSION_ID_BYTES + 1];
};

/** keeping_end_context() - For keeping_end_durable(); NULL: nothing to do */
void *keeping_end_context(struct session *s)
{
	struct ended *d = s->kept ? calloc(1, sizeof(*d)) : NULL;

	if (!d)
		return NULL;
	d->engine = s->engine;
	memcpy(d->id, s->id, sizeof(d->id));
	return d;
}

/** keeping_end_durable() - session.end is durable, or it is not */
void keeping_end_durable(void *context, struct audit_outcome *o)
{
	struct ended *d = context;

	if (o->error == ERR_OK)
		keeping_remove_record(d->engine, d->id);
	free(d);
}

/* --- the sockets -------------------------------------------------------- */

static enum err bind_socket(const struct sockaddr_un *address, int *ret_fd)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);

	if (fd < 0)
		return ERR_SYS;
	(void)unlink(address->sun_path);
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		close(fd);
		return ERR_SYS;
	}
	*ret_fd = fd;
	return ERR_OK;
}

/**
 * keeping_arm() - Give a child the socket on which it waits without core
 * @s:		Session
 * @c:		Its launch or gate
 * @name:	KEEPING_LAUNCH or KEEPING_GATE
 *
 * No other socket loses its name before keeping_settle(): wherever core dies,
 * one of those in the folder leads to the child.
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT; as chan_send_raw().
 */
enum err keeping_arm(struct session *s, struct child *c, const char *name)
{
	struct msg_survive m = {.session = span_text(s->id),
				.uid = (uint32_t)geteuid(),
				.adopt_ms = s->engine->config->engine.adopt_s *
					    1000u};
	struct msg_child_keep keep = {.pid = c->pid};
	char folder[PATHS_MAX_BYTES];
	struct sockaddr_un fresh;
	enum err err;
	int fd;

	err = folder_of(s->engine->paths.runtime.path, s->id, folder,
			sizeof(folder));
	if (err == ERR_OK && mkdir(folder, 0700) < 0 && errno != EEXIST)
		err = ERR_SYS;
	if (err == ERR_OK)
		err = keeping_address(s, name, true, &fresh);
	if (err == ERR_OK)
		err = bind_socket(&fresh, &fd);
	if (err == ERR_OK)
		err = chan_send_survive(c->chan, &m, &fd, 1);
	if (err == ERR_OK)
		err = chan_flush(c->chan);
	if (err == ERR_OK)
		c->kept = true;
	if (err == ERR_OK)
		err = chan_send_child_keep(s->engine->spawner, &keep, NULL, 0);
	return err;
}

/** keeping_ready() - session.ready is durable: from here on it is kept */
void keeping_ready(struct session *s)
{
	enum err err = ERR_OK;

	if (!s->engine->survive || !s->launch || !s->gate)
		return;
	err = keeping_arm(s, s->launch, KEEPING_LAUNCH);
	if (err == ERR_OK)
		err = keeping_arm(s, s->gate, KEEPING_GATE);
	keeping_settle(s, KEEPING_LAUNCH);
	keeping_settle(s, KEEPING_GATE);
	if (err != ERR_OK)
		log_warn("session %s will end with the engine: %s", s->id,
			 err == ERR_SYS ? strerror(errno) : err_text(err));
	keeping_write(s);
}

/* Those whose name begins with @prefix; @keep is spared. */
static void remove_sockets(const struct session *s, const char *prefix,
			   const char *keep)
{
	char folder[PATHS_MAX_BYTES];
	struct dirent *entry;
	DIR *dir;

	if (folder_of(s->engine->paths.runtime.path, s->id, folder,
		      sizeof(folder)) != ERR_OK)
		return;
	dir = opendir(folder);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    strcmp(entry->d_name, keep) != 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

/**
 * keeping_settle() - The child has its new socket: older ones may go
 * @s:		Session
 * @name:	KEEPING_LAUNCH or KEEPING_GATE
 */
void keeping_settle(struct session *s, const char *name)
{
	struct sockaddr_un fresh, address;

	if (keeping_address(s, name, true, &fresh) != ERR_OK ||
	    keeping_address(s, name, false, &address) != ERR_OK)
		return;
	if (rename(fresh.sun_path, address.sun_path) < 0)
		log_warn("%s cannot be renamed: %s", fresh.sun_path,
			 strerror(errno));
	else
		remove_sockets(s, name, name);
}

/** keeping_remove_sockets() - Nobody waits there any more */
void keeping_remove_sockets(struct session *s)
{
	char folder[PATHS_MAX_BYTES];

	if (!s->kept)
		return;
	remove_sockets(s, "", "");
	if (folder_of(s->engine->paths.runtime.path, s->id, folder,
		      sizeof(folder)) == ERR_OK)
		(void)rmdir(folder);
}

/** keeping_tick() - Write the records that are behind */
void keeping_tick(struct engine *e)
{
	struct session *s;

	LIST_FOREACH(s, &e->sessions, next)
	{
		struct session_mark now;

		if (!s->kept || s->state != SESSION_READY)
			continue;
		now = mark_of(s);
		if (now.usage_sum != s->mark.usage_sum ||
		    now.payload_bytes != s->mark.payload_bytes ||
		    now.terminals_sum != s->mark.terminals_sum ||
		    now.main_state != s->mark.main_state)
			keeping_write(s);
	}
}
