/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree.c - the Merkle tree against the RFC's own recursive definition */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "engine/audit/tree.h"
#include "engine/base/text.h"

#define LEAVES 130

static struct tree_hash leaves[LEAVES];

static enum err leaf_at(void *context, uint64_t index, struct tree_hash *ret)
{
	(void)context;
	assert_true(index < LEAVES);
	*ret = leaves[index];
	return ERR_OK;
}

static enum err leaf_fails(void *context, uint64_t index, struct tree_hash *ret)
{
	(void)context;
	(void)index;
	(void)ret;
	return ERR_STORAGE;
}

/* MTH of RFC 6962 section 2.1, word for word. */
static struct tree_hash naive(size_t first, size_t n)
{
	struct tree_hash root, left, right;
	uint8_t bytes[65] = {1};
	size_t k = 1;

	if (n == 0) {
		digest_sha256(span_of(NULL, 0), root.bytes);
		return root;
	}
	if (n == 1)
		return leaves[first];
	while (k * 2 < n)
		k *= 2;
	left = naive(first, k);
	right = naive(first + k, n - k);
	memcpy(bytes + 1, left.bytes, 32);
	memcpy(bytes + 33, right.bytes, 32);
	digest_sha256(span_of(bytes, 65), root.bytes);
	return root;
}

static void assert_same(const struct tree_hash *a, const struct tree_hash *b)
{
	assert_memory_equal(a->bytes, b->bytes, DIGEST_BYTES);
}

static void appended_root_is_the_rfcs_root(void **state)
{
	struct tree_hash root, expected;
	struct tree t;
	size_t n;

	(void)state;
	tree_init(&t);
	for (n = 0; n <= LEAVES; n++) {
		tree_root(&t, &root);
		expected = naive(0, n);
		assert_same(&root, &expected);
		assert_int_equal(tree_range(leaf_at, NULL, 0, n, &root),
				 ERR_OK);
		assert_same(&root, &expected);
		if (n < LEAVES)
			assert_int_equal(tree_append(&t, &leaves[n]), ERR_OK);
	}
	assert_int_equal(t.size, LEAVES);
}

/* The certificate-transparency test vectors for the first eight leaves. */
static void roots_match_published_vectors(void **state)
{
	static const char *const inputs[] = {
		"",
		"00",
		"10",
		"2021",
		"3031",
		"40414243",
		"5051525354555657",
		"606162636465666768696a6b6c6d6e6f"};
	static const char *const roots[] = {"6e340b9cffb37a989ca544e6bb780a2c"
					    "78901d3fb33738768511a30617afa01d",
					    "fac54203e7cc696cf0dfcb42c92a1d9d"
					    "baf70ad9e621f4bd8d98662f00e3c125",
					    "aeb6bcfe274b70a14fb067a5e5578264"
					    "db0fa9b51af5e0ba159158f329e06e77",
					    "d37ee418976dd95753c1c73862b9398f"
					    "a2a2cf9b4ff0fdfe8b30cd95209614b7",
					    "4e3bbb1f7b478dcfe71fb631631519a3"
					    "bca12c9aefca1612bfce4c13a86264d4",
					    "76e67dadbcdf1e10e1b74ddc608abd2f"
					    "98dfb16fbce75277b5232a127f2087ef",
					    "ddb89be403809e325750d3d263cd7892"
					    "9c2942b7942a34b77e122c9594a74c8c",
					    "5dc9da79a70659a9ad559cb701ded9a2"
					    "ab9d823aad2f4960cfe370eff4604328"};
	struct tree_hash leaf, root;
	char hex[DIGEST_HEX_BYTES];
	uint8_t bytes[17] = {0};
	struct tree t;
	size_t i, len;

	(void)state;
	tree_init(&t);
	for (i = 0; i < ARRAY_SIZE(inputs); i++) {
		len = strlen(inputs[i]) / 2;
		assert_int_equal(text_unhex(span_text(inputs[i]), bytes + 1,
					    len),
				 ERR_OK);
		digest_sha256(span_of(bytes, len + 1), leaf.bytes);
		assert_int_equal(tree_append(&t, &leaf), ERR_OK);
		tree_root(&t, &root);
		text_hex(root.bytes, DIGEST_BYTES, hex);
		assert_string_equal(hex, roots[i]);
	}
}

