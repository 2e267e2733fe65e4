/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - the RFC 6962 Merkle tree: append, root, proofs, verification
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing: proofs and sizes may come from anybody.
 * Never:   does I/O; leaves come from the caller.
 *
 * RFC 6962 section 2.1: a node is SHA-256(0x01 || left || right), the left
 * subtree of n leaves holds the largest power of two below n, and the tree
 * of none is SHA-256(""). Verification follows RFC 9162 sections 2.1.3.2 and
 * 2.1.4.2. The running tree keeps one hash for each set bit of its size, so
 * an append costs at most one node for each level.
 */
#include "engine/audit/tree.h"

#include <assert.h>
#include <string.h>

static void hash_node(const struct tree_hash *left,
		      const struct tree_hash *right, struct tree_hash *ret)
{
	uint8_t bytes[1 + 2 * DIGEST_BYTES] = {0x01};

	memcpy(bytes + 1, left->bytes, DIGEST_BYTES);
	memcpy(bytes + 1 + DIGEST_BYTES, right->bytes, DIGEST_BYTES);
	digest_sha256(span_of(bytes, sizeof(bytes)), ret->bytes);
}

static bool same(const struct tree_hash *a, const struct tree_hash *b)
{
	return digest_equal(a->bytes, b->bytes);
}

/**
 * tree_init() - Make an empty tree
 * @t:	Caller's memory
 */
void tree_init(struct tree *t)
{
	*t = (struct tree){0};
}

/**
 * tree_append() - Add a leaf
 * @t:		Tree
 * @leaf:	Leaf hash, borrowed
 *
 * Return: ERR_OK; ERR_LIMIT at TREE_SIZE_MAX.
 */
enum err tree_append(struct tree *t, const struct tree_hash *leaf)
{
	struct tree_hash hash = *leaf;
	uint64_t bits;

	if (t->size >= TREE_SIZE_MAX)
		return ERR_LIMIT;
	for (bits = t->size; bits & 1; bits >>= 1) {
		t->count--;
		hash_node(&t->frontier[t->count], &hash, &hash);
	}
	t->frontier[t->count++] = hash;
	t->size++;
	return ERR_OK;
}

/**
 * tree_root() - The root at the present size
 * @t:		Tree
 * @ret_root:	The root
 */
void tree_root(const struct tree *t, struct tree_hash *ret_root)
{
	struct tree_hash hash;
	unsigned int i;

	if (t->count == 0) {
		digest_sha256(span_of(NULL, 0), ret_root->bytes);
		return;
	}
	hash = t->frontier[t->count - 1];
	for (i = t->count - 1; i-- > 0;)
		hash_node(&t->frontier[i], &hash, &hash);
	*ret_root = hash;
}

/**
 * tree_range() - The root over a run of leaves
 * @leaf:	Gives leaf hashes
 * @context:	For @leaf
 * @first:	Index of the first leaf
 * @count:	How many leaves
 * @ret_hash:	Written on success
 *
 * Return: ERR_OK, or what @leaf returned.
 */
enum err tree_range(tree_leaf_fn leaf, void *context, uint64_t first,
		    uint64_t count, struct tree_hash *ret_hash)
{
	struct tree_hash hash;
	struct tree t;
	uint64_t i;
	enum err e;

	tree_init(&t);
	for (i = 0; i < count; i++) {
		e = leaf(context, first + i, &hash);
		if (e == ERR_OK)
			e = tree_append(&t, &hash);
		if (e != ERR_OK)
			return e;
	}
	tree_root(&t, ret_hash);
	return ERR_OK;
}

/* The largest power of two below n; n > 1. */
static uint64_t split_point(uint64_t n)
{
	return (uint64_t)1 << (63 - __builtin_clzll(n - 1));
}

static void proof_add(struct tree_proof *p, const struct tree_hash *hash)
{
	assert(p->count < TREE_PROOF_MAX);
	p->hashes[p->count++] = *hash;
}

static void proof_reverse(struct tree_proof *p)
{
	size_t i;

	for (i = 0; i < p->count / 2; i++) {
		struct tree_hash swap = p->hashes[i];

		p->hashes[i] = p->hashes[p->count - 1 - i];
		p->hashes[p->count - 1 - i] = swap;
	}
}

/**
 * tree_prove_inclusion() - Make the audit path of a leaf
 * @leaf:	Gives leaf hashes
 * @context:	For @leaf
 * @index:	Which leaf
 * @size:	Size of the tree, above @index
 * @ret_proof:	From the leaf to the root; written on success
 *
 * Return: ERR_OK; ERR_RANGE; what @leaf returned.
 */
enum err tree_prove_inclusion(tree_leaf_fn leaf, void *context, uint64_t index,
			      uint64_t size, struct tree_proof *ret_proof)
{
	struct tree_proof p = {0};
	struct tree_hash hash;
	uint64_t first = 0, n = size;
	enum err e = ERR_OK;

	if (index >= size || size > TREE_SIZE_MAX)
		return ERR_RANGE;
	while (e == ERR_OK && n > 1) {
		uint64_t k = split_point(n);

		if (index - first < k) {
			e = tree_range(leaf, context, first + k, n - k, &hash);
			n = k;
		} else {
			e = tree_range(leaf, context, first, k, &hash);
			first += k;
			n -= k;
		}
		if (e == ERR_OK)
			proof_add(&p, &hash);
	}
	proof_reverse(&p);
	if (e == ERR_OK)
		*ret_proof = p;
	return e;
}

