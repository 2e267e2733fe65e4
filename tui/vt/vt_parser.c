/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vt_parser.c - the filter between a hostile program and a real terminal
 *
 * Runs in: kenaz-vt, after its sandbox is closed.
 * Trusts:  nothing.
 * Never:   copies an escape sequence: those that pass are written anew by
 *	    vt_csi.c; answers the program; keeps a string's content.
 *
 * Theory of operation: the state machine that DEC's VT500 follows (Williams,
 * "A parser for DEC's ANSI-compatible video terminals"), over bytes, in UTF-8
 * mode only: the 8-bit C1 controls do not exist, neither as bytes (those are
 * no UTF-8) nor as U+0080 to U+009F (those are dropped). Strings end with
 * BEL (OSC only), with ESC, CAN or SUB, or with their limit; ESC starts the
 * next sequence, so an unterminated string can swallow a bounded run only.
 * All state is in struct vt_parser: the result does not depend on how the
 * input is cut into chunks.
 */
#include "tui/vt/vt_parser.h"

#include <assert.h>
#include <string.h>

#include "engine/base/text.h"

#define C_BEL 0x07
#define C_CAN 0x18
#define C_SUB 0x1a
#define C_ESC 0x1b
#define C_DEL 0x7f

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static const char *const counter_texts[] = {
#define X(name, text) text,
	VT_COUNTERS(X)
#undef X
};

/** vt_counter_text() - What a counter counts, as part of a sentence */
const char *vt_counter_text(enum vt_counter counter)
{
	return counter_texts[counter];
}

/**
 * vt_parser_init() - Start with a clean terminal
 * @p:	Caller's memory; needs no fini
 */
void vt_parser_init(struct vt_parser *p)
{
	*p = (struct vt_parser){.state = VT_GROUND};
}

static void count(struct vt_parser *p, enum vt_counter counter)
{
	p->counters[counter]++;
}

/* Marks that a terminal stacks on the character before, sorted. */
static const struct {
	uint32_t first, last;
} marks[] = {
	{0x0300, 0x036f},   {0x0483, 0x0489},   {0x0591, 0x05bd},
	{0x05bf, 0x05c7},   {0x0610, 0x061a},   {0x064b, 0x065f},
	{0x0670, 0x0670},   {0x06d6, 0x06ed},   {0x0711, 0x0711},
	{0x0730, 0x074a},   {0x07a6, 0x07b0},   {0x07eb, 0x07f3},
	{0x0816, 0x082d},   {0x0859, 0x085b},   {0x0898, 0x0903},
	{0x093a, 0x094f},   {0x0951, 0x0957},   {0x0962, 0x0963},
	{0x0981, 0x0983},   {0x09bc, 0x09d7},   {0x0a01, 0x0a03},
	{0x0a3c, 0x0a51},   {0x0abc, 0x0acd},   {0x0b3c, 0x0b57},
	{0x0bbe, 0x0bd7},   {0x0c3e, 0x0c56},   {0x0cbc, 0x0cd6},
	{0x0d3b, 0x0d57},   {0x0dca, 0x0ddf},   {0x0e31, 0x0e31},
	{0x0e34, 0x0e3a},   {0x0e47, 0x0e4e},   {0x0eb1, 0x0eb1},
	{0x0eb4, 0x0ebc},   {0x0ec8, 0x0ecd},   {0x0f18, 0x0f19},
	{0x0f35, 0x0f39},   {0x0f71, 0x0f87},   {0x0f8d, 0x0fbc},
	{0x102b, 0x103e},   {0x135d, 0x135f},   {0x17b6, 0x17d3},
	{0x1920, 0x193b},   {0x1a17, 0x1a1b},   {0x1a55, 0x1a7f},
	{0x1ab0, 0x1aff},   {0x1b34, 0x1b44},   {0x1dc0, 0x1dff},
	{0x20d0, 0x20ff},   {0x2cef, 0x2cf1},   {0x2de0, 0x2dff},
	{0x302a, 0x302f},   {0x3099, 0x309a},   {0xa66f, 0xa67d},
	{0xa6f0, 0xa6f1},   {0xa802, 0xa827},   {0xa8e0, 0xa8f1},
	{0xaaeb, 0xaaf6},   {0xfb1e, 0xfb1e},   {0xfe20, 0xfe2f},
	{0x10a01, 0x10a3f}, {0x11000, 0x11002}, {0x1d165, 0x1d172},
	{0x1d17b, 0x1d18b}, {0x1d1aa, 0x1d1ad}, {0x1e000, 0x1e02a},
	{0x1e130, 0x1e136}, {0x1e8d0, 0x1e8d6}, {0x1e944, 0x1e94a},
};

