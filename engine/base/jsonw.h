/* SPDX-License-Identifier: Apache-2.0 */
/* jsonw.h - deterministic JSON writer: no floats, no white space */
#ifndef KENAZ_BASE_JSONW_H
#define KENAZ_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define JSONW_DEPTH_MAX 32u

/* Plain data. After the first failure every call does nothing. */
struct jsonw {
	struct buf *out;
	enum err status;
	uint32_t is_object; /* bit per level */
	uint32_t has_items; /* bit per level */
	unsigned int depth;
	bool after_key;
	bool done;
};

void jsonw_init(struct jsonw *w, struct buf *out);
MUST_CHECK enum err jsonw_finish(struct jsonw *w);

void jsonw_begin_object(struct jsonw *w);
void jsonw_end_object(struct jsonw *w);
void jsonw_begin_array(struct jsonw *w);
void jsonw_end_array(struct jsonw *w);
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_key_span(struct jsonw *w, struct span key);

void jsonw_text(struct jsonw *w, struct span text);
void jsonw_cstr(struct jsonw *w, const char *text);
void jsonw_u64(struct jsonw *w, uint64_t value);
void jsonw_i64(struct jsonw *w, int64_t value);
void jsonw_bool(struct jsonw *w, bool value);
void jsonw_null(struct jsonw *w);
void jsonw_hex(struct jsonw *w, struct span bytes);
void jsonw_raw(struct jsonw *w, struct span json);
size_t jsonw_plain_run(struct span s);

void jsonw_put_text(struct jsonw *w, const char *key, struct span text);
void jsonw_put_cstr(struct jsonw *w, const char *key, const char *text);
void jsonw_put_u64(struct jsonw *w, const char *key, uint64_t value);
void jsonw_put_i64(struct jsonw *w, const char *key, int64_t value);
void jsonw_put_bool(struct jsonw *w, const char *key, bool value);

#endif
