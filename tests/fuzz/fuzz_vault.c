/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vault.c - a vault opens as it was written, or not at all
 *
 * Runs in: make fuzz.
 *
 * The first byte chooses: the rest is read as a file, or it is a list of
 * changes made to a good file, of which every one has to be noticed.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "engine/broker/vault_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct secret *wrapping_key;
static struct buf good;

static void start(void)
{
	struct vault_content *c;

	if (sodium_init() < 0 ||
	    secret_new(VAULT_KEY_BYTES, &wrapping_key) != ERR_OK)
		abort();
	memset(wrapping_key->data, 7, VAULT_KEY_BYTES);
	if (vault_content_new(&c) != ERR_OK ||
	    wrap_put_file(1, &c->header.wrap) != ERR_OK)
		abort();
	memcpy(c->records[0].name, "name", 5);
	if (secret_copy(span_text("secret"), &c->records[0].secret) != ERR_OK)
		abort();
	c->count = 1;
	buf_init(&good, VAULT_FILE_MAX_BYTES);
	if (vault_content_write(c, wrapping_key, &good) != ERR_OK)
		abort();
	vault_content_free(c);
}

static enum err try_file(struct span file)
{
	struct vault_content *c = NULL;
	struct vault_header header;
	const char *why = NULL;
	enum err e = vault_content_read(file, wrapping_key, &c, &why);

	if ((e == ERR_OK) != (c != NULL) || (e != ERR_OK) != (why != NULL))
		abort();
	if (e == ERR_OK && vault_header_read(file, &header) != ERR_OK)
		abort();
	vault_content_free(c);
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t changed[4096];
	size_t i;

	if (!wrapping_key)
		start();
	if (size < 1)
		return 0;
	if (data[0] & 1) {
		(void)try_file(span_of(data + 1, size - 1));
		return 0;
	}
	memcpy(changed, good.data, good.len_bytes);
	for (i = 1; i + 1 < size; i += 2)
		changed[(size_t)data[i] * good.len_bytes / 256] ^= data[i + 1];
	if ((try_file(span_of(changed, good.len_bytes)) == ERR_OK) !=
	    (memcmp(changed, good.data, good.len_bytes) == 0))
		abort();
	return 0;
}

/* sources: engine/broker/vault_format.c engine/broker/vault_wrap.c */
/* sources: engine/broker/secret.c */
/* sources: engine/base/buf.c engine/base/text.c */
