/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - a verification's result, for people and for programs
 *
 * Runs in: kenaz-verify.
 * Trusts:  nothing in the log: its texts are escaped.
 * Never:   claims more than was checked: without an anchor it says that a
 *	    log rolled back to an earlier state looks the same.
 */
#include "engine/audit/report.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"

#define LINE_BYTES 512u

static const char *escaped(const char *text, char line[LINE_BYTES])
{
	(void)text_escape_line(span_text(text), line, LINE_BYTES);
	return line;
}

static enum err text_anchor(const struct verify_report *r, struct buf *out)
{
	if (!r->has_anchor)
		return buf_put_text(out,
				    "anchor       none was given: a rollback "
				    "to an earlier state is not detectable\n");
	if (!r->ok)
		return ERR_OK;
	if (r->events == r->anchor_size)
		return buf_printf(out,
				  "anchor       at %" PRIu64 " events, the "
				  "whole log\n",
				  r->anchor_size);
	return buf_printf(out,
			  "anchor       at %" PRIu64 " events; the %" PRIu64
			  " after it could still be cut off unnoticed\n",
			  r->anchor_size, r->events - r->anchor_size);
}

static enum err text_counts(const struct verify_report *r, struct buf *out)
{
	char first[STAMP_TIME_BYTES + 1] = "-",
				      last[STAMP_TIME_BYTES + 1] = "-";
	char root[DIGEST_HEX_BYTES], line[LINE_BYTES];
	enum err e = ERR_OK;

	if (stamp_time(r->first_wall_us, first) != ERR_OK ||
	    stamp_time(r->last_wall_us, last) != ERR_OK)
		e = ERR_FORMAT;
	text_hex(r->root.bytes, DIGEST_BYTES, root);
	if (e == ERR_OK)
		e = buf_printf(out,
			       "log          %s\nevents       %" PRIu64
			       " (%s to %s)\n",
			       escaped(r->origin, line), r->events, first,
			       last);
	if (e == ERR_OK)
		e = buf_printf(out,
			       "checkpoints  %" PRIu64 ", each signed by its "
			       "own epoch's key (%" PRIu64 " epochs)\n"
			       "payloads     %" PRIu64 " of %" PRIu64
			       " ciphertexts compared\nroot         %s\n",
			       r->checkpoints, r->epochs, r->payloads,
			       r->payloads_committed, root);
	return e == ERR_OK ? buf_printf(out, "first key    %s\n",
					escaped(r->first_key, line))
			   : e;
}

/**
 * report_text() - Append a result for people
 * @r:		Borrowed
 * @color:	Use the terminal's green and red
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err report_text(const struct verify_report *r, bool color, struct buf *out)
{
	char line[LINE_BYTES];
	enum err e = ERR_OK;

	if (r->events > 0)
		e = text_counts(r, out);
	if (e == ERR_OK)
		e = text_anchor(r, out);
	if (e != ERR_OK)
		return e;
	if (r->ok)
		return buf_printf(out,
				  "%sverified%s: all %" PRIu64 " events are "
				  "what was signed\n",
				  color ? "\x1b[32m" : "",
				  color ? "\x1b[0m" : "", r->events);
	return buf_printf(out, "%sNOT VERIFIED%s: event %" PRIu64 ": %s\n",
			  color ? "\x1b[31m" : "", color ? "\x1b[0m" : "",
			  r->bad_seq, escaped(r->what, line));
}

/**
 * report_json() - Append a result for programs: one object, one line
 * @r:		Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_FORMAT.
 */
enum err report_json(const struct verify_report *r, struct buf *out)
{
	struct jsonw w;
	enum err e;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_bool(&w, "ok", r->ok);
	if (!r->ok) {
		jsonw_put_u64(&w, "bad_seq", r->bad_seq);
		jsonw_put_cstr(&w, "what", r->what);
	}
	jsonw_put_cstr(&w, "origin", r->origin);
	jsonw_put_cstr(&w, "first_key", r->first_key);
	jsonw_put_u64(&w, "events", r->events);
	jsonw_put_u64(&w, "bytes", r->bytes);
	jsonw_put_u64(&w, "checkpoints", r->checkpoints);
	jsonw_put_u64(&w, "epochs", r->epochs);
	jsonw_put_u64(&w, "payloads_compared", r->payloads);
	jsonw_put_u64(&w, "payloads_committed", r->payloads_committed);
	jsonw_key(&w, "root");
	jsonw_hex(&w, span_of(r->root.bytes, DIGEST_BYTES));
	jsonw_key(&w, "anchor_size");
	if (r->has_anchor)
		jsonw_u64(&w, r->anchor_size);
	else
		jsonw_null(&w);
	jsonw_put_bool(&w, "rollback_detectable", r->has_anchor);
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	return e == ERR_OK ? buf_put_text(out, "\n") : e;
}
