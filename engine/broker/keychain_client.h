/* SPDX-License-Identifier: Apache-2.0 */
/* keychain_client.h - the broker's questions to kenaz-keychain */
#ifndef KENAZ_BROKER_KEYCHAIN_CLIENT_H
#define KENAZ_BROKER_KEYCHAIN_CLIENT_H

#include "engine/broker/secret.h"
#include "engine/broker/vault_wrap.h"
#include "engine/proto/chan.h"

#define KEYCHAIN_ANSWER_MAX_NS 20000000000ull  /* with the program's start */
#define KEYCHAIN_PROMPT_MAX_NS 120000000000ull /* where a person is asked */

/* One question at a time; plain data, zeroed but for the first three. */
struct keychain_client {
	uv_loop_t *loop;
	enum err (*want)(void *context); /* asks core for the program */
	void *context;

	bool asking;
	enum keychain_operation operation;
	uint8_t item[WRAP_ITEM_BYTES];
	bool may_prompt;
	struct secret *key; /* to be stored, or what came */
	struct chan *chan;
	int stream; /* our end of the key's way; -1 is none */
	uv_timer_t timer;
	bool has_timer;
	void (*done)(void *context, enum err error, const char *why,
		     struct secret *key);
	void *done_context;
};

/* What came of it. The key is the callee's; NULL but for a good GET. */
typedef void (*keychain_done)(void *context, enum err error, const char *why,
			      struct secret *key);

void keychain_ask(struct keychain_client *k, enum keychain_operation operation,
		  const uint8_t item[WRAP_ITEM_BYTES], bool may_prompt,
		  struct span key, keychain_done done, void *context);
MUST_CHECK enum err keychain_take_channel(struct keychain_client *k,
					  const struct msg_keychain_channel *m,
					  int fd);

#endif
