/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_session_record.c - the record of a session that a crash left behind
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/process.h"
#include "engine/core/session_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct session_record r, again;
	char why[256] = "";
	uint64_t started;
	struct buf b;
	enum err e =
		session_record_parse(span_of(data, size), &r, why, sizeof(why));

	if (e != ERR_OK && !why[0])
		abort();
	if (r.n_stages > SESSION_STAGES_MAX ||
	    r.n_terminals > SESSION_TERMINALS_MAX)
		abort();
	if (e == ERR_OK) {
		buf_init(&b, SESSION_RECORD_MAX_BYTES);
		if (strchr(r.session, '/') || r.session[0] == '.' ||
		    session_record_put(&b, &r) != ERR_OK ||
		    session_record_parse(buf_span(&b), &again, why,
					 sizeof(why)) != ERR_OK ||
		    memcmp(&r, &again, sizeof(r)) != 0)
			abort();
		buf_fini(&b);
	}
	e = process_parse_started(span_of(data, size), &started);
	(void)e;
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/file.c
 * engine/base/log.c
 * engine/base/text.c engine/base/json.c engine/base/json_text.c
 * engine/base/jsonw.c engine/core/process.c engine/core/session_record.c */
