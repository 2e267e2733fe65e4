/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_template.c - what binds a template's two files, and each refusal
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/proto/limits.h"
#include "vm/memory.h"
#include "vm/template.h"

#define PAGE 4096u

static struct memory guest;
static struct template_files made;
static struct template_key key;
static struct buf reason;

/* A guest with three pages in use, the last one among them. */
static int setup(void **state)
{
	(void)state;
	memset(&key, 7, sizeof(key));
	buf_init(&reason, REASON_MAX_BYTES);
	if (digest_init() != ERR_OK ||
	    memory_new_template(MEMORY_MIN_MIB, &guest) != ERR_OK)
		return -1;
	key.memory_bytes = guest.size_bytes;
	memset(guest.at + 3 * PAGE, 'a', PAGE);
	memset(guest.at + 9 * PAGE, 'b', PAGE);
	guest.at[guest.size_bytes - 1] = 'c';
	memory_unmap(&guest);
	return template_seal(guest.fd, &key, span_text("device state"),
			     &made) == ERR_OK
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	(void)state;
	close(made.memory_fd);
	close(made.state_fd);
	memory_free(&guest);
	buf_fini(&reason);
	return 0;
}

static bool says(const char *word)
{
	const char *text;

	assert_int_equal(buf_terminate(&reason, &text), ERR_OK);
	return strstr(text, word) != NULL;
}

static enum err open_it(int memory_fd, int state_fd, const uint8_t *digest,
			const struct template_key *wanted)
{
	struct template t;
	enum err e;

	buf_reset(&reason);
	e = template_open(memory_fd, state_fd, digest, wanted, &t, &reason);
	template_close(&t);
	return e;
}

static void what_was_made_can_be_used(void **state)
{
	struct template t;

	(void)state;
	assert_int_equal(made.memory_used_bytes, 3 * PAGE);
	assert_int_equal(template_open(made.memory_fd, made.state_fd,
				       made.digest, &key, &t, &reason),
			 ERR_OK);
	assert_true(span_is(t.state, "device state"));
	assert_memory_equal(&t.header.key, &key, sizeof(key));
	template_close(&t);
}

static void nobody_can_write_to_it(void **state)
{
	int fds[] = {made.memory_fd, made.state_fd};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(pwrite(fds[i], "x", 1, 0), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(ftruncate(fds[i], 0), -1);
		assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_SHARED, fds[i], 0),
				 MAP_FAILED);
	}
}

static void a_mapped_memory_is_not_sealed(void **state)
{
	struct template_files files;
	struct memory other;

	(void)state;
	assert_int_equal(memory_new_template(MEMORY_MIN_MIB, &other), ERR_OK);
	assert_int_equal(template_seal(other.fd, &key, span_text("s"), &files),
			 ERR_SYS);
	assert_int_equal(errno, EBUSY);
	memory_free(&other);
}

static void a_state_has_its_limits(void **state)
{
	static uint8_t big[TEMPLATE_STATE_MAX_BYTES + 1];
	struct template_files files;

	(void)state;
	assert_int_equal(template_seal(guest.fd, &key, span_of(NULL, 0),
				       &files),
			 ERR_LIMIT);
	assert_int_equal(template_seal(guest.fd, &key,
				       span_of(big, sizeof(big)), &files),
			 ERR_LIMIT);
}

static void a_clone_has_its_own_copy(void **state)
{
	struct memory_copy copy;
	struct memory clone;
	bool done = false;
	unsigned steps = 0;

	(void)state;
	assert_int_equal(memory_new(MEMORY_MIN_MIB, &clone), ERR_OK);
	assert_int_equal(memory_copy_begin(&clone, made.memory_fd, &copy),
			 ERR_OK);
	while (!done) {
		assert_int_equal(memory_copy_step(&copy, PAGE / 2, &done),
				 ERR_OK);
		steps++;
	}
	assert_int_equal(steps, 7);
	assert_int_equal(copy.copied_bytes, made.memory_used_bytes);
	memory_copy_end(&copy);
	assert_int_equal(clone.at[3 * PAGE], 'a');
	assert_int_equal(clone.at[10 * PAGE - 1], 'b');
	assert_int_equal(clone.at[10 * PAGE], 0);
	assert_int_equal(clone.at[clone.size_bytes - 1], 'c');
	clone.at[3 * PAGE] = 'z';
	memory_free(&clone);
	assert_int_equal(open_it(made.memory_fd, made.state_fd, made.digest,
				 &key),
			 ERR_OK);
}