static bool is_mark(uint32_t cp)
{
	size_t low = 0, high = ARRAY_SIZE(marks);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (cp > marks[middle].last)
			low = middle + 1;
		else if (cp < marks[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}

static enum err put_invalid(struct vt_parser *p, struct buf *out)
{
	count(p, VT_COUNT_INVALID);
	p->utf8_have = 0;
	p->combining = 0;
	return buf_put(out, REPLACEMENT, sizeof(REPLACEMENT) - 1);
}

static enum err put_code_point(struct vt_parser *p, struct buf *out)
{
	struct span s = span_of(p->utf8, p->utf8_have);
	uint32_t cp = 0;

	if (text_utf8_next(s, &cp) != s.len_bytes)
		return put_invalid(p, out);
	p->utf8_have = 0;
	if (text_is_hidden(cp)) {
		count(p, VT_COUNT_HIDDEN);
		return ERR_OK;
	}
	if (!is_mark(cp)) {
		p->combining = 0;
	} else if (++p->combining > VT_COMBINING_MAX) {
		count(p, VT_COUNT_COMBINING);
		return ERR_OK;
	}
	return buf_put_span(out, s);
}

/* C0 controls act wherever they stand, inside a sequence too. */
static enum err control(struct vt_parser *p, uint8_t c, struct buf *out)
{
	switch (c) {
	case '\b':
	case '\t':
	case '\n':
	case '\r':
		p->combining = 0;
		return buf_put_u8(out, c);
	case C_BEL:
		count(p, VT_COUNT_BELL);
		return ERR_OK;
	default:
		count(p, VT_COUNT_CONTROL);
		return ERR_OK;
	}
}

static void start_sequence(struct vt_parser *p, enum vt_state state)
{
	p->state = state;
	p->string_len_bytes = 0;
	p->csi.count = 0;
	p->csi.truncated = false;
	p->csi.private_marker = 0;
	p->csi.intermediate = 0;
	p->csi.final = 0;
}

static enum err ground_start(struct vt_parser *p, uint8_t c, struct buf *out)
{
	if (c < 0x20)
		return control(p, c, out);
	if (c < C_DEL) {
		p->combining = 0;
		return buf_put_u8(out, c);
	}
	if (c == C_DEL) {
		count(p, VT_COUNT_CONTROL);
		return ERR_OK;
	}
	if (c < 0xc2 || c > 0xf4)
		return put_invalid(p, out);
	p->utf8[0] = c;
	p->utf8_have = 1;
	p->utf8_need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	return ERR_OK;
}

static enum err on_ground(struct vt_parser *p, uint8_t c, struct buf *out)
{
	enum err e = ERR_OK;

	if (p->utf8_have == 0)
		return ground_start(p, c, out);
	if ((c & 0xc0) == 0x80) {
		p->utf8[p->utf8_have++] = c;
		return p->utf8_have == p->utf8_need ? put_code_point(p, out)
						    : ERR_OK;
	}
	e = put_invalid(p, out);
	return e == ERR_OK ? ground_start(p, c, out) : e;
}

static enum err on_escape(struct vt_parser *p, uint8_t c, struct buf *out)
{
	(void)out;
	if (c < 0x30 && p->state == VT_ESCAPE_INTERMEDIATE)
		return ERR_OK;
	if (c < 0x30) {
		p->state = VT_ESCAPE_INTERMEDIATE;
		return ERR_OK;
	}
	if (p->state == VT_ESCAPE) {
		switch (c) {
		case '[':
			start_sequence(p, VT_CSI_ENTRY);
			return ERR_OK;
		case ']':
			count(p, VT_COUNT_OSC);
			start_sequence(p, VT_OSC);
			return ERR_OK;
		case 'P':
		case 'X':
		case '^':
		case '_':
			count(p, VT_COUNT_STRING);
			start_sequence(p, VT_STRING);
			return ERR_OK;
		default:
			break;
		}
	}
	/* ESC \ only ends a string that is over already. */
	if (c != '\\' || p->state != VT_ESCAPE)
		count(p, VT_COUNT_ESCAPE);
	p->state = VT_GROUND;
	return ERR_OK;
}

static enum err csi_final(struct vt_parser *p, uint8_t c, struct buf *out)
{
	static const enum vt_counter reasons[] = {
		[VT_REDUCED] = VT_COUNT_SGR,
		[VT_UNKNOWN] = VT_COUNT_CSI,
		[VT_BAD_SGR] = VT_COUNT_SGR,
		[VT_BAD_MODE] = VT_COUNT_MODE,
	};
	struct vt_seq seq;
	enum vt_verdict verdict;

	p->state = VT_GROUND;
	p->csi.final = c;
	verdict = vt_csi_render(&p->csi, &p->modes, &seq);
	if (verdict != VT_PASSED)
		count(p, reasons[verdict]);
	if (seq.len_bytes == 0)
		return ERR_OK;
	p->combining = 0;
	return buf_put(out, seq.text, seq.len_bytes);
}

static void csi_digit(struct vt_csi *csi, uint8_t c)
{
	int *value;

	if (csi->count == 0) {
		csi->value[0] = VT_PARAM_DEFAULT;
		csi->sub[0] = false;
		csi->count = 1;
	}
	if (csi->truncated)
		return;
	value = &csi->value[csi->count - 1];
	if (*value == VT_PARAM_DEFAULT)
		*value = 0;
	*value = *value * 10 + (c - '0');
	if (*value > VT_PARAM_MAX)
		*value = VT_PARAM_MAX;
}

static void csi_separator(struct vt_csi *csi, uint8_t c)
{
	if (csi->count == 0) {
		csi->value[0] = VT_PARAM_DEFAULT;
		csi->sub[0] = false;
		csi->count = 1;
	}
	if (csi->count == VT_PARAMS_MAX) {
		csi->truncated = true;
		return;
	}
	csi->value[csi->count] = VT_PARAM_DEFAULT;
	csi->sub[csi->count] = c == ':';
	csi->count++;
}

static enum err on_csi(struct vt_parser *p, uint8_t c, struct buf *out)
{
	bool ignore = p->state == VT_CSI_IGNORE;

	if (c >= 0x40) {
		if (!ignore)
			return csi_final(p, c, out);
		count(p, VT_COUNT_MALFORMED);
		p->state = VT_GROUND;
		return ERR_OK;
	}
	if (ignore)
		return ERR_OK;
	if (c < 0x30) {
		if (p->state == VT_CSI_INTERMEDIATE)
			p->state = VT_CSI_IGNORE;
		else
			p->state = VT_CSI_INTERMEDIATE;
		p->csi.intermediate = c;
	} else if (p->state == VT_CSI_INTERMEDIATE) {
		p->state = VT_CSI_IGNORE;
	} else if (c <= '9') {
		csi_digit(&p->csi, c);
		p->state = VT_CSI_PARAM;
	} else if (c <= ';') {
		csi_separator(&p->csi, c);
		p->state = VT_CSI_PARAM;
	} else if (p->state == VT_CSI_ENTRY) {
		p->csi.private_marker = c;
		p->state = VT_CSI_PARAM;
	} else {
		p->state = VT_CSI_IGNORE;
	}
	return ERR_OK;
}

static enum err on_string(struct vt_parser *p, uint8_t c)
{
	size_t max_bytes =
		p->state == VT_OSC ? VT_OSC_MAX_BYTES : VT_STRING_MAX_BYTES;

	if (c == C_BEL && p->state == VT_OSC) {
		p->state = VT_GROUND;
	} else if (++p->string_len_bytes > max_bytes) {
		count(p, VT_COUNT_CAPPED);
		p->state = VT_GROUND;
	}
	return ERR_OK;
}

static enum err feed_byte(struct vt_parser *p, uint8_t c, struct buf *out)
{
	enum err e = ERR_OK;

	if (p->state == VT_GROUND && c != C_ESC)
		return on_ground(p, c, out);
	if (c == C_ESC) {
		if (p->utf8_have)
			e = put_invalid(p, out);
		if (p->state != VT_GROUND && p->state != VT_OSC &&
		    p->state != VT_STRING)
			count(p, VT_COUNT_ABORTED);
		p->state = VT_ESCAPE;
		return e;
	}
	if (c == C_CAN || c == C_SUB) {
		count(p, VT_COUNT_ABORTED);
		p->state = VT_GROUND;
		return ERR_OK;
	}
	if (p->state == VT_OSC || p->state == VT_STRING)
		return on_string(p, c);
	if (c < 0x20)
		return control(p, c, out);
	if (c == C_DEL)
		return ERR_OK;
	if (c > C_DEL) {
		/* Text cannot continue a sequence: it is broken off. */
		count(p, VT_COUNT_MALFORMED);
		p->state = VT_GROUND;
		return on_ground(p, c, out);
	}
	if (p->state == VT_ESCAPE || p->state == VT_ESCAPE_INTERMEDIATE)
		return on_escape(p, c, out);
	return on_csi(p, c, out);
}

/* Printable ASCII from the start of a span, which needs no decision. */
static size_t plain_run(struct span s)
{
	size_t n = 0;

	while (n < s.len_bytes && s.data[n] >= 0x20 && s.data[n] < C_DEL)
		n++;
	return n;
}

/**
 * vt_parser_feed() - Filter the next bytes of a program's output
 * @p:		Parser
 * @in:		Borrowed; cut anywhere
 * @out:	Appended to; at most VT_GROWTH_MAX bytes for each byte in,
 *		and VT_PENDING_MAX_BYTES
 *
 * Return: ERR_OK; ERR_LIMIT or ERR_MEMORY from @out, the parser is of no
 *	   more use then.
 */
enum err vt_parser_feed(struct vt_parser *p, struct span in, struct buf *out)
{
	enum err e = ERR_OK;
	size_t i = 0, run;

	while (e == ERR_OK && i < in.len_bytes) {
		if (p->state == VT_GROUND && p->utf8_have == 0) {
			run = plain_run(span_of(in.data + i, in.len_bytes - i));
			if (run) {
				p->combining = 0;
				e = buf_put(out, in.data + i, run);
				i += run;
				continue;
			}
		}
		e = feed_byte(p, in.data[i++], out);
	}
	return e;
}

/**
 * vt_parser_finish() - End of the program's output: leave the terminal clean
 * @p:		Parser; starts anew
 * @out:	Appended to: attributes off, cursor shown, main screen
 *
 * Return: as vt_parser_feed().
 */
enum err vt_parser_finish(struct vt_parser *p, struct buf *out)
{
	struct vt_seq seq;
	enum err e = ERR_OK;

	if (p->state != VT_GROUND)
		count(p, VT_COUNT_ABORTED);
	if (p->utf8_have)
		e = put_invalid(p, out);
	vt_modes_restore(&p->modes, &seq);
	if (e == ERR_OK)
		e = buf_put(out, seq.text, seq.len_bytes);
	p->state = VT_GROUND;
	p->combining = 0;
	return e;
}
