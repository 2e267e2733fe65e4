/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vt_parser.c - any bytes, cut anywhere, give only the allowed output
 *
 * Runs in: libFuzzer.
 * Trusts:  nothing.
 * Never:   accepts output that depends on the cut or breaks the allow-list.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/vt/vt_parser.h"

#define IN_MAX_BYTES 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
	struct vt_parser p;
	size_t i, n, before;

	vt_parser_init(&p);
	for (i = 0; i < size; i += n) {
		n = size - i < step ? size - i : step;
		before = out->len_bytes;
		require(vt_parser_feed(&p, span_of(data + i, n), out) ==
			ERR_OK);
		require(out->len_bytes - before <=
			n * VT_GROWTH_MAX + VT_PENDING_MAX_BYTES);
	}
	require(vt_parser_finish(&p, out) == ERR_OK);
}

/* The output's own grammar, checked without the parser under test. */
static void check_output(struct span s)
{
	size_t i = 0;

	while (i < s.len_bytes) {
		uint32_t cp = 0;
		size_t len =
			text_utf8_next(span_of(s.data + i, s.len_bytes - i),
				       &cp);

		require(len != 0);
		i += len;
		if (cp != 0x1b) {
			require(!text_is_hidden(cp) || cp == '\b' ||
				cp == '\t' || cp == '\n' || cp == '\r');
			continue;
		}
		require(i < s.len_bytes && s.data[i] == '[');
		i++;
		if (i < s.len_bytes && s.data[i] == '?')
			i++;
		while (i < s.len_bytes &&
		       ((s.data[i] >= '0' && s.data[i] <= '9') ||
			s.data[i] == ';'))
			i++;
		require(i < s.len_bytes && s.data[i] &&
			strchr("ABCDEFGHdJKX@Pmhl", s.data[i]));
		i++;
	}
}

/* The first byte of the input chooses the size of the cuts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, cut;

	if (size < 1 || size > IN_MAX_BYTES)
		return 0;
	buf_init(&whole, (size_t)IN_MAX_BYTES * 8);
	buf_init(&cut, (size_t)IN_MAX_BYTES * 8);
	run(data + 1, size - 1, SIZE_MAX, &whole);
	run(data + 1, size - 1, (size_t)data[0] % 8 + 1, &cut);
	require(span_equal(buf_span(&whole), buf_span(&cut)));
	check_output(buf_span(&whole));
	buf_fini(&whole);
	buf_fini(&cut);
	return 0;
}

/* sources: engine/base/buf.c engine/base/text.c engine/base/err.c
 * tui/vt/vt_parser.c tui/vt/vt_csi.c */
