/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - kenaz-audit's answers to core's messages
 *
 * Runs in: kenaz-audit.
 * Trusts:  core for who did what; no size, name or descriptor it sends.
 * Never:   answers "durable", or releases a grant, before COMMIT returned.
 *
 * Theory of operation: appends that arrive in one loop turn go into one
 * transaction. A check handle, which libuv runs right after the turn's
 * input, commits it; then each grant's release goes to the broker, and after
 * them the answers to core. Queries and dumps take a bounded step in an idle
 * handle, so that an append never waits for more than one such step.
 */
#include "engine/audit/service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/proto/child.h"

/**
 * service_exit() - Close the log and end
 * @s:		Service
 * @code:	Exit code
 */
void service_exit(struct service *s, int code)
{
	if (chan_is_open(s->core) && chan_flush(s->core) != ERR_OK)
		log_debug("core did not get the last answers");
	store_close(s->store);
	s->store = NULL;
	exit(code);
}

/**
 * service_check() - Look at the result of an answer to core
 * @s:		Service
 * @sent:	What sending it returned
 *
 * A core that does not read its answers is as good as gone.
 */
void service_check(struct service *s, enum err sent)
{
	if (sent == ERR_OK)
		return;
	log_error("core does not take answers: %s", err_text(sent));
	service_exit(s, 1);
}

static void refuse(struct service *s, uint64_t request, enum err error,
		   const char *text)
{
	struct msg_audit_refused m = {.request = request,
				      .error = error,
				      .text = span_text(text)};

	service_check(s, chan_send_audit_refused(s->core, &m, NULL, 0));
}

static void say_sealed(struct service *s)
{
	struct msg_audit_sealed m = {.error = ERR_SEALED};
	const char *sentence = "";
	enum err error = ERR_STORAGE;

	if (s->sealed_said || !store_is_sealed(s->store, &error, &sentence))
		return;
	s->sealed_said = true;
	m.error = error;
	m.text = span_text(sentence);
	service_check(s, chan_send_audit_sealed(s->core, &m, NULL, 0));
}

static void refuse_payload(struct service *s, uint64_t request, enum err error,
			   const char *text)
{
	struct msg_payload m = {.request = request,
				.error = error,
				.text = span_text(text)};

	service_check(s, chan_send_payload(s->core, &m, NULL, 0));
}

static void refuse_waiting(struct service *s)
{
	const char *sentence = "";
	enum err error;
	size_t i;

	say_sealed(s);
	if (!store_is_sealed(s->store, &error, &sentence))
		sentence = err_text(ERR_STORAGE);
	for (i = 0; i < s->waiting_count; i++) {
		if (s->waiting[i].is_read)
			refuse_payload(s, s->waiting[i].request, ERR_SEALED,
				       sentence);
		else
			refuse(s, s->waiting[i].request, ERR_SEALED, sentence);
	}
	s->waiting_count = 0;
}

/* Grants first: the broker may go on while core still reads its answers. */
static void release_grants(struct service *s)
{
	struct msg_release m;
	bool any = false;
	size_t i;

	for (i = 0; i < s->waiting_count; i++) {
		const struct waiting *w = &s->waiting[i];

		if (!w->grant)
			continue;
		m = (struct msg_release){.grant = w->grant};
		memcpy(m.header_digest, w->header_digest, DIGEST_BYTES);
		memcpy(m.body_digest, w->body_digest, DIGEST_BYTES);
		if (!chan_is_open(s->release) ||
		    chan_send_release(s->release, &m, NULL, 0) != ERR_OK)
			log_warn("grant %llu was not released: no broker",
				 (unsigned long long)w->grant);
		any = true;
	}
	if (any && chan_is_open(s->release) && chan_flush(s->release) != ERR_OK)
		log_warn("the broker takes no releases");
}

