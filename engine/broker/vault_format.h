/* SPDX-License-Identifier: Apache-2.0 */
/* vault_format.h - the vault's bytes: envelope encryption, no I/O */
#ifndef KENAZ_BROKER_VAULT_FORMAT_H
#define KENAZ_BROKER_VAULT_FORMAT_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/broker/secret.h"
#include "engine/broker/vault_wrap.h"

#define VAULT_VERSION        2u
#define VAULT_ID_BYTES       16u
#define VAULT_KEY_BYTES      32u
#define VAULT_NAME_MAX_BYTES 64u
#define VAULT_RECORDS_MAX    64u
#define VAULT_FILE_MAX_BYTES (1024u * 1024u)

struct vault_header {
	uint32_t version;
	struct vault_wrap wrap; /* who wraps the vault key, and how */
	uint8_t id[VAULT_ID_BYTES];
	uint64_t generation; /* one more with every write */
	uint32_t key_id;     /* of the vault key */
};

struct vault_record {
	char name[VAULT_NAME_MAX_BYTES + 1];
	uint64_t version; /* of this secret: one more with every set */
	uint64_t created_wall_us;
	struct secret *secret;
};

struct vault_content {
	struct vault_header header;
	struct secret *key; /* vault key, VAULT_KEY_BYTES */
	struct vault_record records[VAULT_RECORDS_MAX];
	size_t count;
};

MUST_CHECK enum err vault_header_read(struct span file,
				      struct vault_header *ret_header);
MUST_CHECK enum err vault_content_new(struct vault_content **ret_content);
MUST_CHECK enum err vault_content_rekey(struct vault_content *content);
MUST_CHECK enum err vault_content_read(struct span file,
				       const struct secret *wrapping_key,
				       struct vault_content **ret_content,
				       const char **ret_why);
MUST_CHECK enum err vault_content_write(const struct vault_content *content,
					const struct secret *wrapping_key,
					struct buf *out);
void vault_content_free(struct vault_content *content);

#endif
