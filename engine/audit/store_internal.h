/* SPDX-License-Identifier: Apache-2.0 */
/* store_internal.h - the store's fields, for store.c and store_open.c */
#ifndef KENAZ_AUDIT_STORE_INTERNAL_H
#define KENAZ_AUDIT_STORE_INTERNAL_H

#include "engine/audit/epoch.h"
#include "engine/audit/payload.h"
#include "engine/audit/recover.h"
#include "engine/audit/segment.h"
#include "engine/audit/store.h"

#define STORE_ABOUT_MAX_BYTES (NOTE_NAME_MAX_BYTES + 64u)

struct store {
	int log_dir_fd, key_dir_fd, anchor_dir_fd; /* borrowed */
	struct db *db;
	struct logkey *logkey;
	struct epoch_signer signer;
	struct segment segment;
	struct store_state state;
	char origin[NOTE_NAME_MAX_BYTES + 1];
	uint64_t wal_max_bytes;
	bool opened;

	/* The tree with what waits, and the part of it that is durable. */
	struct tree tree;
	struct tree_hash prev;
	uint64_t committed;
	struct tree_hash committed_root;
	size_t pending;
	size_t pending_bytes;
	size_t read_back;
	uint64_t data_version;

	bool anchor_due;
	uint64_t anchor_ns;
	uint64_t bundles; /* written so far */

	bool sealed;
	enum err sealed_error;
	char sealed_sentence[512];

	/* Scratch, kept between appends. */
	struct buf record, text, note, about, cipher, wrapped;
	uint8_t *secret; /* PAYLOAD_SECRET_BYTES, locked; empty in between */
	struct tree_hash leaves[STORE_PENDING_MAX];
};

#endif
