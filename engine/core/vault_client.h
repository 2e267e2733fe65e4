/* SPDX-License-Identifier: Apache-2.0 */
/* vault_client.h - core's side of the broker's vault */
#ifndef KENAZ_CORE_VAULT_CLIENT_H
#define KENAZ_CORE_VAULT_CLIENT_H

#include "engine/core/engine.h"

#define VAULT_BUS_MAX_BYTES 1024u

struct doctor_report;
struct jsonw;

/* What the broker last said; the texts are escaped. */
struct vault_look {
	enum vault_state state;
	char backend[33], configured[33];
	uint32_t key_id, secrets;
	uint64_t generation;
	char expires_name[NAME_MAX_BYTES + 1]; /* ends first; "" is none */
	uint64_t expires_wall_s;
	char text[REASON_MAX_BYTES];
};

/* [vault] as the broker gets it; borrowed from the configuration. */
struct vault_config {
	struct span backend, credential;
	uint32_t passes, memory_mib;
};

MUST_CHECK enum err vault_client_new(struct engine *e);
void vault_client_free(struct engine *e);
void vault_client_config(const struct engine *e, struct vault_config *ret);
int vault_client_open_credentials(const struct engine *e);
MUST_CHECK enum err vault_client_on_message(struct engine *e,
					    struct child *broker,
					    struct chan_message *m);
void vault_client_lost(struct engine *e);
void vault_client_tick(struct engine *e);
void vault_client_configure(struct engine *e);
bool vault_client_has_bus(const struct engine *e);
bool vault_client_has_credential(const struct engine *e);
const struct vault_look *vault_client_look(const struct engine *e);
void vault_client_put_expiry(const struct engine *e, struct jsonw *w);
void vault_client_doctor(const struct engine *e, struct doctor_report *report);
MUST_CHECK enum err vault_bus_check(const char *address);

#endif