/**
 * tree_prove_consistency() - Show that one tree extends another
 * @leaf:	Gives leaf hashes
 * @context:	For @leaf
 * @old_size:	Size of the older tree, at least 1
 * @size:	Size of the newer tree
 * @ret_proof:	Empty when the sizes are equal; written on success
 *
 * Return: ERR_OK; ERR_RANGE; what @leaf returned.
 */
enum err tree_prove_consistency(tree_leaf_fn leaf, void *context,
				uint64_t old_size, uint64_t size,
				struct tree_proof *ret_proof)
{
	struct tree_proof p = {0};
	struct tree_hash hash;
	uint64_t first = 0, m = old_size, n = size;
	bool whole = true; /* the old tree is a subtree so far */
	enum err e = ERR_OK;

	if (old_size == 0 || old_size > size || size > TREE_SIZE_MAX)
		return ERR_RANGE;
	while (e == ERR_OK && m < n) {
		uint64_t k = split_point(n);

		if (m <= k) {
			e = tree_range(leaf, context, first + k, n - k, &hash);
			n = k;
		} else {
			e = tree_range(leaf, context, first, k, &hash);
			first += k;
			m -= k;
			n -= k;
			whole = false;
		}
		if (e == ERR_OK)
			proof_add(&p, &hash);
	}
	if (e == ERR_OK && !whole) {
		e = tree_range(leaf, context, first, n, &hash);
		if (e == ERR_OK)
			proof_add(&p, &hash);
	}
	proof_reverse(&p);
	if (e == ERR_OK)
		*ret_proof = p;
	return e;
}

/**
 * tree_verify_inclusion() - Check an audit path (RFC 9162 2.1.3.2)
 * @leaf:	Leaf hash
 * @index:	Its index
 * @size:	Size of the tree
 * @proof:	From the leaf to the root
 * @root:	Root of that tree
 *
 * Return: ERR_OK; ERR_RANGE; ERR_INTEGRITY when it proves nothing.
 */
enum err tree_verify_inclusion(const struct tree_hash *leaf, uint64_t index,
			       uint64_t size, const struct tree_proof *proof,
			       const struct tree_hash *root)
{
	uint64_t fn = index, sn = size - 1;
	struct tree_hash r = *leaf;
	size_t i;

	if (index >= size || size > TREE_SIZE_MAX)
		return ERR_RANGE;
	for (i = 0; i < proof->count; i++) {
		const struct tree_hash *p = &proof->hashes[i];

		if (sn == 0)
			return ERR_INTEGRITY;
		if ((fn & 1) || fn == sn) {
			hash_node(p, &r, &r);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			hash_node(&r, p, &r);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && same(&r, root) ? ERR_OK : ERR_INTEGRITY;
}

/* The body of RFC 9162 2.1.4.2 for old_size < size. */
static bool consistent(uint64_t fn, uint64_t sn, const struct tree_hash *hashes,
		       size_t count, const struct tree_hash *old_root,
		       const struct tree_hash *root)
{
	struct tree_hash fr = hashes[0], sr = hashes[0];
	size_t i;

	for (i = 1; i < count; i++) {
		if (sn == 0)
			return false;
		if ((fn & 1) || fn == sn) {
			hash_node(&hashes[i], &fr, &fr);
			hash_node(&hashes[i], &sr, &sr);
			while (!(fn & 1) && fn != 0) {
				fn >>= 1;
				sn >>= 1;
			}
		} else {
			hash_node(&sr, &hashes[i], &sr);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && same(&fr, old_root) && same(&sr, root);
}

/**
 * tree_verify_consistency() - Check that one tree extends another
 * @old_size:	Size of the older tree, at least 1
 * @old_root:	Its root
 * @size:	Size of the newer tree
 * @root:	Its root
 * @proof:	From tree_prove_consistency(), or from anybody
 *
 * Return: ERR_OK; ERR_RANGE; ERR_INTEGRITY when it proves nothing.
 */
enum err tree_verify_consistency(uint64_t old_size,
				 const struct tree_hash *old_root,
				 uint64_t size, const struct tree_hash *root,
				 const struct tree_proof *proof)
{
	struct tree_hash hashes[TREE_PROOF_MAX + 1];
	uint64_t fn = old_size - 1, sn = size - 1;
	size_t count = 0;

	if (old_size == 0 || old_size > size || size > TREE_SIZE_MAX ||
	    proof->count > TREE_PROOF_MAX)
		return ERR_RANGE;
	if (old_size == size)
		return proof->count == 0 && same(old_root, root)
			       ? ERR_OK
			       : ERR_INTEGRITY;
	if (proof->count == 0)
		return ERR_INTEGRITY;
	/* A full old tree is left out of the proof: its root is known. */
	if ((old_size & (old_size - 1)) == 0)
		hashes[count++] = *old_root;
	memcpy(hashes + count, proof->hashes, proof->count * sizeof(hashes[0]));
	count += proof->count;
	while (fn & 1) {
		fn >>= 1;
		sn >>= 1;
	}
	return consistent(fn, sn, hashes, count, old_root, root)
		       ? ERR_OK
		       : ERR_INTEGRITY;
}
