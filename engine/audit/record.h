/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - the bytes of one event: writer, strict reader, leaf hash */
#ifndef KENAZ_AUDIT_RECORD_H
#define KENAZ_AUDIT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/audit/canon.h"
#include "engine/audit/kinds.h"
#include "engine/audit/stamp.h"
#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/proto/attrs.h"

#define RECORD_VERSION           1u
#define RECORD_MAX_BYTES         EVENT_MAX_BYTES
#define RECORD_CALLER_MAX_BYTES  EVENT_FIELDS_MAX_BYTES
#define RECORD_SESSION_MAX_BYTES 64u
#define RECORD_ACTOR_MAX_BYTES   128u
#define RECORD_POLICY_MAX_BYTES  128u
#define RECORD_KEY_MAX_BYTES     ATTR_KEY_MAX_BYTES
#define RECORD_ATTRS_MAX         64u
#define RECORD_LIST_MAX          ATTR_LIST_MAX_ITEMS
#define RECORD_PAYLOADS_MAX      8u
#define RECORD_NAME_MAX_BYTES    64u

/* What an event says about bytes that lie beside the log. */
struct record_payload {
	struct span name;
	uint8_t cipher[DIGEST_BYTES]; /* SHA-256 of the ciphertext */
	uint64_t sent_bytes;
	uint8_t sent_mac[DIGEST_BYTES]; /* HMAC-SHA256(r, sent) */
	uint64_t stored_bytes;
	uint8_t stored_mac[DIGEST_BYTES]; /* HMAC-SHA256(r, stored) */
};

/* Everything the writer needs; borrowed. */
struct record {
	uint64_t seq;
	int64_t wall_us;
	uint8_t random[STAMP_RANDOM_BYTES];
	enum kind kind;
	struct span session;
	struct span actor;
	struct span policy;
	uint8_t prev[DIGEST_BYTES];
	struct span attrs; /* engine/proto/attrs.h */
	const struct record_payload *payloads;
	size_t payload_count;
};

/* A stored event taken apart. Spans are raw: still escaped, borrowed. */
struct record_view {
	uint64_t seq;
	int64_t wall_us;
	struct span id, time, session, actor, kind, policy;
	uint8_t prev[DIGEST_BYTES];
	struct span attrs; /* the object, braces included */
	struct record_payload payloads[RECORD_PAYLOADS_MAX];
	size_t payload_count;
};

/* One attribute of a stored event. */
struct record_value {
	struct span key;
	enum attr_type type; /* numbers are ATTR_I64 */
	struct span text;    /* raw content, or the whole list */
	int64_t i64;
	bool flag;
};

MUST_CHECK enum err record_write(const struct record *r, struct buf *out);
MUST_CHECK enum err record_read(struct span bytes, struct record_view *ret_view,
				const char **ret_fault);
MUST_CHECK enum err record_rewrite(const struct record_view *view,
				   struct buf *out);
void record_leaf(struct span bytes, uint8_t ret_leaf[DIGEST_BYTES]);

void record_attrs_begin(const struct record_view *view, struct canon *c);
bool record_attrs_next(struct canon *c, struct record_value *ret_value);
bool record_attr_find(const struct record_view *view, const char *key,
		      struct record_value *ret_value);
bool record_list_next(struct canon *c, struct span *ret_raw);

#endif
