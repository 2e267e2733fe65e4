/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_wrapping.c - what says how a vault's key is wrapped, and with what
 *
 * Runs in: make fuzz.
 *
 * The first byte chooses: a backend's parameters, a credential, a keyring's
 * value, a passphrase, lines that a client typed. What is accepted must be
 * what would have been written.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "engine/broker/credential_file.h"
#include "engine/broker/passphrase.h"
#include "engine/broker/secret_input.h"
#include "engine/broker/vault_wrap.h"
#include "engine/keychain/item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct vault_wrap *a, const struct vault_wrap *b)
{
	/* A version 1 vault names no key file. */
	if (a->backend == VAULT_BACKEND_KEYFILE && a->params_bytes == 0)
		return;
	if (a->params_bytes != b->params_bytes ||
	    memcmp(a->params, b->params, a->params_bytes) != 0)
		abort();
}

static void try_params(struct span s)
{
	struct vault_wrap wrap = {0}, back = {0};
	char file[WRAP_FILE_MAX_BYTES], name[NAME_MAX_BYTES + 1];
	uint8_t item[WRAP_ITEM_BYTES];
	struct wrap_argon2id params;

	if (s.len_bytes > VAULT_PARAMS_MAX_BYTES)
		return;
	if (s.len_bytes)
		memcpy(wrap.params, s.data, s.len_bytes);
	wrap.params_bytes = (uint32_t)s.len_bytes;
	wrap.backend = VAULT_BACKEND_KEYFILE;
	if (wrap_get_file(&wrap, file) == ERR_OK &&
	    (strchr(file, '/') || strncmp(file, "vault.key", 9) != 0))
		abort();
	wrap.backend = VAULT_BACKEND_SYSTEMD_CREDS;
	if (wrap_get_credential(&wrap, name) == ERR_OK) {
		if (strchr(name, '/') || wrap_put_credential(name, &back))
			abort();
		same(&wrap, &back);
	}
	wrap.backend = VAULT_BACKEND_SECRET_SERVICE;
	if (wrap_get_item(&wrap, item) == ERR_OK) {
		if (wrap_put_item(item, &back) != ERR_OK)
			abort();
		same(&wrap, &back);
	}
	wrap.backend = VAULT_BACKEND_PASSPHRASE;
	if (wrap_get_argon2id(&wrap, &params) == ERR_OK) {
		if (params.memory_mib > WRAP_MEMORY_MAX_MIB ||
		    wrap_put_argon2id(&params, &back) != ERR_OK)
			abort();
		same(&wrap, &back);
	}
}

static void try_item(struct span s)
{
	uint8_t key[ITEM_KEY_BYTES];
	char text[ITEM_TEXT_BYTES];

	if (item_read(s, key) != ERR_OK)
		return;
	item_write(key, text);
	if (!span_is(s, text))
		abort();
}

static void try_credential(struct span s)
{
	struct secret *key = NULL;
	const char *why = NULL;
	enum err e = credential_parse(s, &key, &why);

	if ((e == ERR_OK) != (key != NULL) || (e != ERR_OK && !why))
		abort();
	if (key && key->len_bytes != 32)
		abort();
	secret_release(key);
}

static void try_lines(struct span s)
{
	struct span lines[SECRET_LINES_MAX];
	unsigned count, i;
	size_t total;

	for (count = 1; count <= SECRET_LINES_MAX; count++) {
		if (secret_input_split(s, count, lines) != ERR_OK)
			continue;
		for (total = 0, i = 0; i < count; i++) {
			if (lines[i].len_bytes &&
			    memchr(lines[i].data, '\n', lines[i].len_bytes))
				abort();
			total += lines[i].len_bytes + 1;
		}
		if (total > s.len_bytes)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	struct span rest;

	if (sodium_init() < 0)
		abort();
	if (size < 1)
		return 0;
	rest = span_of(data + 1, size - 1);
	if (data[0] == 'p')
		try_params(rest);
	else if (data[0] == 'c')
		try_credential(rest);
	else if (data[0] == 'i')
		try_item(rest);
	else if (data[0] == 'l')
		try_lines(rest);
	else if (passphrase_check(rest, data[0] & 1, &why) == ERR_OK &&
		 (rest.len_bytes == 0 || rest.len_bytes > PASSPHRASE_MAX_BYTES))
		abort();
	return 0;
}

/* sources: engine/broker/vault_wrap.c engine/broker/credential_file.c */
/* sources: engine/broker/passphrase.c engine/broker/secret_input.c */
/* sources: engine/broker/secret.c engine/keychain/item.c */
/* sources: engine/base/buf.c engine/base/text.c engine/base/err.c */
/* sources: engine/base/jsonw.c */
