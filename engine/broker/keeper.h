/* SPDX-License-Identifier: Apache-2.0 */
/* keeper.h - open the vault, keep it open, wrap it anew */
#ifndef KENAZ_BROKER_KEEPER_H
#define KENAZ_BROKER_KEEPER_H

#include "engine/broker/vault.h"
#include "engine/broker/vault_source.h"

#define KEEPER_WAITERS_MAX 16u
#define KEEPER_RETRY_NS    3000000000ull /* between tries unasked */

struct keeper;

/* Whatever came of it; @why is valid inside only. */
typedef void (*keeper_done)(void *context, enum err error, const char *why);

struct keeper_places {
	uv_loop_t *loop;
	int vault_fd;       /* owned from keeper_new() on */
	int credentials_fd; /* the same; -1 is none */
	enum err (*want_keychain)(void *context);
	void (*changed)(void *context);
	void *context;
};

MUST_CHECK enum err keeper_new(const struct keeper_places *places,
			       const struct vault_settings *settings,
			       struct keeper **ret_keeper);
void keeper_free(struct keeper *k);

void keeper_open(struct keeper *k, const struct source_help *help,
		 bool may_make, keeper_done done, void *context);
void keeper_configure(struct keeper *k, const struct vault_settings *settings);
void keeper_rewrap(struct keeper *k, const struct vault_settings *settings,
		   const struct source_help *old_help, struct span next,
		   keeper_done done, void *context);
void keeper_nudge(struct keeper *k);
MUST_CHECK enum err keeper_take_channel(struct keeper *k,
					const struct msg_keychain_channel *m,
					int fd);

struct vault *keeper_vault(struct keeper *k);
enum vault_state keeper_state(const struct keeper *k);
const char *keeper_why(const struct keeper *k);
const char *keeper_backend(const struct keeper *k);
const char *keeper_configured(const struct keeper *k);

#endif
