/* SPDX-License-Identifier: Apache-2.0 */
/* broker_client.h - core's side of kenaz-broker: providers, grants, secrets */
#ifndef KENAZ_CORE_BROKER_CLIENT_H
#define KENAZ_CORE_BROKER_CLIENT_H

#include "engine/core/engine.h"

#define GRANTS_MAX 4096u

struct transfer_outcome {
	enum err error;
	const char *text;
	const struct msg_transfer_done *done; /* NULL: the broker was lost */
	int body_fd; /* taken by copying it and storing -1 */
};

typedef void (*transfer_done_fn)(void *context, struct transfer_outcome *o);
typedef void (*secret_done_fn)(void *context, enum err error, const char *text,
			       uint32_t version, struct span names);

/* What the client types next, and the broker reads. */
struct secret_hand {
	enum {
		SECRET_HAND_SET,
		SECRET_HAND_UNLOCK,
		SECRET_HAND_REWRAP,
	} what;
	const char *name;   /* of the secret; "" for the others */
	const char *rpc_id; /* JSON text of the request's id */
};

MUST_CHECK enum err broker_client_start(struct engine *e);
void broker_client_free(struct engine *e);
bool broker_client_ready(const struct engine *e);
MUST_CHECK enum err broker_client_set_release(struct engine *e, int fd);
MUST_CHECK enum err broker_client_set_provider(struct engine *e,
					       const struct config_provider *p);
MUST_CHECK enum err broker_client_unset_provider(struct engine *e,
						 const char *name);
uint64_t broker_next_grant(struct engine *e);
MUST_CHECK enum err broker_grant(struct engine *e, const struct msg_grant *m,
				 const int *fds, size_t n_fds,
				 transfer_done_fn done, void *context);
void broker_cancel(struct engine *e, uint64_t grant);
void broker_vault_settings(struct engine *e,
			   const struct msg_vault_settings *m);
void broker_forget(struct engine *e, const void *context);
MUST_CHECK enum err broker_secret_hand(struct engine *e,
				       const struct secret_hand *hand,
				       int client_fd, secret_done_fn done,
				       void *context);
MUST_CHECK enum err broker_secret_remove(struct engine *e, const char *name,
					 secret_done_fn done, void *context);
MUST_CHECK enum err broker_secret_list(struct engine *e, secret_done_fn done,
				       void *context);

#endif
