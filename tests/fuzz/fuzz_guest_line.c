/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_guest_line.c - lines of the guest give bounded fields or an error
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/guest_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nonce[GUEST_NONCE_BYTES], receipt[DIGEST_BYTES];
	struct span in = span_of(data, size);
	struct guest_facts facts;
	struct guest_event ev;
	const char *why = NULL;

	if (guest_line_event(in, &ev) == ERR_OK)
		assert(text_is_name(span_text(ev.event), 32) &&
		       text_is_name(span_text(ev.name), NAME_MAX_BYTES));
	if (guest_line_announce(in, &facts) == ERR_OK)
		assert(strlen(facts.guestd) <= 64 &&
		       strlen(facts.kernel) <= 128);
	if (guest_line_check(in, span_of(nonce, sizeof(nonce)), receipt, &facts,
			     &why) != ERR_OK)
		assert(why);
	return 0;
}

/* sources: engine/gate/guest_line.c engine/base/json.c
 * engine/base/json_text.c engine/base/jsonw.c engine/base/buf.c
 * engine/base/text.c */