static void answer_read(struct service *s, const struct waiting *w)
{
	struct msg_payload m = {.request = w->request, .error = ERR_OK};
	struct buf bytes;
	int fd = -1;
	enum err e;

	buf_init_secret(&bytes, RESPONSE_MAX_BYTES + DIGEST_BYTES);
	e = store_payload(s->store, w->payload_seq, &bytes);
	if (e == ERR_OK)
		e = memfd_from_span("kenaz-payload", buf_span(&bytes), &fd);
	buf_fini(&bytes);
	if (e == ERR_OK)
		service_check(s, chan_send_payload(s->core, &m, &fd, 1));
	else
		refuse_payload(s, w->request, e,
			       e == ERR_NOT_FOUND
				       ? "the payload was erased"
				       : "the payload is not what its event "
					 "says: run kenaz audit verify");
}

static void answer_durable(struct service *s, const struct waiting *w)
{
	struct msg_audit_durable m = {.request = w->request,
				      .seq = w->receipt.seq,
				      .id = span_text(w->receipt.id),
				      .time_wall_us =
					      (uint64_t)w->receipt.wall_us};

	memcpy(m.leaf, w->receipt.leaf.bytes, DIGEST_BYTES);
	service_check(s, chan_send_audit_durable(s->core, &m, NULL, 0));
}

static void on_idle(uv_timer_t *timer)
{
	struct service *s = timer->data;
	bool more = store_idle(s->store, uv_hrtime());

	more |= dumps_watch(s);
	if (more)
		service_later(s);
	say_sealed(s);
}

/**
 * service_later() - Do what can wait, soon
 * @s:	Service
 */
void service_later(struct service *s)
{
	if (!uv_is_active((uv_handle_t *)&s->idle) &&
	    uv_timer_start(&s->idle, on_idle, SERVICE_IDLE_MS, 0) != 0)
		log_warn("no timer");
}

static void commit(struct service *s)
{
	size_t i;

	if (s->waiting_count == 0)
		return;
	if (store_commit(s->store) != ERR_OK) {
		refuse_waiting(s);
		return;
	}
	release_grants(s);
	for (i = 0; i < s->waiting_count; i++) {
		if (s->waiting[i].is_read)
			answer_read(s, &s->waiting[i]);
		else
			answer_durable(s, &s->waiting[i]);
	}
	s->waiting_count = 0;
	say_sealed(s);
	service_later(s);
}

static void on_check(uv_check_t *check)
{
	commit(check->data);
}

static void on_low(uv_idle_t *idle)
{
	struct service *s = idle->data;
	bool more = pages_step(s);

	more |= dumps_step(s);
	if (!more)
		(void)uv_idle_stop(&s->low);
}

/** service_wake() - Let queries and dumps take steps again */
void service_wake(struct service *s)
{
	(void)uv_idle_start(&s->low, on_low);
}

/* One sentence's part for each error that has one of its own. */
struct error_text {
	enum err error;
	const char *text;
};

static const struct error_text append_texts[] = {
	{ERR_LIMIT, "the event is too large"},
	{ERR_FORMAT, "the event has a malformed kind, name or text"},
	{ERR_EXISTS, "the event has an attribute twice"},
	{ERR_RANGE, "the event has a number out of range"},
	{ERR_INTEGRITY, "the payload is not a sealed memfd"},
};

static const struct error_text open_texts[] = {
	{ERR_INTEGRITY, "look at it with kenaz-verify; to give it up and begin "
			"a new one, start once with --new-origin"},
	{ERR_STATE, "stop the other engine first"},
	{ERR_PERMISSION, "only its owner may read it: chmod 600"},
	{ERR_NOT_FOUND, "restore it from a backup, or start once with "
			"--new-origin"},
};

static const char *text_of(const struct error_text *texts, size_t count,
			   enum err e, const char *otherwise)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (texts[i].error == e)
			return texts[i].text;
	return otherwise;
}

static const char *reason_of(struct service *s, enum err e)
{
	const char *sentence = err_text(e);

	(void)store_is_sealed(s->store, NULL, &sentence);
	return text_of(append_texts, ARRAY_SIZE(append_texts), e, sentence);
}

/* Appends to the running transaction; the caller fills in the rest. */
static enum err append(struct service *s, const struct store_event *event,
		       struct waiting **ret_waiting)
{
	struct waiting *w;
	enum err e;

