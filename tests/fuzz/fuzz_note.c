/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_note.c - signed notes, checkpoint bodies and verifier keys
 */
#include <sodium.h>
#include <stdlib.h>

#include "engine/audit/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_checkpoint(struct span text)
{
	struct checkpoint c;
	struct buf out;

	if (checkpoint_read(text, &c) != ERR_OK)
		return;
	buf_init(&out, NOTE_MAX_BYTES);
	/* One spelling only. */
	if (checkpoint_write(&c, &out) != ERR_OK ||
	    !span_equal(buf_span(&out), text))
		abort();
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vkey[] = "example.com/foo+530d903a+"
				   "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv"
				   "3U2k";
	struct span in = span_of(data, size), text;
	struct note_key key, found;
	struct buf out;

	if (digest_init() != ERR_OK || sodium_init() < 0 ||
	    note_key_read(span_text(vkey), &key) != ERR_OK)
		abort();
	if (note_text(in, &text) == ERR_OK)
		try_checkpoint(text);
	try_checkpoint(in);
	if (note_verify(in, &key, &text) == ERR_OK && text.len_bytes > size)
		abort();
	if (note_key_read(in, &found) == ERR_OK) {
		buf_init(&out, NOTE_VKEY_MAX_BYTES);
		if (note_key_write(&found, &out) != ERR_OK ||
		    !span_equal(buf_span(&out), in))
			abort();
		buf_fini(&out);
	}
	return 0;
}

/* sources: engine/audit/note.c engine/base/buf.c engine/base/text.c
 *	engine/base/digest.c
 */
