/* SPDX-License-Identifier: Apache-2.0 */
/* infer_state.h - one request's state, for infer.c and infer_outcome.c only */
#ifndef KENAZ_CORE_INFER_STATE_H
#define KENAZ_CORE_INFER_STATE_H

#include "engine/core/broker_client.h"
#include "engine/core/session.h"

enum infer_state { INFER_INTENT, INFER_RUNNING, INFER_OUTCOME };

struct infer {
	LIST_ENTRY(infer) next;
	struct session *session;
	uint64_t request; /* the gate's */
	uint64_t grant, reservation;
	enum infer_state state;
	bool gate_left, gate_done, broker_done;
	char provider[NAME_MAX_BYTES + 1];
	char kind[33];
	char model[MODEL_MAX_BYTES + 1];
	enum route route;
	bool stream, scripted;
	int gate_fd;
	uint64_t started_ns;
	/* What the broker reported. */
	enum err transfer_error;
	char transfer_text[REASON_MAX_BYTES];
	uint16_t http_status;
	bool sent, key_echoed;
	uint64_t request_bytes, response_bytes, first_byte_ns, total_ns;
	uint8_t response_digest[DIGEST_BYTES];
	struct buf body;
	int body_fd;
	/* What the gate reported. */
	enum err gate_error;
	char gate_text[REASON_MAX_BYTES];
	char response_id[129], response_model[MODEL_MAX_BYTES + 1],
		stop_reason[65];
	bool usage_known;
	uint64_t input_tokens, output_tokens, cache_read, cache_write;
	uint32_t tool_calls, tool_calls_denied;
};

void infer_free(struct infer *i);
void infer_answer_gate(struct infer *i, enum err error, const char *text);
void infer_maybe_finish(struct infer *i);
void infer_on_transfer_done(void *context, struct transfer_outcome *o);

#endif
