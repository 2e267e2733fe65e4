/* SPDX-License-Identifier: Apache-2.0 */
/* transcript.h - what the user sees: lines that are only ever appended */
#ifndef KENAZ_WORKBENCH_TRANSCRIPT_H
#define KENAZ_WORKBENCH_TRANSCRIPT_H

#include "guest/workbench/model_reply.h"
#include "guest/workbench/tools.h"

#define TRANSCRIPT_CARD_LINES 8

/* State of the text block that is being shown. */
struct transcript {
	struct buf held; /* begin of a block that may be a denial */
	bool is_denial;
	bool in_text; /* the present line has text */
	bool has_colour;
};

void transcript_init(struct transcript *t);
void transcript_fini(struct transcript *t);
void transcript_prompt(struct transcript *t, struct span text);
void transcript_text(struct transcript *t, struct span added);
void transcript_text_end(struct transcript *t);
void transcript_call(struct transcript *t, struct span name, struct span input);
void transcript_result(struct transcript *t, const struct tool_result *r);
void transcript_denied(struct transcript *t, struct span text);
void transcript_error(struct transcript *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void transcript_note(struct transcript *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
