/* SPDX-License-Identifier: Apache-2.0 */
/* infer_state.h - one inference request, shared by the infer_*.c files */
#ifndef KENAZ_GATE_INFER_STATE_H
#define KENAZ_GATE_INFER_STATE_H

#include "engine/gate/dialect.h"
#include "engine/gate/infer.h"
#include "engine/proto/respframe.h"

#define INFER_HEADERS_MAX_BYTES 16384u

enum infer_state {
	INFER_ASKED,     /* core decides */
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
	const struct dialect_ops *dialect;
	struct reply *reply; /* NULL before the response's head */
	int fd;
	bool polling, begun, scripted;
	bool poll_closing, forgotten; /* freed when both are settled */
	struct buf in;                /* frames not taken yet */
	size_t data_at;               /* bytes of the first DATA frame taken */
	struct buf headers;           /* attrs.h texts for the guest */
	unsigned http_status;         /* the provider's, or our error's */
	const char *fail_type; /* our error; NULL when it is the provider's */
	char fail_text[REASON_MAX_BYTES + 1];
	enum err fail_error;
	size_t charged_bytes;
};

void infer_enter(struct infer *x, enum infer_state state);
void infer_close_source(struct infer *x);
void infer_update_source(struct infer *x);
void infer_settle(struct infer *x);
void infer_pump(struct infer *x);
void infer_charge(struct infer *x);
void infer_answer_error(struct http_request *r, unsigned status,
			const char *type, struct span text, uint32_t retry_s);
void infer_deliver(struct infer *x, struct span bytes);
void infer_send_end(struct infer *x);
void infer_set_text(struct infer *x, enum err error, const char *text);
void infer_spoil(struct infer *x, enum err error, const char *text);
void infer_fail(struct infer *x, enum err error, const char *text);
void infer_broken(struct infer *x, enum err e);
void infer_finish(struct infer *x);
void infer_forget(struct infer *x);

#endif
