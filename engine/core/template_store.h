/* SPDX-License-Identifier: Apache-2.0 */
/* template_store.h - booted guests, sealed, that sessions are restored from */
#ifndef KENAZ_CORE_TEMPLATE_STORE_H
#define KENAZ_CORE_TEMPLATE_STORE_H

#include <sys/queue.h>

#include "engine/core/engine.h"
#include "engine/core/pool_rules.h"

#define TEMPLATE_STATE_MAX_MIB 17u

struct template_entry {
	LIST_ENTRY(template_entry) next;
	struct engine *engine;
	struct pool_kind kind;
	uint8_t stamp[DIGEST_BYTES]; /* of the image and QEMU on disk */
	uint8_t key[DIGEST_BYTES];   /* of everything that went into it */
	uint8_t digest[DIGEST_BYTES];
	uint8_t manifest[DIGEST_BYTES], qemu[DIGEST_BYTES];
	char vm[SESSION_ID_BYTES + 1]; /* the machine it was made of */
	int memory_fd, state_fd;
	uint64_t used_mib; /* memory that it really takes */
	uint64_t made_ns, used_ns, restores, took_ns;
	bool durable; /* template.made is in the log */
};

LIST_HEAD(template_list, template_entry);

void template_key(const struct pool_kind *kind,
		  const struct msg_vm_fingerprint *m, const char *qemu_version,
		  uint8_t ret_key[DIGEST_BYTES]);
MUST_CHECK enum err template_check_files(int memory_fd, int state_fd,
					 uint32_t memory_mib,
					 uint64_t *ret_used_mib);
MUST_CHECK enum err template_add(struct template_list *list,
				 struct template_entry *from);
struct template_entry *template_find(struct template_list *list,
				     const struct pool_kind *kind);
bool template_fits(const struct template_entry *t,
		   const struct msg_vm_fingerprint *m);
uint64_t template_mib(const struct template_list *list);
size_t template_count(const struct template_list *list);
struct template_entry *template_oldest(struct template_list *list);
void template_drop(struct template_entry *t, const char *reason);
void template_free(struct template_entry *t);

#endif