	if (store_is_full(s->store))
		commit(s);
	w = &s->waiting[s->waiting_count];
	*w = (struct waiting){.request = 0};
	e = store_append(s->store, event, &w->receipt);
	if (e != ERR_OK)
		return e;
	s->waiting_count++;
	*ret_waiting = w;
	return ERR_OK;
}

/* One body: sent and stored are the same. Two: sent, then stored. */
static enum err open_bodies(const struct msg_audit_append *m,
			    const struct chan_message *cm, struct body *sent,
			    struct body *stored)
{
	bool inlined = m->payload_inline.len_bytes > 0;
	size_t first = inlined ? 0 : 1, size = 0;
	enum err e;

	if (cm->n_fds > first + 1)
		return ERR_FORMAT;
	e = body_open(m->payload_inline,
		      !inlined && cm->n_fds > 0 ? cm->fds[0] : -1,
		      m->payload_bytes, RESPONSE_MAX_BYTES, sent);
	if (e != ERR_OK || cm->n_fds <= first)
		return e;
	e = memfd_check(cm->fds[first], RESPONSE_MAX_BYTES, &size);
	if (e == ERR_OK)
		e = body_open(span_of(NULL, 0), cm->fds[first], size,
			      RESPONSE_MAX_BYTES, stored);
	return e;
}

static enum err on_append(struct service *s, struct chan_message *cm)
{
	struct body sent = {0}, stored = {0};
	struct msg_audit_append m;
	struct store_event event;
	struct waiting *w = NULL;
	enum err e = msg_audit_append_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	event = (struct store_event){.session = m.session,
				     .actor = m.actor,
				     .policy = m.policy,
				     .attrs = m.attributes,
				     .has_payload =
					     m.payload_name.len_bytes > 0,
				     .payload_name = m.payload_name};
	if (!kind_find(m.kind, &event.kind))
		e = ERR_FORMAT;
	if (e == ERR_OK && event.has_payload)
		e = open_bodies(&m, cm, &sent, &stored);
	if (e == ERR_OK) {
		event.sent = sent.bytes;
		event.stored = stored.map ? stored.bytes : sent.bytes;
		e = append(s, &event, &w);
	}
	if (e == ERR_OK) {
		w->request = m.request;
		w->grant = m.grant;
		memcpy(w->header_digest, m.header_digest, DIGEST_BYTES);
		memcpy(w->body_digest, m.body_digest, DIGEST_BYTES);
	} else {
		if (store_is_sealed(s->store, NULL, NULL))
			refuse_waiting(s);
		refuse(s, m.request, e, reason_of(s, e));
	}
	body_close(&sent);
	body_close(&stored);
	return ERR_OK;
}

struct found {
	char session[RECORD_SESSION_MAX_BYTES + 1];
	char name[RECORD_NAME_MAX_BYTES + 1];
	bool has_payload;
};

static enum err find_payload(void *context, uint64_t seq,
			     const struct tree_hash *leaf, struct span bytes)
{
	struct found *f = context;
	struct record_view view;
	const char *fault;
	enum err e;

	(void)seq;
	(void)leaf;
	e = record_read(bytes, &view, &fault);
	if (e != ERR_OK)
		return ERR_INTEGRITY;
	f->has_payload = view.payload_count > 0;
	if (!f->has_payload)
		return ERR_OK;
	e = span_copy_text(view.session, f->session, sizeof(f->session));
	return e == ERR_OK ? span_copy_text(view.payloads[0].name, f->name,
					    sizeof(f->name))
			   : e;
}

static enum err append_read(struct service *s, const struct msg_payload_read *m,
			    const struct found *f)
{
	struct store_event event = {.kind = KIND_PAYLOAD_READ,
				    .session = span_text(f->session),
				    .actor = m->actor};
	struct waiting *w = NULL;
	struct buf attrs;
	enum err e;

	buf_init(&attrs, 1024);
	e = attrs_put_u64(&attrs, "kenaz.payload.seq", m->seq);
	if (e == ERR_OK)
		e = attrs_put_text(&attrs, "kenaz.payload.name",
				   span_text(f->name));
	event.attrs = buf_span(&attrs);
	if (e == ERR_OK)
		e = append(s, &event, &w);
	buf_fini(&attrs);
	if (e != ERR_OK)
		return e;
	w->request = m->request;
	w->is_read = true;
	w->payload_seq = m->seq;
	return ERR_OK;
}

