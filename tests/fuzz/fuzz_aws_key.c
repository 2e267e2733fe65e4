/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_aws_key.c - what somebody piped in as AWS credentials
 *
 * What is accepted is exactly its parts, and each part is of its alphabet: put
 * together again they are the text, and nothing of it could end a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/broker/aws_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct span text, struct span part, size_t *at)
{
	size_t i;

	if (part.data != text.data + *at)
		abort();
	for (i = 0; i < part.len_bytes; i++)
		if (part.data[i] <= ' ' || part.data[i] >= 0x7f ||
		    part.data[i] == ':')
			abort();
	*at += part.len_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct aws_key key;
	size_t at = 0;

	if (aws_key_parse(text, &key) != ERR_OK)
		return 0;
	check(text, key.id, &at);
	at++;
	check(text, key.secret, &at);
	if (key.token.len_bytes) {
		at++;
		check(text, key.token, &at);
	}
	if (key.expires_wall_s) {
		if (key.token.len_bytes == 0 || at >= size || data[at] != ':')
			abort();
		at = size;
	}
	if (at != size || key.id.len_bytes < AWS_KEY_ID_MIN_BYTES ||
	    key.secret.len_bytes < AWS_KEY_SECRET_MIN_BYTES)
		abort();
	return 0;
}

/* sources: engine/broker/aws_key.c engine/base/buf.c engine/base/err.c
 * engine/base/text.c */