static void another_digest_is_refused(void **state)
{
	uint8_t other[DIGEST_BYTES];

	(void)state;
	memcpy(other, made.digest, DIGEST_BYTES);
	other[31] ^= 1;
	assert_int_equal(open_it(made.memory_fd, made.state_fd, other, &key),
			 ERR_INTEGRITY);
	assert_true(says("not the one that was made"));
}

static void files_must_be_sealed(void **state)
{
	int open_fd = memfd_create("open", MFD_ALLOW_SEALING);
	struct memory unsealed;

	(void)state;
	assert_int_equal(open_it(made.memory_fd, open_fd, made.digest, &key),
			 ERR_INTEGRITY);
	assert_true(says("state file is not sealed"));
	close(open_fd);
	assert_int_equal(memory_new(MEMORY_MIN_MIB, &unsealed), ERR_OK);
	assert_int_equal(open_it(unsealed.fd, made.state_fd, made.digest, &key),
			 ERR_INTEGRITY);
	assert_true(says("not sealed against writing"));
	memory_free(&unsealed);
}

static void another_memory_is_refused(void **state)
{
	struct template_files other;
	struct memory m;

	(void)state;
	assert_int_equal(memory_new_template(MEMORY_MIN_MIB, &m), ERR_OK);
	memory_unmap(&m);
	assert_int_equal(template_seal(m.fd, &key, span_text("s"), &other),
			 ERR_OK);
	assert_int_equal(open_it(other.memory_fd, made.state_fd, made.digest,
				 &key),
			 ERR_INTEGRITY);
	assert_true(says("not the one its state belongs to"));
	close(other.memory_fd);
	close(other.state_fd);
	memory_free(&m);
}

static void another_machine_is_refused(void **state)
{
	struct template_key wanted = key;

	(void)state;
	wanted.manifest[0] ^= 1;
	assert_int_equal(open_it(made.memory_fd, made.state_fd, made.digest,
				 &wanted),
			 ERR_INTEGRITY);
	assert_true(says("another image"));
	wanted = key;
	wanted.qemu[0] ^= 1;
	assert_string_equal(template_key_differs(&key, &wanted),
			    "another QEMU program");
	wanted = key;
	wanted.arguments[0] ^= 1;
	assert_string_equal(template_key_differs(&key, &wanted),
			    "other arguments for QEMU");
	wanted = key;
	wanted.memory_bytes += PAGE;
	assert_string_equal(template_key_differs(&key, &wanted),
			    "another memory size");
}

static void refuses(struct buf *file, enum err want, const char *word)
{
	struct template_header h;
	const char *why = NULL;

	assert_int_equal(template_header_get(buf_span(file), &h, &why), want);
	assert_non_null(strstr(why, word));
}

static void bad_headers_are_refused(void **state)
{
	struct template_header h = {.key = key, .state_bytes = 2}, out;
	const char *why = NULL;
	struct buf file;

	(void)state;
	buf_init(&file, 4096);
	assert_int_equal(template_header_put(&h, &file), ERR_OK);
	assert_int_equal(file.len_bytes, TEMPLATE_HEADER_BYTES);
	refuses(&file, ERR_SHORT, "another length");
	assert_int_equal(buf_put_text(&file, "xy"), ERR_OK);
	assert_int_equal(template_header_get(buf_span(&file), &out, &why),
			 ERR_OK);
	assert_int_equal(out.state_bytes, 2);
	assert_int_equal(buf_put_text(&file, "z"), ERR_OK);
	refuses(&file, ERR_SHORT, "another length");
	buf_truncate(&file, TEMPLATE_HEADER_BYTES - 1);
	refuses(&file, ERR_SHORT, "cut off");
	buf_reset(&file);
	refuses(&file, ERR_SHORT, "cut off");
	h.key.memory_bytes = 4096;
	assert_int_equal(template_header_put(&h, &file), ERR_OK);
	refuses(&file, ERR_RANGE, "memory size");
	file.data[8] = 99;
	refuses(&file, ERR_VERSION, "another version");
	file.data[0] = 'X';
	refuses(&file, ERR_FORMAT, "is not one");
	buf_fini(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_made_can_be_used),
		cmocka_unit_test(nobody_can_write_to_it),
		cmocka_unit_test(a_mapped_memory_is_not_sealed),
		cmocka_unit_test(a_state_has_its_limits),
		cmocka_unit_test(a_clone_has_its_own_copy),
		cmocka_unit_test(another_digest_is_refused),
		cmocka_unit_test(files_must_be_sealed),
		cmocka_unit_test(another_memory_is_refused),
		cmocka_unit_test(another_machine_is_refused),
		cmocka_unit_test(bad_headers_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