static enum err on_payload_read(struct service *s, struct chan_message *cm)
{
	struct found f = {.has_payload = false};
	struct msg_payload_read m;
	enum err e = msg_payload_read_get(cm->payload, &m);

	if (e != ERR_OK)
		return e;
	if (m.seq < store_size(s->store))
		e = db_scan_events(store_db(s->store), m.seq, 1, find_payload,
				   &f);
	if (e == ERR_OK && !f.has_payload) {
		refuse_payload(s, m.request, ERR_NOT_FOUND,
			       "this event has no payload");
		return ERR_OK;
	}
	if (e == ERR_OK)
		e = append_read(s, &m, &f);
	if (e != ERR_OK) {
		if (store_is_sealed(s->store, NULL, NULL))
			refuse_waiting(s);
		refuse_payload(s, m.request, e, reason_of(s, e));
	}
	return ERR_OK;
}

static void say_ready(struct service *s)
{
	struct msg_audit_ready m;
	struct store_state st;
	struct buf note;
	const char *text = "";

	store_get_state(s->store, &st);
	buf_init(&note, REASON_MAX_BYTES);
	if ((st.key_created &&
	     buf_put_text(&note, "made the log key; ") != ERR_OK) ||
	    (st.created &&
	     buf_put_text(&note, "began a new log; ") != ERR_OK) ||
	    (st.recovered &&
	     buf_printf(&note,
			"the log was not closed cleanly: recovered, the "
			"outcome of %llu events is unknown; ",
			(unsigned long long)st.dangling) != ERR_OK) ||
	    buf_printf(&note, "epoch %llu", (unsigned long long)st.epoch) !=
		    ERR_OK ||
	    buf_terminate(&note, &text) != ERR_OK)
		text = "";
	m = (struct msg_audit_ready){.size = st.size,
				     .origin = span_text(st.origin),
				     .verifier_key = span_text(st.verifier_key),
				     .dangling =
					     st.dangling > UINT32_MAX
						     ? UINT32_MAX
						     : (uint32_t)st.dangling,
				     .note = span_text(text)};
	memcpy(m.root, st.root.bytes, DIGEST_BYTES);
	service_check(s, chan_send_audit_ready(s->core, &m, NULL, 0));
	log_info("log %s: %llu events; %s", st.origin,
		 (unsigned long long)st.size, text);
	buf_fini(&note);
}

static enum err on_release_message(struct chan *c, void *context,
				   struct chan_message *m)
{
	(void)c;
	(void)context;
	(void)m;
	return ERR_STATE; /* the channel is one-way */
}

static void on_release_closed(struct chan *c, void *context, enum err reason)
{
	struct service *s = context;

	log_warn("the broker is gone: %s", err_text(reason));
	if (s->release == c)
		s->release = NULL;
	chan_free(c);
}

static enum err take_release(struct service *s, struct chan_message *cm,
			     size_t at)
{
	static const struct chan_handler handler = {on_release_message,
						    on_release_closed};
	int fd = cm->fds[at];
	enum err e;

	cm->fds[at] = -1;
	chan_free(s->release);
	s->release = NULL;
	e = chan_new(s->loop, fd, ROLE_AUDIT, ROLE_BROKER, &handler, s,
		     &s->release);
	if (e == ERR_OK)
		chan_set_state(s->release, S_RUN);
	return e;
}

static enum err on_start(struct service *s, struct chan_message *cm)
{
	struct store_options o;
	struct msg_audit_start m;
	const char *text = "";
	struct buf why;
	enum err e = msg_audit_start_get(cm->payload, &m);

