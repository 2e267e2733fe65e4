/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_session_fingerprint.c - the documents are what docs/fingerprint.md says
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/core/session_fingerprint.h"
#include "engine/proto/attrs.h"

static uint8_t vm[DIGEST_BYTES], nonce[32];

static struct session_identity identity(void)
{
	memset(vm, 0xab, sizeof(vm));
	memset(nonce, 0x01, sizeof(nonce));
	return (struct session_identity){.vm = vm,
					 .session = "calm-fox",
					 .user = "u\"1",
					 .policy = "00ff",
					 .nonce = nonce};
}

static void assert_document(const struct session_identity *id, const char *want)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(session_fingerprint_document(id, &b), ERR_OK);
	assert_int_equal(b.len_bytes, strlen(want));
	assert_memory_equal(b.data, want, b.len_bytes);
	buf_fini(&b);
}

#define AB8  "abababababababab"
#define ONE8 "0101010101010101"

static void document_is_canonical(void **state)
{
	struct session_identity id = identity();

	(void)state;
	assert_document(&id,
			"{\"v\":1,\"vm\":\"" AB8 AB8 AB8 AB8
			"\",\"session\":\"calm-fox\",\"user\":\"u\\\"1\","
			"\"policy\":\"00ff\",\"nonce\":\"" ONE8 ONE8 ONE8 ONE8
			"\"}");
	id.vm = NULL;
	assert_document(&id, "{\"v\":1,\"vm\":\"\",\"session\":\"calm-fox\","
			     "\"user\":\"u\\\"1\",\"policy\":\"00ff\","
			     "\"nonce\":\"" ONE8 ONE8 ONE8 ONE8 "\"}");
}

static void each_part_changes_the_digest(void **state)
{
	uint8_t first[DIGEST_BYTES], got[DIGEST_BYTES];
	struct session_identity id = identity();
	unsigned i;

	(void)state;
	assert_int_equal(session_fingerprint(&id, first), ERR_OK);
	for (i = 0; i < 5; i++) {
		id = identity();
		if (i == 0)
			vm[31] ^= 1;
		else if (i == 1)
			id.session = "calm-foy";
		else if (i == 2)
			id.user = "u2";
		else if (i == 3)
			id.policy = "00fe";
		else
			nonce[0] ^= 1;
		assert_int_equal(session_fingerprint(&id, got), ERR_OK);
		assert_memory_not_equal(first, got, sizeof(got));
	}
	id = identity();
	assert_int_equal(session_fingerprint(&id, got), ERR_OK);
	assert_memory_equal(first, got, sizeof(got));
}

static void the_vector_becomes_a_list(void **state)
{
	struct msg_vm_fingerprint m = {.argv = span_text("bwrap\n\n--\nqemu")};
	static const char *const want[] = {"bwrap", "", "--", "qemu"};
	struct reader items;
	struct attr attr;
	struct span item;
	struct buf b;
	unsigned i;

	(void)state;
	buf_init(&b, 16384);
	assert_int_equal(session_fingerprint_put_vm(&m, 128, 1, &b), ERR_OK);
	assert_true(attrs_find(buf_span(&b), "kenaz.vm.argv", &attr));
	assert_int_equal(attr.count, 4);
	reader_init(&items, attr.items);
	for (i = 0; i < 4; i++) {
		assert_true(attrs_list_next(&items, &item));
		assert_true(span_is(item, want[i]));
	}
	buf_fini(&b);
}

static void too_long_a_vector_is_refused(void **state)
{
	char lines[2 * ATTR_LIST_MAX_ITEMS + 3];
	struct msg_vm_fingerprint m = {0};
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines); i += 2) {
		lines[i] = 'a';
		if (i + 1 < sizeof(lines))
			lines[i + 1] = '\n';
	}
	m.argv = span_of(lines, sizeof(lines));
	buf_init(&b, 16384);
	assert_int_equal(session_fingerprint_put_vm(&m, 128, 1, &b), ERR_LIMIT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document_is_canonical),
		cmocka_unit_test(each_part_changes_the_digest),
		cmocka_unit_test(the_vector_becomes_a_list),
		cmocka_unit_test(too_long_a_vector_is_refused),
	};

	if (digest_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
