/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_minisign.c - signatures and keys of images that somebody else wrote
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <sodium.h>

#include "engine/proto/image_keys.h"
#include "engine/proto/limits.h"
#include "vm/image_sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char public_key[] =
	"untrusted comment: minisign public key 208CFD59629FA6E5\n"
	"RWTlpp9iWf2MIB0b6ZP0c+BEQO7GAMZWkB7TuRrWorDRp6L8hONJW7cr\n";

static void try_signature(struct span in, const struct image_keys *keys)
{
	struct image_signer signer;
	struct buf reason;

	buf_init(&reason, REASON_MAX_BYTES);
	if (image_sign_check(span_text("a message\n"), in, keys, &signer,
			     &reason) == ERR_OK) {
		/* Only what is not signed may differ from the seed. */
		if (in.len_bytes < 200 || signer.id[0] == '\0')
			abort();
	} else if (reason.len_bytes == 0) {
		abort();
	}
	buf_fini(&reason);
}

static void try_keys(struct span in)
{
	struct minisign_secret secret;
	struct image_keys keys;
	struct minisign_key key;
	struct buf out;

	buf_init(&out, IMAGE_KEYS_MAX_BYTES);
	if (minisign_key_read(in, &key) == ERR_OK &&
	    minisign_key_write(&key, &out) != ERR_OK)
		abort();
	buf_reset(&out);
	if (minisign_secret_read(in, &secret) == ERR_OK &&
	    minisign_secret_write(&secret, &out) != ERR_OK)
		abort();
	buf_reset(&out);
	/* One spelling only. */
	if (image_keys_get(in, &keys) == ERR_OK &&
	    (image_keys_put(&keys, &out) != ERR_OK ||
	     !span_equal(buf_span(&out), in)))
		abort();
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct image_keys keys = {.count = 1};

	if (sodium_init() < 0 ||
	    minisign_key_read(span_text(public_key), &keys.list[0]) != ERR_OK)
		abort();
	try_signature(in, &keys);
	try_keys(in);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/text.c
 *	engine/base/minisign.c engine/proto/image_keys.c vm/image_sign.c
 *	vm/image_file.c
 */
