/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_workbench_sse.c - a whole response of the gate, read in two cuts */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/workbench/event_reader.h"
#include "guest/workbench/http_reader.h"
#include "guest/workbench/model_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
	struct http_reader http;
	struct event_reader events;
	struct model_reply reply;
	size_t text_bytes;
};

static enum err on_event(void *owner, struct span name, struct span data)
{
	struct target *t = owner;

	return model_reply_take(&t->reply, name, data);
}

static enum err on_body(void *owner, struct span data)
{
	struct target *t = owner;

	return event_reader_feed(&t->events, data);
}

static void on_text(void *owner, const struct model_block *b, struct span added)
{
	struct target *t = owner;

	assert(added.len_bytes <= b->content.len_bytes);
	t->text_bytes += added.len_bytes;
}

/* The result must not depend on how the bytes were cut. */
static enum err run(struct target *t, const uint8_t *data, size_t size,
		    size_t cut)
{
	enum err e;

	memset(t, 0, sizeof(*t));
	http_reader_init(&t->http);
	event_reader_init(&t->events, on_event, t);
	model_reply_init(&t->reply);
	t->http.on_body = on_body;
	t->http.owner = t;
	t->reply.on_text = on_text;
	t->reply.owner = t;
	e = http_reader_feed(&t->http, span_of(data, cut));
	if (e == ERR_OK)
		e = http_reader_feed(&t->http, span_of(data + cut, size - cut));
	if (e == ERR_OK)
		e = http_reader_end(&t->http);
	if (e == ERR_OK)
		e = event_reader_end(&t->events);
	return e;
}

static void finish(struct target *t)
{
	model_reply_fini(&t->reply);
	event_reader_fini(&t->events);
	http_reader_fini(&t->http);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target whole, parts;
	size_t cut = size ? data[size - 1] % size : 0;
	enum err a = run(&whole, data, size, size);
	enum err b = run(&parts, data, size, cut);

	assert(a == b);
	assert(whole.reply.count == parts.reply.count);
	assert(whole.text_bytes == parts.text_bytes);
	finish(&whole);
	finish(&parts);
	return 0;
}
/* sources: engine/base/buf.c engine/base/text.c engine/base/json.c
 * engine/base/json_text.c guest/workbench/event_reader.c
 * guest/workbench/http_reader.c guest/workbench/model_reply.c */
