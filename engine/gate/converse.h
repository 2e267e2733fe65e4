/* SPDX-License-Identifier: Apache-2.0 */
/* converse.h - Bedrock Converse: the files of the dialect, together */
#ifndef KENAZ_GATE_CONVERSE_H
#define KENAZ_GATE_CONVERSE_H

#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/gate/anthropic_plan.h"
#include "engine/gate/dialect.h"
#include "engine/gate/eventstream.h"

#define CONVERSE_BODY_MAX_BYTES  (25u << 20) /* as Bedrock has it */
#define CONVERSE_TEXT_MAX_BYTES  (8u << 20)  /* one string of a response */
#define CONVERSE_FRAME_TOKENS    65536u
#define CONVERSE_IMAGES_MAX      20u
#define CONVERSE_IMAGE_MAX_BYTES 3932160u /* 3.75 MiB, before base64 */
#define CONVERSE_CACHE_POINTS    4u
#define CONVERSE_DOCUMENT_NAME   200u /* characters of a name */

/* A request on its way in. */
struct converse_reading {
	struct neutral_request *r;
	struct json doc;
};

/* A request on its way out. */
struct converse_writing {
	struct neutral_request *r;
	const struct dialect_target *target;
	struct jsonw w;
	bool claude, nova; /* whose model it is */
	uint32_t images, documents, cache_points;
	struct anthropic_plan plan; /* for a Claude */
};

/* Formats of images and documents, and their media types. */
struct converse_format {
	const char *name, *media_type;
};
extern const struct converse_format converse_image_formats[];
extern const struct converse_format converse_document_formats[];
const struct converse_format *
converse_find_format(const struct converse_format *table,
		     struct span media_type);

MUST_CHECK enum err converse_read_request(enum route route, struct span body,
					  struct neutral_request *request);
MUST_CHECK enum err converse_read_content(struct converse_reading *x,
					  json_ref content);
MUST_CHECK enum err converse_read_system(struct converse_reading *x,
					 json_ref system);
MUST_CHECK enum err converse_refuse(struct converse_reading *x,
				    const char *where, json_ref member);
enum neutral_cache converse_read_cache(const struct converse_reading *x,
				       json_ref point);

MUST_CHECK enum err converse_write_request(struct neutral_request *request,
					   const struct dialect_target *target,
					   struct buf *out);
MUST_CHECK enum err converse_write_messages(struct converse_writing *x);
MUST_CHECK enum err converse_write_system(struct converse_writing *x);
void converse_put_cache_point(struct converse_writing *x,
			      enum neutral_cache cache);
bool converse_has_tool_parts(const struct neutral_request *r);

/* Stop reasons of both directions; usage. */
enum neutral_stop converse_stop_of(struct span reason);
const char *converse_stop_name(enum neutral_stop stop);
void converse_read_usage(const struct json *j, json_ref usage,
			 struct neutral_usage *u);
void converse_note_usage(const struct json *j, json_ref usage,
			 struct reply_summary *s);
MUST_CHECK enum err converse_put_usage(struct jsonw *w,
				       const struct neutral_usage *u);
MUST_CHECK enum err converse_put_redacted(struct buf *out, struct span data);
MUST_CHECK enum err converse_get_redacted(struct span base64, struct buf *out);

struct neutral_reader *converse_reader_new(bool streamed, neutral_emit *emit,
					   void *context);
struct neutral_writer *converse_writer_new(const struct neutral_answer *answer);
struct reply *converse_stream_new(void);
struct reply *converse_body_new(void);

MUST_CHECK enum err converse_inspect(enum route route, struct span body,
				     struct seen *seen,
				     struct request_facts *facts);

#endif
