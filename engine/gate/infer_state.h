/* SPDX-License-Identifier: Apache-2.0 */
/* infer_state.h - one inference request, shared by the infer_*.c files */
#ifndef KENAZ_GATE_INFER_STATE_H
#define KENAZ_GATE_INFER_STATE_H

#include "engine/gate/dialect.h"
#include "engine/gate/infer.h"
#include "engine/proto/respframe.h"

#define INFER_HEADERS_MAX_BYTES 16384u

enum infer_state {
	INFER_ASKED,     /* core decides, or waits for the next attempt */
	INFER_WAITING,   /* granted; no response yet */
	INFER_STREAMING, /* response bytes come */
	INFER_JUDGED,    /* a held call is with core */
	INFER_HELD,      /* read to its end; its outcome is made durable */
};

struct infers {
	uv_loop_t *loop;
	struct chan *core;
	LIST_HEAD(infer_list, infer) list;
	uint32_t count, requests_max;
	uint64_t next_request;
	size_t buffered_bytes;
	bool no_usage; /* the last chat stream was not to ask for usage */
	struct seen seen;
};

struct infer {
	uv_poll_t poll; /* the broker's socket, open while fd is */
	LIST_ENTRY(infer) next;
	struct infers *set;
	struct http_request *http;
	uint64_t request;
	enum infer_state state;
	uint64_t moved_ns, written_ns;
	const struct dialect_ops *dialect; /* the client's */
	/* What the client asked for; until a byte was handed on. */
	struct request_facts *facts;
	bool stream;
	/* The present attempt. */
	uint16_t attempt;
	const struct dialect_ops *wire; /* NULL until granted or prepared */
	enum route wire_route;
	bool strip_usage;
	struct neutral_names *names; /* tools renamed for the wire */
	struct reply *reply;         /* NULL before the response's head */
	int fd;
	bool polling, scripted;
	bool begun;  /* the client has a status and headers */
	bool handed; /* and something of a response: no attempt may follow */
	bool poll_closing, forgotten; /* freed when both are settled */
	struct buf start;       /* of a stream that has said nothing yet */
	uint64_t start_ns;      /* since when it waits */
	struct buf in;          /* frames not taken yet */
	size_t data_at;         /* bytes of the first DATA frame taken */
	struct buf headers;     /* attrs.h texts for the guest */
	char content_type[128]; /* the provider's */
	unsigned http_status;   /* the provider's, or our error's */
	bool failed;            /* the error is ours: fail_class */
	enum error_class fail_class;
	char *fail_text; /* see infer_fail_text(); NULL without an error */
	enum err fail_error;
	enum infer_retry retry; /* why another attempt may follow */
	size_t charged_bytes;
};

/* What an attempt shall send; made by infer_prepare_body(). */
struct infer_prepared {
	struct buf body, headers, dropped;
	bool as_it_is;    /* the client's body instead of body */
	bool own_headers; /* headers instead of the client's */
	char error_text[256];
};

void infer_prepared_init(struct infer_prepared *p);
void infer_prepared_fini(struct infer_prepared *p);
MUST_CHECK enum err infer_prepare_body(struct infer *x,
				       const struct msg_infer_prepare *m,
				       struct infer_prepared *ret_prepared);
struct reply *infer_reply_new(struct infer *x, unsigned http_status,
			      struct span content_type);

void infer_enter(struct infer *x, enum infer_state state);
void infer_close_source(struct infer *x);
void infer_update_source(struct infer *x);
void infer_settle(struct infer *x);
void infer_pump(struct infer *x);
void infer_charge(struct infer *x);
void infer_answer_error(struct http_request *r, unsigned status,
			enum error_class error, struct span text,
			uint32_t retry_s);
void infer_answer_models(struct infer *x, struct span names, uint32_t omitted);
void infer_stream_error(struct infer *x, enum error_class error,
			struct span text);
void infer_drop_request(struct infer *x);
void infer_start_over(struct infer *x);
void infer_begin_stream(struct infer *x);
void infer_deliver(struct infer *x, struct span bytes);
void infer_deliver_start(struct infer *x);
void infer_send_end(struct infer *x);
void infer_set_text(struct infer *x, enum err error, const char *text);
const char *infer_fail_text(const struct infer *x);
void infer_spoil(struct infer *x, enum err error, const char *text);
void infer_fail(struct infer *x, enum err error, const char *text);
void infer_broken(struct infer *x, enum err e);
void infer_finish(struct infer *x);
void infer_forget(struct infer *x);

#endif
