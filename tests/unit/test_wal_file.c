/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wal_file.c - what reaches the file, when, and what a failure does
 *
 * The layer below is a file in memory that counts its calls and fails on
 * demand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/audit/wal_file.h"

#define FILE_MAX_BYTES (4 * WAL_FILE_BUFFER_BYTES)
#define RANDOM_STEPS   20000

struct below {
	sqlite3_file base;
};

/* One file at a time. */
static struct {
	uint8_t bytes[FILE_MAX_BYTES];
	sqlite3_int64 size;
	unsigned writes, syncs, closes;
	unsigned fail_at_write; /* the number of the one that fails; 0: none */
	int fail_open;
	bool synced; /* nothing was written since */
} disk;

static int below_close(sqlite3_file *f)
{
	(void)f;
	disk.closes++;
	return SQLITE_OK;
}

static int below_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
	(void)f;
	if (at + len > disk.size)
		return SQLITE_IOERR_SHORT_READ;
	memcpy(out, disk.bytes + at, (size_t)len);
	return SQLITE_OK;
}

static int below_write(sqlite3_file *f, const void *data, int len,
		       sqlite3_int64 at)
{
	(void)f;
	if (++disk.writes == disk.fail_at_write)
		return SQLITE_IOERR_WRITE;
	assert_true(at >= 0 && at + len <= (sqlite3_int64)FILE_MAX_BYTES);
	memcpy(disk.bytes + at, data, (size_t)len);
	if (at + len > disk.size)
		disk.size = at + len;
	disk.synced = false;
	return SQLITE_OK;
}

static int below_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	(void)f;
	if (size < disk.size) {
		memset(disk.bytes + size, 0, (size_t)(disk.size - size));
		disk.size = size;
	}
	return SQLITE_OK;
}

static int below_sync(sqlite3_file *f, int flags)
{
	(void)f;
	(void)flags;
	disk.syncs++;
	disk.synced = true;
	return SQLITE_OK;
}

static int below_size(sqlite3_file *f, sqlite3_int64 *ret_size)
{
	(void)f;
	*ret_size = disk.size;
	return SQLITE_OK;
}

static int below_number(sqlite3_file *f)
{
	(void)f;
	return 4096;
}

static int below_level(sqlite3_file *f, int level)
{
	(void)f;
	return level;
}

static int below_reserved(sqlite3_file *f, int *ret_reserved)
{
	(void)f;
	*ret_reserved = 7;
	return SQLITE_OK;
}

static int below_control(sqlite3_file *f, int what, void *argument)
{
	(void)f;
	(void)argument;
	return what;
}

static const sqlite3_io_methods below_methods = {
	.iVersion = 1,
	.xClose = below_close,
	.xRead = below_read,
	.xWrite = below_write,
	.xTruncate = below_truncate,
	.xSync = below_sync,
	.xFileSize = below_size,
	.xLock = below_level,
	.xUnlock = below_level,
	.xCheckReservedLock = below_reserved,
	.xFileControl = below_control,
	.xSectorSize = below_number,
	.xDeviceCharacteristics = below_number,
};

static int below_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f,
		      int flags, int *ret_flags)
{
	(void)vfs;
	(void)name;
	(void)flags;
	(void)ret_flags;
	f->pMethods = disk.fail_open == 1 ? NULL : &below_methods;
	return disk.fail_open ? SQLITE_CANTOPEN : SQLITE_OK;
}

static sqlite3_vfs below_vfs = {
	.iVersion = 1,
	.szOsFile = (int)sizeof(struct below),
	.xOpen = below_open,
};

static sqlite3_file *file; /* of the test that runs */

static int set_up(void **state)
{
	(void)state;
	memset(&disk, 0, sizeof(disk));
	file = malloc((size_t)wal_file_size(&below_vfs));
	assert_non_null(file);
	assert_int_equal(wal_file_open(&below_vfs, "wal", file, 0, NULL),
			 SQLITE_OK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)file->pMethods->xClose(file);
	assert_int_equal(disk.closes, 1);
	free(file);
	return 0;
}

static int put(const void *data, size_t len, sqlite3_int64 at)
{
	return file->pMethods->xWrite(file, data, (int)len, at);
}

static int sync_file(void)
{
	return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

static void pieces_that_follow_are_one_write(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 10; i++)
		assert_int_equal(put("abcdef", 6, 32 + 6 * i), SQLITE_OK);
	assert_int_equal(disk.writes, 0);
	assert_int_equal(sync_file(), SQLITE_OK);
	assert_int_equal(disk.writes, 1);
	assert_int_equal(disk.syncs, 1);
	assert_true(disk.synced);
	assert_int_equal(disk.size, 92);
	assert_memory_equal(disk.bytes + 86, "abcdef", 6);
}

