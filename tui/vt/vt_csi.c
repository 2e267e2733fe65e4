/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vt_csi.c - which control sequences pass, and the one form they pass in
 *
 * Runs in: kenaz-vt, after its sandbox is closed.
 * Trusts:  nothing; every number came from a guest.
 * Never:   copies a guest's byte: what passes is written anew from numbers
 *	    in range, so a terminal sees only the forms in this file.
 *
 * Follows ECMA-48 and xterm's ctlseqs for the meaning of sequences. Departs
 * from them on purpose: nothing that makes a terminal answer, changes its
 * title, palette, keys, mouse, clipboard or scroll region passes; ED 3 does
 * not, because it erases the user's own scrollback; SGR 8 does not, because
 * it hides text.
 */
#include "tui/vt/vt_csi.h"

#include <assert.h>
#include <string.h>

static void put_text(struct vt_seq *seq, const char *text)
{
	size_t len = strlen(text);

	assert(len <= sizeof(seq->text) - seq->len_bytes);
	memcpy(seq->text + seq->len_bytes, text, len);
	seq->len_bytes += len;
}

static void put_char(struct vt_seq *seq, char c)
{
	const char text[2] = {c, '\0'};

	put_text(seq, text);
}

static void put_number(struct vt_seq *seq, int value)
{
	char digits[8];
	size_t at = sizeof(digits) - 1;

	assert(value >= 0 && value <= VT_PARAM_MAX);
	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	put_text(seq, digits + at);
}

/* The number in a place; @fallback where it is absent, empty or below it. */
static int param(const struct vt_csi *csi, size_t at, int fallback)
{
	int value = at < csi->count ? csi->value[at] : VT_PARAM_DEFAULT;

	return value < fallback ? fallback : value;
}

static bool has_sub(const struct vt_csi *csi)
{
	size_t i;

	for (i = 0; i < csi->count; i++)
		if (csi->sub[i])
			return true;
	return false;
}

/* Sequences of plain numbers: how many, the least each may be, the most. */
static const struct plain {
	char final, canonical;
	uint8_t params;
	uint8_t least;
	int most;
} plain_table[] = {
	{'A', 'A', 1, 1, VT_PARAM_MAX}, /* CUU */
	{'B', 'B', 1, 1, VT_PARAM_MAX}, /* CUD */
	{'C', 'C', 1, 1, VT_PARAM_MAX}, /* CUF */
	{'D', 'D', 1, 1, VT_PARAM_MAX}, /* CUB */
	{'E', 'E', 1, 1, VT_PARAM_MAX}, /* CNL */
	{'F', 'F', 1, 1, VT_PARAM_MAX}, /* CPL */
	{'G', 'G', 1, 1, VT_PARAM_MAX}, /* CHA */
	{'H', 'H', 2, 1, VT_PARAM_MAX}, /* CUP */
	{'f', 'H', 2, 1, VT_PARAM_MAX}, /* HVP, the same movement */
	{'d', 'd', 1, 1, VT_PARAM_MAX}, /* VPA */
	{'J', 'J', 1, 0, 2},            /* ED */
	{'K', 'K', 1, 0, 2},            /* EL */
	{'X', 'X', 1, 1, VT_PARAM_MAX}, /* ECH */
	{'@', '@', 1, 1, VT_PARAM_MAX}, /* ICH: line editors need it */
	{'P', 'P', 1, 1, VT_PARAM_MAX}, /* DCH: the same */
};

static enum vt_verdict render_plain(const struct vt_csi *csi,
				    struct vt_seq *seq)
{
	const struct plain *row = NULL;
	size_t i;

	for (i = 0; i < sizeof(plain_table) / sizeof(plain_table[0]); i++)
		if ((uint8_t)plain_table[i].final == csi->final)
			row = &plain_table[i];
	if (!row || csi->count > row->params || has_sub(csi))
		return VT_UNKNOWN;
	for (i = 0; i < row->params; i++)
		if (param(csi, i, row->least) > row->most)
			return VT_UNKNOWN;
	put_text(seq, "\x1b[");
	for (i = 0; i < row->params; i++) {
		if (i)
			put_char(seq, ';');
		put_number(seq, param(csi, i, row->least));
	}
	put_char(seq, row->canonical);
	return VT_PASSED;
}

static bool sgr_is_simple(int value)
{
	return (value >= 0 && value <= 7) || value == 9 ||
	       (value >= 21 && value <= 25) || (value >= 27 && value <= 37) ||
	       value == 39 || (value >= 40 && value <= 47) || value == 49 ||
	       value == 53 || value == 55 || (value >= 90 && value <= 97) ||
	       (value >= 100 && value <= 107);
}

static void sgr_put(struct vt_seq *seq, int value)
{
	put_text(seq, seq->len_bytes ? ";" : "\x1b[");
	put_number(seq, value);
}

/* How many numbers hang on the one at @at by colons. */
static size_t sub_count(const struct vt_csi *csi, size_t at)
{
	size_t n = 0;

	while (at + 1 + n < csi->count && csi->sub[at + 1 + n])
		n++;
	return n;
}

