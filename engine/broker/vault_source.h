/* SPDX-License-Identifier: Apache-2.0 */
/* vault_source.h - where wrapping keys come from, whichever backend */
#ifndef KENAZ_BROKER_VAULT_SOURCE_H
#define KENAZ_BROKER_VAULT_SOURCE_H

#include "engine/broker/keychain_client.h"

/* One question at a time; plain data. */
struct vault_source {
	uv_loop_t *loop;
	int vault_fd;       /* borrowed */
	int credentials_fd; /* borrowed; -1: systemd gave none */
	struct keychain_client keychain;

	bool busy;
	struct vault_wrap wrap; /* of the key that is made or looked for */
	struct secret *made;    /* while it is being stored */
	void (*done)(void *context, enum err error, const char *why,
		     const struct vault_wrap *wrap, struct secret *key);
	void *context;
};

/* The key is the callee's; NULL on failure. @why is valid inside only. */
typedef void (*source_done)(void *context, enum err error, const char *why,
			    const struct vault_wrap *wrap, struct secret *key);

/* What a person gave with the request. */
struct source_help {
	struct span passphrase; /* may be empty */
	bool may_prompt;
};

void source_load(struct vault_source *s, const struct vault_wrap *wrap,
		 const struct source_help *help, source_done done,
		 void *context);
void source_make(struct vault_source *s, const struct vault_settings *settings,
		 uint32_t key_id, const struct source_help *help,
		 source_done done, void *context);
void source_forget(struct vault_source *s, const struct vault_wrap *wrap,
		   source_done done, void *context);

#endif
