/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - the RFC 6962 Merkle tree: append, root, proofs, verification */
#ifndef KENAZ_AUDIT_TREE_H
#define KENAZ_AUDIT_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/digest.h"

#define TREE_LEVELS_MAX 64u
#define TREE_PROOF_MAX  64u /* hashes */
#define TREE_SIZE_MAX   ((uint64_t)1 << 53)

struct tree_hash {
	uint8_t bytes[DIGEST_BYTES];
};

/* Roots of the full subtrees, largest first; plain data, copied freely. */
struct tree {
	uint64_t size;
	unsigned int count;
	struct tree_hash frontier[TREE_LEVELS_MAX];
};

struct tree_proof {
	size_t count;
	struct tree_hash hashes[TREE_PROOF_MAX];
};

/* Gives the hash of leaf @index; used to make proofs. */
typedef enum err (*tree_leaf_fn)(void *context, uint64_t index,
				 struct tree_hash *ret_hash);

void tree_init(struct tree *t);
MUST_CHECK enum err tree_append(struct tree *t, const struct tree_hash *leaf);
void tree_root(const struct tree *t, struct tree_hash *ret_root);

MUST_CHECK enum err tree_range(tree_leaf_fn leaf, void *context, uint64_t first,
			       uint64_t count, struct tree_hash *ret_hash);
MUST_CHECK enum err tree_prove_inclusion(tree_leaf_fn leaf, void *context,
					 uint64_t index, uint64_t size,
					 struct tree_proof *ret_proof);
MUST_CHECK enum err tree_prove_consistency(tree_leaf_fn leaf, void *context,
					   uint64_t old_size, uint64_t size,
					   struct tree_proof *ret_proof);
MUST_CHECK enum err tree_verify_inclusion(const struct tree_hash *leaf,
					  uint64_t index, uint64_t size,
					  const struct tree_proof *proof,
					  const struct tree_hash *root);
MUST_CHECK enum err tree_verify_consistency(uint64_t old_size,
					    const struct tree_hash *old_root,
					    uint64_t size,
					    const struct tree_hash *root,
					    const struct tree_proof *proof);

#endif