	if (e == ERR_OK)
		e = take_release(s, cm, 3);
	if (e != ERR_OK)
		return e;
	s->log_dir_fd = cm->fds[0];
	s->key_dir_fd = cm->fds[1];
	s->anchor_dir_fd = cm->fds[2];
	cm->fds[0] = cm->fds[1] = cm->fds[2] = -1;
	/* The state folder's lock: nothing is done with it but to hold it. */
	if (cm->n_fds > 4)
		cm->fds[4] = -1;
	o = (struct store_options){.log_dir_fd = s->log_dir_fd,
				   .key_dir_fd = s->key_dir_fd,
				   .anchor_dir_fd = s->anchor_dir_fd,
				   .new_origin = m.new_origin != 0,
				   .origin = m.origin,
				   .version = m.engine_version};
	buf_init(&why, REASON_MAX_BYTES / 2);
	e = store_open(&o, &s->store, &why);
	if (e != ERR_OK) {
		if (buf_terminate(&why, &text) != ERR_OK || !text[0])
			text = err_text(e);
		child_fatal(s->core, e, "the audit log cannot be used: %s; %s",
			    text,
			    text_of(open_texts, ARRAY_SIZE(open_texts), e,
				    "put that right and start again"));
	}
	buf_fini(&why);
	chan_set_state(s->core, S_RUN);
	say_ready(s);
	on_idle(&s->idle);
	return ERR_OK;
}

static enum err on_query(struct service *s, struct chan_message *cm)
{
	struct msg_audit_query m;
	enum err e = msg_audit_query_get(cm->payload, &m);

	return e == ERR_OK ? pages_ask(s, &m) : e;
}

static enum err on_dump(struct service *s, struct chan_message *cm)
{
	struct msg_audit_dump m;
	enum err e = msg_audit_dump_get(cm->payload, &m);
	int fd = cm->fds[0];

	if (e != ERR_OK)
		return e;
	cm->fds[0] = -1;
	return dumps_begin(s, &m, fd);
}

static enum err on_stop(struct service *s)
{
	if (s->store)
		commit(s);
	service_exit(s, 0);
}

/**
 * service_on_message() - Handle one message of core
 * @c:		Channel to core
 * @context:	The service
 * @m:		Message
 *
 * Return: ERR_OK; a failure closes the channel.
 */
enum err service_on_message(struct chan *c, void *context,
			    struct chan_message *m)
{
	struct service *s = context;

	s->core = c;
	if (m->type == MSG_AUDIT_START)
		return s->store ? ERR_STATE : on_start(s, m);
	if (m->type == MSG_AUDIT_APPEND)
		return on_append(s, m);
	if (m->type == MSG_AUDIT_QUERY)
		return on_query(s, m);
	if (m->type == MSG_AUDIT_DUMP)
		return on_dump(s, m);
	if (m->type == MSG_PAYLOAD_READ)
		return on_payload_read(s, m);
	if (m->type == MSG_AUDIT_RELEASE)
		return take_release(s, m, 0);
	if (m->type == MSG_AUDIT_STOP)
		return on_stop(s);
	return ERR_UNSUPPORTED;
}

/** service_on_closed() - Core is gone: close the log and end */
void service_on_closed(struct chan *c, void *context, enum err reason)
{
	struct service *s = context;

	(void)c;
	log_info("core is gone: %s", err_text(reason));
	service_exit(s, reason == ERR_CLOSED ? 0 : 1);
}

/**
 * service_new() - Make the service; it lives until the process ends
 * @loop:		The process's loop
 * @ret_service:	Written on success
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err service_new(uv_loop_t *loop, struct service **ret_service)
{
	struct service *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_MEMORY;
	s->loop = loop;
	s->log_dir_fd = s->key_dir_fd = s->anchor_dir_fd = -1;
	if (uv_check_init(loop, &s->commit) != 0 ||
	    uv_idle_init(loop, &s->low) != 0 ||
	    uv_timer_init(loop, &s->idle) != 0 ||
	    uv_check_start(&s->commit, on_check) != 0) {
		free(s);
		return ERR_SYS;
	}
	s->commit.data = s;
	s->low.data = s;
	s->idle.data = s;
	*ret_service = s;
	return ERR_OK;
}
