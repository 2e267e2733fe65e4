/* SPDX-License-Identifier: Apache-2.0 */
/* test_file.c - small files as a whole */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/file.h"

#define BIG_BYTES (1u << 20)

static void a_file_is_read_whole_or_not_at_all(void **state)
{
	char path[] = "/tmp/kenaz-file-XXXXXX", text[8];
	int fd = mkstemp(path);
	struct span s;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(file_read(path, text, sizeof(text), &s), ERR_OK);
	assert_int_equal(s.len_bytes, 0);
	assert_int_equal(file_write_all(fd, span_text("seven.7")), ERR_OK);
	assert_int_equal(file_read(path, text, sizeof(text), &s), ERR_OK);
	assert_true(span_is(s, "seven.7"));
	assert_int_equal(file_write_all(fd, span_text("8")), ERR_OK);
	assert_int_equal(file_read(path, text, sizeof(text), &s), ERR_LIMIT);
	close(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(file_read(path, text, sizeof(text), &s),
			 ERR_NOT_FOUND);
	assert_int_equal(file_read("/tmp", text, sizeof(text), &s), ERR_SYS);
}

static void *drain(void *arg)
{
	static uint8_t chunk[999];
	size_t total = 0;
	ssize_t n;

	while ((n = read(*(int *)arg, chunk, sizeof(chunk))) > 0)
		total += (size_t)n;
	return (void *)(uintptr_t)total;
}

static void what_a_pipe_takes_in_parts_is_written_whole(void **state)
{
	uint8_t *data = calloc(1, BIG_BYTES);
	pthread_t reader;
	void *total;
	int fds[2];

	(void)state;
	assert_non_null(data);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pthread_create(&reader, NULL, drain, &fds[0]), 0);
	assert_int_equal(file_write_all(fds[1], span_of(data, BIG_BYTES)),
			 ERR_OK);
	close(fds[1]);
	assert_int_equal(pthread_join(reader, &total), 0);
	assert_int_equal((uintptr_t)total, BIG_BYTES);
	assert_int_equal(file_write_all(fds[0], span_text("x")), ERR_SYS);
	close(fds[0]);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
		cmocka_unit_test(what_a_pipe_takes_in_parts_is_written_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