/*
 * 38, 48 and 58 in the forms 38;5;N 38;2;R;G;B 38:5:N 38:2:R:G:B
 * 38:2:SPACE:R:G:B. Returns how many numbers were used, 0 when what follows
 * cannot be told apart, which ends the sequence.
 */
static size_t sgr_color(const struct vt_csi *csi, size_t at, struct vt_seq *seq,
			bool *ret_dropped)
{
	size_t subs = sub_count(csi, at), need, first, used, i;
	int kind = param(csi, at + 1, 0);
	bool good = csi->value[at] != 58;

	if (at + 1 >= csi->count || (kind != 2 && kind != 5))
		return subs ? 1 + subs : 0;
	need = kind == 5 ? 1 : 3;
	if (subs) {
		/* With a colour space the colours are the last three. */
		used = 1 + subs;
		first = at + 2 + (kind == 2 && subs == 5 ? 1 : 0);
		if (subs != need + 1 && !(kind == 2 && subs == 5))
			return used;
	} else {
		used = 2 + need;
		first = at + 2;
		if (at + used > csi->count)
			return 0;
		for (i = at + 1; i < at + used; i++)
			if (csi->sub[i])
				return 0;
	}
	for (i = 0; i < need; i++)
		if (param(csi, first + i, 0) > 255)
			good = false;
	if (!good)
		return used;
	sgr_put(seq, csi->value[at]);
	sgr_put(seq, kind);
	for (i = 0; i < need; i++)
		sgr_put(seq, param(csi, first + i, 0));
	*ret_dropped = false;
	return used;
}

static enum vt_verdict render_sgr(const struct vt_csi *csi,
				  struct vt_modes *modes, struct vt_seq *seq)
{
	bool dropped_any = csi->truncated, dropped;
	size_t i = 0, used;

	if (csi->count == 0)
		sgr_put(seq, 0);
	while (i < csi->count) {
		int value = param(csi, i, 0);

		dropped = true;
		used = 1 + sub_count(csi, i);
		if (value == 38 || value == 48 || value == 58) {
			used = sgr_color(csi, i, seq, &dropped);
		} else if (value == 4 && used == 2) {
			/* 4:0 is off, 4:1 to 4:5 are styles of line. */
			sgr_put(seq, param(csi, i + 1, 0) ? 4 : 24);
			dropped = false;
		} else if (used == 1 && sgr_is_simple(value)) {
			sgr_put(seq, value);
			dropped = false;
		}
		dropped_any |= dropped;
		if (used == 0)
			break;
		i += used;
	}
	if (seq->len_bytes == 0)
		return VT_BAD_SGR;
	put_char(seq, 'm');
	modes->styled = seq->len_bytes != 4 || seq->text[2] != '0';
	return dropped_any ? VT_REDUCED : VT_PASSED;
}

static enum vt_verdict render_modes(const struct vt_csi *csi,
				    struct vt_modes *modes, struct vt_seq *seq)
{
	bool on = csi->final == 'h';
	enum vt_verdict verdict = VT_PASSED;
	size_t i;

	for (i = 0; i < csi->count; i++) {
		int value = csi->sub[i] ? 0 : param(csi, i, 0);

		if (value == 25) {
			if (modes->cursor_hidden == on)
				put_text(seq, on ? "\x1b[?25h" : "\x1b[?25l");
			modes->cursor_hidden = !on;
		} else if (value == 1049) {
			if (modes->alternate_screen != on)
				put_text(seq,
					 on ? "\x1b[?1049h" : "\x1b[?1049l");
			modes->alternate_screen = on;
		} else {
			verdict = VT_BAD_MODE;
		}
	}
	return verdict;
}

/**
 * vt_csi_render() - Decide on one control sequence and write it anew
 * @csi:	As parsed, borrowed
 * @modes:	What has to be taken back at the end; updated
 * @ret_seq:	Always written; empty when nothing passes
 *
 * Return: VT_PASSED; VT_REDUCED when a part was left out; otherwise why
 *	   nothing (or, for modes, not everything) passed.
 */
enum vt_verdict vt_csi_render(const struct vt_csi *csi, struct vt_modes *modes,
			      struct vt_seq *ret_seq)
{
	ret_seq->len_bytes = 0;
	if (csi->intermediate)
		return VT_UNKNOWN;
	if (csi->private_marker == '?' &&
	    (csi->final == 'h' || csi->final == 'l'))
		return render_modes(csi, modes, ret_seq);
	if (csi->private_marker)
		return VT_UNKNOWN;
	if (csi->final == 'm')
		return render_sgr(csi, modes, ret_seq);
	if (csi->truncated)
		return VT_UNKNOWN;
	return render_plain(csi, ret_seq);
}

/**
 * vt_modes_restore() - Take back what the guest left switched on
 * @modes:	Cleared
 * @ret_seq:	Always written; empty when there is nothing to take back
 */
void vt_modes_restore(struct vt_modes *modes, struct vt_seq *ret_seq)
{
	ret_seq->len_bytes = 0;
	if (modes->styled)
		put_text(ret_seq, "\x1b[0m");
	if (modes->cursor_hidden)
		put_text(ret_seq, "\x1b[?25h");
	if (modes->alternate_screen)
		put_text(ret_seq, "\x1b[?1049l");
	*modes = (struct vt_modes){0};
}
