/* SPDX-License-Identifier: Apache-2.0 */
/* vt_parser.h - the filter between a hostile program and a real terminal */
#ifndef KENAZ_TUI_VT_VT_PARSER_H
#define KENAZ_TUI_VT_VT_PARSER_H

#include "engine/base/buf.h"
#include "tui/vt/vt_csi.h"

#define VT_OSC_MAX_BYTES     4096u   /* then the string is taken as aborted */
#define VT_STRING_MAX_BYTES  262144u /* the same for DCS, SOS, PM and APC */
#define VT_COMBINING_MAX     8u      /* marks on one character */
#define VT_GROWTH_MAX        4u      /* bytes out for one byte in, at most */
#define VT_PENDING_MAX_BYTES 512u    /* what one byte may add at once */

/* X(name, what was not handed on) */
#define VT_COUNTERS(X)                                       \
	X(BELL, "bells")                                     \
	X(CONTROL, "other control characters")               \
	X(HIDDEN, "invisible or reordering characters")      \
	X(INVALID, "bytes that are no UTF-8")                \
	X(COMBINING, "combining marks over the limit")       \
	X(ESCAPE, "escape sequences")                        \
	X(CSI, "control sequences")                          \
	X(SGR, "attributes")                                 \
	X(MODE, "terminal modes")                            \
	X(OSC, "operating system commands")                  \
	X(STRING, "device, privacy and application strings") \
	X(MALFORMED, "malformed sequences")                  \
	X(ABORTED, "sequences broken off")                   \
	X(CAPPED, "strings over the limit")

enum vt_counter {
#define X(name, text) VT_COUNT_##name,
	VT_COUNTERS(X)
#undef X
		VT_COUNTER_COUNT
};

enum vt_state {
	VT_GROUND,
	VT_ESCAPE,
	VT_ESCAPE_INTERMEDIATE,
	VT_CSI_ENTRY,
	VT_CSI_PARAM,
	VT_CSI_INTERMEDIATE,
	VT_CSI_IGNORE,
	VT_OSC,
	VT_STRING,
	VT_STATE_COUNT
};

struct vt_parser {
	enum vt_state state;
	struct vt_csi csi;
	struct vt_modes modes;
	uint8_t utf8[4];
	size_t utf8_have, utf8_need;
	size_t combining;
	size_t string_len_bytes;
	uint64_t counters[VT_COUNTER_COUNT];
};

void vt_parser_init(struct vt_parser *p);
MUST_CHECK enum err vt_parser_feed(struct vt_parser *p, struct span in,
				   struct buf *out);
MUST_CHECK enum err vt_parser_finish(struct vt_parser *p, struct buf *out);
const char *vt_counter_text(enum vt_counter counter);

#endif
