/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_audit.c - verbs about the log
 *
 * Runs in: kenazd.
 * Trusts:  audit's pages to be the stored bytes, passed on unchanged.
 * Never:   gives a user the events of somebody else's session.
 */
#include "engine/core/rpc_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/core/audit_client.h"
#include "engine/core/session.h"

#define LIST_DEFAULT           50u
#define LIST_MAX               1000u
#define TAIL_PAGE              100u
#define TAIL_QUEUE_MAX_BYTES   (1024u * 1024)
#define PAYLOAD_SHOW_MAX_BYTES (512u * 1024)

/* Which sessions' events the caller sees: all, one, or a reason not to. */
static bool may_read(struct rpc *r, const char *session)
{
	struct roles_peer *peer = &r->conn->peer;
	enum role_reach reach = roles_reach(peer->roles, r->method);
	struct session *s;

	if (reach == ROLE_REACH_ALL)
		return true;
	if (!session) {
		rpc_fail(r, ERR_PERMISSION,
			 "you may read the events of your own sessions: name "
			 "one with --session");
		return false;
	}
	s = session_find(r->engine, session);
	if (s && s->uid == peer->uid)
		return true;
	rpc_fail(r, ERR_NOT_FOUND, "you have no session %s", session);
	return false;
}

static bool get_filters(struct rpc *r, const cJSON *params,
			struct audit_filter *ret_filter)
{
	struct audit_filter f = {0};

	if (!rpc_get_text(r, params, "session", false, &f.session) ||
	    !rpc_get_text(r, params, "kind", false, &f.kind) ||
	    !rpc_get_text(r, params, "image", false, &f.image))
		return false;
	if (f.session && strlen(f.session) > SESSION_ID_BYTES) {
		rpc_fail(r, ERR_NOT_FOUND, "there is no such session");
		return false;
	}
	if (f.kind && strlen(f.kind) > KIND_MAX_BYTES) {
		rpc_fail(r, ERR_NOT_FOUND, "there is no such kind of event");
		return false;
	}
	if (f.image && strlen(f.image) > IMAGE_FILTER_MAX_BYTES) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "an image is named by its name, or by a digest of at "
			 "most %u hex digits",
			 IMAGE_FILTER_MAX_BYTES);
		return false;
	}
	*ret_filter = f;
	return may_read(r, f.session);
}

static void on_page(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	struct reader page;
	struct jsonw w;
	struct buf b;

	if (o->error != ERR_OK) {
		rpc_fail(r, o->error, "%s", o->text);
		return;
	}
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 2);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "events");
	jsonw_begin_array(&w);
	reader_init(&page, o->bytes);
	while (reader_left(&page)) {
		struct span one = reader_get_lp(&page, EVENT_MAX_BYTES);

		if (page.status == ERR_OK)
			jsonw_raw(&w, one);
	}
	jsonw_end_array(&w);
	if (!o->last)
		jsonw_put_u64(&w, "next", o->next_seq);
	jsonw_put_u64(&w, "size", o->log_size);
	jsonw_end_object(&w);
	if (jsonw_finish(&w) == ERR_OK)
		rpc_reply(r, buf_span(&b));
	else
		rpc_fail(r, ERR_INTERNAL, "the page could not be written");
	buf_fini(&b);
}

static void audit_list(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"from",    "limit", "backward",
					   "session", "kind",  "image",
					   NULL};
	uint64_t size = audit_client_state(r->engine)->size;
	struct audit_filter filter;
	uint64_t from, limit;
	bool backward;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_bool(r, params, "backward", false, &backward) ||
	    !rpc_get_u64(r, params, "from", 0, 1ull << 52,
			 backward && size ? size - 1 : 0, &from) ||
	    !rpc_get_u64(r, params, "limit", 1, LIST_MAX, LIST_DEFAULT,
			 &limit) ||
	    !get_filters(r, params, &filter))
		return;
	err = audit_query(r->engine, from, (uint32_t)limit, backward, &filter,
			  on_page, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the log cannot be read now: %s",
			 err_text(err));
}

static void on_event(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	struct reader page;
	struct span one;
	struct jsonw w;
	struct buf b;

	if (o->error != ERR_OK) {
		rpc_fail(r, o->error, "%s", o->text);
		return;
	}
	reader_init(&page, o->bytes);
	one = reader_get_lp(&page, EVENT_MAX_BYTES);
	if (page.status != ERR_OK) {
		rpc_fail(r, ERR_NOT_FOUND, "there is no event %llu",
			 (unsigned long long)r->number);
		return;
	}
	buf_init(&b, 4 * EVENT_MAX_BYTES);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "event");
	jsonw_raw(&w, one);
	jsonw_key(&w, "raw");
	jsonw_text(&w, one);
	jsonw_end_object(&w);
	if (jsonw_finish(&w) == ERR_OK)
		rpc_reply(r, buf_span(&b));
	else
		rpc_fail(r, ERR_INTERNAL, "the event could not be written");
	buf_fini(&b);
}

static void audit_show(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"seq", NULL};
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_u64(r, params, "seq", 0, 1ull << 52, UINT64_MAX,
			 &r->number) ||
	    !may_read(r, NULL))
		return;
	if (r->number >= audit_client_state(r->engine)->size) {
		rpc_fail(r, ERR_NOT_FOUND,
			 "there is no such event; the log has %llu",
			 (unsigned long long)audit_client_state(r->engine)
				 ->size);
		return;
	}
	err = audit_query(r->engine, r->number, 1, false,
			  &(struct audit_filter){0}, on_event, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the log cannot be read now: %s",
			 err_text(err));
}