static void a_gap_and_a_step_back_write_first(void **state)
{
	(void)state;
	assert_int_equal(put("first", 5, 0), SQLITE_OK);
	assert_int_equal(put("far", 3, 100), SQLITE_OK);
	assert_int_equal(disk.writes, 1);
	assert_int_equal(put("F", 1, 0), SQLITE_OK);
	assert_int_equal(disk.writes, 2);
	assert_int_equal(sync_file(), SQLITE_OK);
	assert_memory_equal(disk.bytes, "First", 5);
	assert_memory_equal(disk.bytes + 100, "far", 3);
}

static void a_read_sees_what_was_written(void **state)
{
	char got[5];

	(void)state;
	assert_int_equal(put("hello", 5, 0), SQLITE_OK);
	assert_int_equal(file->pMethods->xRead(file, got, 5, 0), SQLITE_OK);
	assert_memory_equal(got, "hello", 5);
}

static void the_size_and_a_truncation_see_it_too(void **state)
{
	sqlite3_int64 size = 0;

	(void)state;
	assert_int_equal(put("hello", 5, 0), SQLITE_OK);
	assert_int_equal(file->pMethods->xFileSize(file, &size), SQLITE_OK);
	assert_int_equal(size, 5);
	assert_int_equal(put("world", 5, 5), SQLITE_OK);
	assert_int_equal(file->pMethods->xTruncate(file, 7), SQLITE_OK);
	assert_int_equal(sync_file(), SQLITE_OK);
	assert_int_equal(disk.size, 7);
	assert_memory_equal(disk.bytes, "hellowo", 7);
}

static void a_large_piece_goes_straight_through(void **state)
{
	size_t len = WAL_FILE_BUFFER_BYTES + 1;
	uint8_t *large = malloc(len);

	(void)state;
	assert_non_null(large);
	memset(large, 'x', len);
	assert_int_equal(put("small", 5, 0), SQLITE_OK);
	assert_int_equal(put(large, len, 5), SQLITE_OK);
	assert_int_equal(disk.writes, 2);
	assert_memory_equal(disk.bytes, "smallxxx", 8);
	assert_int_equal(disk.size, (sqlite3_int64)len + 5);
	free(large);
}

static void a_full_buffer_is_written_and_no_more(void **state)
{
	uint8_t page[4096];
	unsigned i, pages = WAL_FILE_BUFFER_BYTES / sizeof(page);

	(void)state;
	memset(page, 'p', sizeof(page));
	for (i = 0; i < pages; i++)
		assert_int_equal(put(page, sizeof(page),
				     (sqlite3_int64)(i * sizeof(page))),
				 SQLITE_OK);
	assert_int_equal(disk.writes, 0);
	assert_int_equal(put("q", 1, (sqlite3_int64)(pages * sizeof(page))),
			 SQLITE_OK);
	assert_int_equal(disk.writes, 1);
	assert_int_equal(disk.size, WAL_FILE_BUFFER_BYTES);
}

static void a_failed_write_fails_the_sync(void **state)
{
	(void)state;
	disk.fail_at_write = 1;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
	assert_int_equal(sync_file(), SQLITE_IOERR_WRITE);
	assert_int_equal(disk.syncs, 0);
	/* The piece is not written again behind SQLite's back. */
	assert_int_equal(sync_file(), SQLITE_OK);
	assert_int_equal(disk.writes, 1);
	assert_int_equal(disk.size, 0);
}

static void a_failed_write_fails_whatever_needed_it(void **state)
{
	sqlite3_int64 size;
	char got[4];

	(void)state;
	disk.fail_at_write = 1;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
	assert_int_equal(put("next", 4, 50), SQLITE_IOERR_WRITE);
	disk.fail_at_write = 2;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
	assert_int_equal(file->pMethods->xRead(file, got, 4, 0),
			 SQLITE_IOERR_WRITE);
	disk.fail_at_write = 3;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
	assert_int_equal(file->pMethods->xTruncate(file, 0),
			 SQLITE_IOERR_WRITE);
	disk.fail_at_write = 4;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
	assert_int_equal(file->pMethods->xFileSize(file, &size),
			 SQLITE_IOERR_WRITE);
	disk.fail_at_write = 5;
	assert_int_equal(put("lost", 4, 0), SQLITE_OK);
}

