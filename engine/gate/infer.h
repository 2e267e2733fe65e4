/* SPDX-License-Identifier: Apache-2.0 */
/* infer.h - inference requests from the guest to their last byte */
#ifndef KENAZ_GATE_INFER_H
#define KENAZ_GATE_INFER_H

#include <uv.h>

#include "engine/gate/http.h"
#include "engine/proto/chan.h"

#define INFER_READ_TURN_BYTES    (256u * 1024) /* of one response, per turn */
#define INFER_IN_MAX_BYTES       (256u * 1024 + RESPFRAME_DATA_MAX_BYTES + 64)
#define INFER_BUFFERED_MAX_BYTES (192u << 20) /* all responses together */
#define INFER_PING_AFTER_NS      UINT64_C(10000000000)
/* A stream's start, until the answer's first piece: then an error is final. */
#define INFER_START_MAX_BYTES 16384u
#define INFER_START_MAX_NS    UINT64_C(2000000000)

struct infers;

MUST_CHECK enum err infers_new(uv_loop_t *loop, struct chan *core,
			       uint32_t requests_max,
			       struct infers **ret_infers);
const char *const *infers_forwarded(void);
void infer_begin(struct infers *s, struct http_request *r);
void infer_refuse(struct http_request *r, unsigned status, const char *text);
void infer_refuse_later(struct http_request *r, unsigned status,
			const char *text, uint32_t retry_s);
uint32_t infers_lost_core(struct infers *s);
void infers_set_core(struct infers *s, struct chan *core);
void infer_drained(struct http_request *r);
void infer_gone(struct http_request *r);
MUST_CHECK enum err infers_on_message(struct infers *s, struct chan_message *m);
bool infers_takes(enum msg_type type);
void infers_tick(struct infers *s, uint64_t now_ns);

#endif