/* --- following -------------------------------------------------------- */

static void on_tail(void *context, struct audit_outcome *o)
{
	struct conn *c = context;
	struct reader page;

	c->tail.asking = false;
	if (o->error != ERR_OK)
		return; /* the next growth tries again */
	reader_init(&page, o->bytes);
	while (reader_left(&page) && !c->closing) {
		struct span one = reader_get_lp(&page, EVENT_MAX_BYTES);

		if (page.status == ERR_OK)
			conn_notify(c, "audit.event", one);
	}
	c->tail.next_seq =
		o->next_seq > c->tail.next_seq ? o->next_seq : c->tail.next_seq;
	if (!c->closing && !o->last)
		rpc_audit_tail(c);
}

/** rpc_audit_tail() - Ask for the next events of a follower, if due */
void rpc_audit_tail(struct conn *c)
{
	struct tail *t = &c->tail;
	const struct audit_filter filter = {
		.session = t->session[0] ? t->session : NULL,
		.kind = t->kind[0] ? t->kind : NULL,
	};

	if (!t->on || t->asking || c->closing ||
	    c->out.len_bytes > TAIL_QUEUE_MAX_BYTES ||
	    t->next_seq >= audit_client_state(c->engine)->size)
		return;
	t->asking = true;
	if (audit_query(c->engine, t->next_seq, TAIL_PAGE, false, &filter,
			on_tail, c) != ERR_OK)
		t->asking = false;
}

static void audit_tail(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"from", "last", "session", "kind",
					   NULL};
	uint64_t size = audit_client_state(r->engine)->size, last;
	struct audit_filter filter;
	struct conn *c = r->conn;
	struct tail *t = &c->tail;
	char text[64];

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_u64(r, params, "last", 0, 1u << 20, 0, &last) ||
	    !rpc_get_u64(r, params, "from", 0, 1ull << 52,
			 last < size ? size - last : 0, &t->next_seq) ||
	    !get_filters(r, params, &filter))
		return;
	(void)snprintf(t->session, sizeof(t->session), "%s",
		       filter.session ? filter.session : "");
	(void)snprintf(t->kind, sizeof(t->kind), "%s",
		       filter.kind ? filter.kind : "");
	t->on = true;
	(void)snprintf(text, sizeof(text), "{\"size\":%llu}",
		       (unsigned long long)size);
	rpc_reply(r, span_text(text));
	rpc_audit_tail(c);
}

/* --- payloads and dumps ------------------------------------------------ */

static void on_payload(void *context, struct audit_outcome *o)
{
	struct rpc *r = context;
	struct body body;
	struct jsonw w;
	struct buf b, base64;
	size_t size;
	enum err err = o->error;

	if (err != ERR_OK) {
		rpc_fail(r, err, "%s", o->text);
		return;
	}
	err = memfd_check(o->fd, PAYLOAD_SHOW_MAX_BYTES, &size);
	if (err == ERR_OK)
		err = body_open((struct span){0}, o->fd, size, size, &body);
	if (err != ERR_OK) {
		rpc_fail(r, err, "the payload is larger than %u KiB: %s",
			 PAYLOAD_SHOW_MAX_BYTES / 1024, err_text(err));
		return;
	}
	buf_init(&b, CONTROL_QUEUE_MAX_BYTES / 2);
	buf_init(&base64, CONTROL_QUEUE_MAX_BYTES / 4);
	jsonw_init(&w, &b);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "bytes", size);
	if (text_is_utf8(body.bytes)) {
		jsonw_put_text(&w, "text", body.bytes);
	} else {
		err = text_base64(body.bytes, &base64);
		jsonw_put_text(&w, "base64", buf_span(&base64));
	}
	jsonw_end_object(&w);
	if (err == ERR_OK)
		err = jsonw_finish(&w);
	if (err == ERR_OK)
		rpc_reply(r, buf_span(&b));
	else
		rpc_fail(r, err, "the payload could not be written");
	buf_fini(&b);
	buf_fini(&base64);
	body_close(&body);
}

static void audit_payload_verb(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"seq", NULL};
	uint64_t seq;
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_u64(r, params, "seq", 0, 1ull << 52, 0, &seq) ||
	    !may_read(r, NULL))
		return;
	err = audit_payload(r->engine, seq, r->conn->actor, on_payload, r);
	if (err != ERR_OK)
		rpc_fail(r, err, "the log cannot be read now: %s",
			 err_text(err));
}

static void on_dumped(void *context, struct audit_outcome *o)
{
	struct engine *e = context;

	(void)e;
	if (o->error != ERR_OK)
		log_info("a dump ended early: %s", err_text(o->error));
}

static void hand_dump(struct conn *c, int fd, struct rpc *r)
{
	enum err err =
		audit_dump(c->engine, r->number, fd, on_dumped, c->engine);

	if (err != ERR_OK)
		log_warn("no dump: %s", err_text(err));
}

static void audit_dump_verb(struct rpc *r, const cJSON *params)
{
	static const char *const keys[] = {"from", NULL};
	enum err err;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_u64(r, params, "from", 0, 1ull << 52, 0, &r->number) ||
	    !may_read(r, NULL))
		return;
	err = rpc_hand_over(r, span_text("{}"), hand_dump);
	if (err != ERR_OK)
		rpc_fail(r, err,
			 "a connection that carries a dump can have no other "
			 "request");
}

const struct rpc_method rpc_audit_methods[] = {
	{"audit.list", audit_list},      {"audit.tail", audit_tail},
	{"audit.show", audit_show},      {"audit.payload", audit_payload_verb},
	{"audit.dump", audit_dump_verb}, {NULL, NULL},
};