static void every_inclusion_proof_verifies(void **state)
{
	struct tree_proof p;
	struct tree_hash root, wrong;
	size_t n, i, k;

	(void)state;
	for (n = 1; n <= LEAVES; n += n < 40 ? 1 : 9) {
		root = naive(0, n);
		for (i = 0; i < n; i++) {
			assert_int_equal(tree_prove_inclusion(leaf_at, NULL, i,
							      n, &p),
					 ERR_OK);
			assert_int_equal(tree_verify_inclusion(&leaves[i], i, n,
							       &p, &root),
					 ERR_OK);
			wrong = leaves[i];
			wrong.bytes[3] ^= 4;
			assert_int_equal(tree_verify_inclusion(&wrong, i, n, &p,
							       &root),
					 ERR_INTEGRITY);
			if (i > 0)
				assert_int_equal(
					tree_verify_inclusion(&leaves[i], i - 1,
							      n, &p, &root),
					ERR_INTEGRITY);
			for (k = 0; k < p.count; k++) {
				p.hashes[k].bytes[0] ^= 1;
				assert_int_equal(
					tree_verify_inclusion(&leaves[i], i, n,
							      &p, &root),
					ERR_INTEGRITY);
				p.hashes[k].bytes[0] ^= 1;
			}
			p.count++;
			assert_int_equal(tree_verify_inclusion(&leaves[i], i, n,
							       &p, &root),
					 ERR_INTEGRITY);
		}
	}
}

static void every_consistency_proof_verifies(void **state)
{
	struct tree_hash old_root, root, wrong;
	struct tree_proof p;
	size_t m, n, k;

	(void)state;
	for (n = 1; n <= 40; n++) {
		root = naive(0, n);
		for (m = 1; m <= n; m++) {
			old_root = naive(0, m);
			assert_int_equal(tree_prove_consistency(leaf_at, NULL,
								m, n, &p),
					 ERR_OK);
			assert_int_equal(tree_verify_consistency(m, &old_root,
								 n, &root, &p),
					 ERR_OK);
			wrong = old_root;
			wrong.bytes[31] ^= 1;
			assert_int_equal(tree_verify_consistency(m, &wrong, n,
								 &root, &p),
					 ERR_INTEGRITY);
			for (k = 0; k < p.count; k++) {
				p.hashes[k].bytes[9] ^= 1;
				assert_int_equal(
					tree_verify_consistency(m, &old_root, n,
								&root, &p),
					ERR_INTEGRITY);
				p.hashes[k].bytes[9] ^= 1;
			}
			if (p.count) {
				p.count--;
				assert_int_equal(
					tree_verify_consistency(m, &old_root, n,
								&root, &p),
					ERR_INTEGRITY);
			}
		}
	}
}

static void impossible_sizes_are_refused(void **state)
{
	struct tree_proof p = {0};
	struct tree_hash h = {0};
	struct tree t = {.size = TREE_SIZE_MAX};

	(void)state;
	assert_int_equal(tree_append(&t, &h), ERR_LIMIT);
	assert_int_equal(tree_prove_inclusion(leaf_at, NULL, 3, 3, &p),
			 ERR_RANGE);
	assert_int_equal(tree_prove_consistency(leaf_at, NULL, 0, 3, &p),
			 ERR_RANGE);
	assert_int_equal(tree_prove_consistency(leaf_at, NULL, 4, 3, &p),
			 ERR_RANGE);
	assert_int_equal(tree_verify_inclusion(&h, 0, 0, &p, &h), ERR_RANGE);
	assert_int_equal(tree_verify_consistency(0, &h, 1, &h, &p), ERR_RANGE);
	assert_int_equal(tree_verify_consistency(1, &h, 2, &h, &p),
			 ERR_INTEGRITY);
	p.count = TREE_PROOF_MAX + 1;
	assert_int_equal(tree_verify_consistency(1, &h, 2, &h, &p), ERR_RANGE);
	assert_int_equal(tree_prove_inclusion(leaf_fails, NULL, 0, 3, &p),
			 ERR_STORAGE);
	assert_int_equal(tree_prove_consistency(leaf_fails, NULL, 1, 3, &p),
			 ERR_STORAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appended_root_is_the_rfcs_root),
		cmocka_unit_test(roots_match_published_vectors),
		cmocka_unit_test(every_inclusion_proof_verifies),
		cmocka_unit_test(every_consistency_proof_verifies),
		cmocka_unit_test(impossible_sizes_are_refused),
	};
	size_t i;

	if (digest_init() != ERR_OK)
		return 1;
	for (i = 0; i < LEAVES; i++) {
		uint8_t bytes[2] = {0, (uint8_t)i};

		digest_sha256(span_of(bytes, 2), leaves[i].bytes);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