static void a_close_writes_what_is_left(void **state)
{
	sqlite3_file *other = malloc((size_t)wal_file_size(&below_vfs));

	(void)state;
	assert_non_null(other);
	assert_int_equal(wal_file_open(&below_vfs, "wal", other, 0, NULL),
			 SQLITE_OK);
	assert_int_equal(other->pMethods->xWrite(other, "end", 3, 0),
			 SQLITE_OK);
	assert_int_equal(other->pMethods->xClose(other), SQLITE_OK);
	assert_memory_equal(disk.bytes, "end", 3);
	assert_int_equal(wal_file_open(&below_vfs, "wal", other, 0, NULL),
			 SQLITE_OK);
	disk.fail_at_write = disk.writes + 1;
	assert_int_equal(other->pMethods->xWrite(other, "END", 3, 0),
			 SQLITE_OK);
	assert_int_equal(other->pMethods->xClose(other), SQLITE_IOERR_WRITE);
	assert_int_equal(disk.closes, 2);
	disk.closes = 0;
	free(other);
}

static void a_failed_open_leaves_nothing_open(void **state)
{
	sqlite3_file *other = malloc((size_t)wal_file_size(&below_vfs));

	(void)state;
	assert_non_null(other);
	disk.fail_open = 1;
	assert_int_equal(wal_file_open(&below_vfs, "wal", other, 0, NULL),
			 SQLITE_CANTOPEN);
	assert_null(other->pMethods);
	assert_int_equal(disk.closes, 0);
	disk.fail_open = 2; /* failed, and wants its close all the same */
	assert_int_equal(wal_file_open(&below_vfs, "wal", other, 0, NULL),
			 SQLITE_CANTOPEN);
	assert_null(other->pMethods);
	assert_int_equal(disk.closes, 1);
	disk.closes = 0;
	free(other);
}

static void the_rest_goes_to_the_layer_below(void **state)
{
	const sqlite3_io_methods *m = file->pMethods;
	int reserved = 0;

	(void)state;
	assert_int_equal(m->xLock(file, 3), 3);
	assert_int_equal(m->xUnlock(file, 2), 2);
	assert_int_equal(m->xCheckReservedLock(file, &reserved), SQLITE_OK);
	assert_int_equal(reserved, 7);
	assert_int_equal(m->xFileControl(file, 12, NULL), 12);
	assert_int_equal(m->xSectorSize(file), 4096);
	assert_int_equal(m->xDeviceCharacteristics(file), 4096);
}

/* xorshift: the same steps in every run */
static uint32_t next(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static uint8_t wanted[FILE_MAX_BYTES];
static sqlite3_int64 wanted_size;

static void write_some(uint8_t fill)
{
	static uint8_t data[8192];
	size_t len = 1 + next() % sizeof(data);
	sqlite3_int64 at =
		next() % 4 ? wanted_size : (sqlite3_int64)(next() % 200000);

	if (at + (sqlite3_int64)len > (sqlite3_int64)FILE_MAX_BYTES)
		at = 0;
	memset(data, fill, len);
	assert_int_equal(put(data, len, at), SQLITE_OK);
	memcpy(wanted + at, data, len);
	if (at + (sqlite3_int64)len > wanted_size)
		wanted_size = at + (sqlite3_int64)len;
}

static void cut_some(void)
{
	sqlite3_int64 to = (sqlite3_int64)(next() % 200000);

	if (to > wanted_size)
		to = wanted_size;
	assert_int_equal(file->pMethods->xTruncate(file, to), SQLITE_OK);
	memset(wanted + to, 0, (size_t)(wanted_size - to));
	wanted_size = to;
}

static void random_steps_end_in_the_same_file(void **state)
{
	int i;

	(void)state;
	memset(wanted, 0, sizeof(wanted));
	wanted_size = 0;
	for (i = 0; i < RANDOM_STEPS; i++) {
		unsigned what = next() % 50;

		if (what == 0)
			cut_some();
		else if (what > 2)
			write_some((uint8_t)next());
		if (what != 1)
			continue;
		assert_int_equal(sync_file(), SQLITE_OK);
		assert_true(disk.synced);
		assert_int_equal(disk.size, wanted_size);
		assert_memory_equal(disk.bytes, wanted, (size_t)wanted_size);
	}
	assert_true(disk.syncs > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pieces_that_follow_are_one_write),
		TEST(a_gap_and_a_step_back_write_first),
		TEST(a_read_sees_what_was_written),
		TEST(the_size_and_a_truncation_see_it_too),
		TEST(a_large_piece_goes_straight_through),
		TEST(a_full_buffer_is_written_and_no_more),
		TEST(a_failed_write_fails_the_sync),
		TEST(a_failed_write_fails_whatever_needed_it),
		TEST(a_close_writes_what_is_left),
		TEST(a_failed_open_leaves_nothing_open),
		TEST(the_rest_goes_to_the_layer_below),
		TEST(random_steps_end_in_the_same_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
