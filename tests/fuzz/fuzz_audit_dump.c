/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_audit_dump.c - dumps as kenaz-verify reads them, in small pieces
 */
#include <sodium.h>
#include <stdlib.h>

#include "engine/audit/dump.h"
#include "engine/audit/report.h"
#include "engine/audit/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err on_header(void *context, uint64_t from, uint64_t size,
			  struct span origin)
{
	(void)context;
	(void)from;
	(void)size;
	(void)origin;
	return ERR_OK;
}

static enum err on_anchor(void *context, struct span note)
{
	return verify_anchor(context, note);
}

static enum err on_event(void *context, struct span bytes)
{
	return verify_event(context, NULL, bytes);
}

static enum err on_payload(void *context, const struct walk_payload *p)
{
	return verify_payload(context, p->seq, p->part, p->digest);
}

static enum err on_checkpoint(void *context, uint64_t size, struct span note)
{
	return verify_checkpoint(context, size, note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dump_handler handler = {on_header, on_anchor,
						    on_event, on_payload,
						    on_checkpoint};
	struct dump_reader r;
	struct verify v;
	struct buf out;
	size_t at, n;
	enum err e;

	if (digest_init() != ERR_OK || sodium_init() < 0 ||
	    dump_reader_init(&r) != ERR_OK)
		abort();
	verify_init(&v);
	e = ERR_OK;
	for (at = 0; e == ERR_OK && at < size; at += n) {
		n = size - at < 301 ? size - at : 301;
		e = dump_reader_feed(&r, span_of(data + at, n), &handler, &v);
	}
	if (e == ERR_OK)
		e = dump_reader_finish(&r);
	if (verify_finish(&v) == ERR_OK && v.failed)
		abort();
	buf_init(&out, REPORT_MAX_BYTES);
	if (report_text(&v.report, false, &out) != ERR_OK)
		abort();
	buf_reset(&out);
	if (report_json(&v.report, &out) != ERR_OK)
		abort();
	buf_fini(&out);
	verify_fini(&v);
	dump_reader_fini(&r);
	return 0;
}

/* sources: engine/audit/dump.c engine/audit/verify.c engine/audit/report.c
 *	engine/audit/epoch.c engine/audit/anchor.c engine/audit/files.c
 *	engine/audit/logkey.c engine/audit/tree.c engine/audit/note.c
 *	engine/audit/record.c engine/audit/canon.c engine/audit/kinds.c
 *	engine/audit/stamp.c engine/base/jsonw.c engine/base/buf.c
 *	engine/base/text.c engine/base/digest.c engine/proto/attrs.c
 */
