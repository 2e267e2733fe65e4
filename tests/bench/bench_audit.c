/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_audit.c - the log against what it stands on, in one run
 *
 * Measures with the store's own code: commits against raw group fdatasync
 * of the same bytes, durable events a second, and verification against
 * sha256sum. Prints one JSON object. Its files are made in $KENAZ_BENCH_DIR
 * or the current directory, which should be on the disk that matters.
 */
#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/audit/files.h"
#include "engine/audit/source.h"
#include "engine/audit/store.h"

#define GROUP       16u  /* events in a commit */
#define WRITERS     512u /* events in a commit, each of another writer */
#define TEXT_BYTES  700u /* makes events of about 1 KiB */
#define SLICE_NS    ((uint64_t)250000000)
#define SLICES      10u
#define EVENTS_NS   ((uint64_t)3000000000)
#define VERIFY_RUNS 5u

static char dir[4096];
static struct store *store;
static uint64_t event_bytes, event_count;

static uint64_t now_ns(void)
{
	struct timespec t;

	assert(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int make_dir(const char *name)
{
	char path[4200];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert(mkdir(path, 0700) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

static void open_store(void)
{
	struct store_options o = {.log_dir_fd = make_dir("log"),
				  .key_dir_fd = make_dir("key"),
				  .anchor_dir_fd = make_dir("anchor"),
				  .origin = span_text("kenaz.bench/log")};
	struct buf why;

	buf_init(&why, 1024);
	if (store_open(&o, &store, &why) != ERR_OK) {
		(void)fprintf(stderr, "bench_audit: %.*s\n", (int)why.len_bytes,
			      (const char *)why.data);
		exit(1);
	}
	buf_fini(&why);
}

static void append(unsigned int count)
{
	static char text[TEXT_BYTES];
	struct store_event event = {.kind = KIND_PROMPT_SENT,
				    .session = span_text("a1b2c3d4e5f6"),
				    .actor = span_text("core")};
	struct store_receipt receipt;
	struct buf attrs;
	unsigned int i;

	memset(text, 'x', sizeof(text));
	buf_init(&attrs, 4096);
	assert(attrs_put_text(&attrs, "gen_ai.operation.name",
			      span_text("chat")) == ERR_OK);
	assert(attrs_put_u64(&attrs, "kenaz.grant", 12345) == ERR_OK);
	assert(attrs_put_text(&attrs, "url.full",
			      span_of(text, sizeof(text))) == ERR_OK);
	event.attrs = buf_span(&attrs);
	for (i = 0; i < count; i++)
		assert(store_append(store, &event, &receipt) == ERR_OK);
	buf_fini(&attrs);
	event_count += count;
}

static enum err add_bytes(void *context, uint64_t seq,
			  const struct tree_hash *leaf, struct span bytes)
{
	(void)seq;
	(void)leaf;
	*(size_t *)context += bytes.len_bytes;
	return ERR_OK;
}

/* Length of the latest group of events, in bytes. */
static size_t group_bytes(unsigned int events)
{
	size_t sum = 0;

	assert(db_scan_events(store_db(store), store_size(store) - events,
			      events, add_bytes, &sum) == ERR_OK);
	return sum;
}

static double commits(uint64_t for_ns)
{
	uint64_t start = now_ns(), count = 0;

	while (now_ns() - start < for_ns) {
		append(GROUP);
		assert(store_commit(store) == ERR_OK);
		count++;
	}
	return (double)count * 1e9 / (double)(now_ns() - start);
}

static double syncs(int fd, const uint8_t *bytes, size_t len, uint64_t for_ns)
{
	uint64_t start = now_ns(), count = 0;

	while (now_ns() - start < for_ns) {
		assert(files_write_all(fd, span_of(bytes, len)) == ERR_OK);
		assert(fdatasync(fd) == 0);
		count++;
	}
	return (double)count * 1e9 / (double)(now_ns() - start);
}

static void print(const char *name, double value, const char *unit,
		  double baseline, double target, const char *note, bool last)
{
	(void)printf("\"%s\":{\"value\":%.3f,\"unit\":\"%s\",\"baseline\":",
		     name, value, unit);
	if (baseline > 0)
		(void)printf("%.1f", baseline);
	else
		(void)printf("null");
	(void)printf(",\"target\":%g,\"note\":\"%s\"}%s", target, note,
		     last ? "" : ",\n");
}

/* Alternate in slices, so that both meet the same disk. */
static void bench_commits(void)
{
	double ours = 0, raw = 0;
	uint8_t *bytes;
	char path[4200], note[200];
	unsigned int i;
	size_t len;
	int fd;

	append(GROUP);
	assert(store_commit(store) == ERR_OK);
	len = group_bytes(GROUP);
	bytes = malloc(len);
	assert(bytes);
	randombytes_buf(bytes, len);
	(void)snprintf(path, sizeof(path), "%s/raw", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert(fd >= 0);
	for (i = 0; i < SLICES; i++) {
		raw += syncs(fd, bytes, len, SLICE_NS) / SLICES;
		ours += commits(SLICE_NS) / SLICES;
		(void)store_idle(store, now_ns());
	}
	close(fd);
	free(bytes);
	(void)snprintf(note, sizeof(note),
		       "commits of %u events (%zu bytes) a second over appends "
		       "of the same bytes with fdatasync, alternating",
		       GROUP, len);
	print("audit_vs_fdatasync", ours / raw, "ratio", raw, 0.8, note, false);
}

static void bench_events(void)
{
	uint64_t start, count = 0;
	double rate;

	start = now_ns();
	while (now_ns() - start < EVENTS_NS) {
		append(WRITERS);
		assert(store_commit(store) == ERR_OK);
		count += WRITERS;
	}
	rate = (double)count * 1e9 / (double)(now_ns() - start);
	print("audit_events_s", rate, "1/s", 0, 50000,
	      "durable events of about 1 KiB, 512 to a commit, with checkpoint "
	      "and read-back",
	      false);
}

static enum err to_file(void *context, uint64_t seq,
			const struct tree_hash *leaf, struct span bytes)
{
	(void)seq;
	(void)leaf;
	event_bytes += bytes.len_bytes;
	return fwrite(bytes.data, 1, bytes.len_bytes, context) ==
			       bytes.len_bytes
		       ? ERR_OK
		       : ERR_SYS;
}

static double time_sha256sum(const char *path)
{
	uint64_t start = now_ns();
	int status = 1, null;
	pid_t pid = fork();

	assert(pid >= 0);
	if (pid == 0) {
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		(void)dup2(null, STDOUT_FILENO);
		execlp("sha256sum", "sha256sum", path, NULL);
		_exit(127);
	}
	assert(waitpid(pid, &status, 0) == pid && status == 0);
	return (double)(now_ns() - start);
}

static double time_verify(const char *path)
{
	uint64_t start = now_ns();
	struct verify v;
	struct buf why;

	buf_init(&why, 1024);
	verify_init(&v);
	assert(source_files(path, &v, &why) == ERR_OK);
	assert(verify_finish(&v) == ERR_OK);
	verify_fini(&v);
	buf_fini(&why);
	return (double)(now_ns() - start);
}

static void bench_verify(void)
{
	char log_path[4200], flat_path[4200], note[200];
	double ours = 0, theirs = 0, t;
	unsigned int i;
	FILE *flat;

	(void)snprintf(log_path, sizeof(log_path), "%s/log", dir);
	(void)snprintf(flat_path, sizeof(flat_path), "%s/flat", dir);
	flat = fopen(flat_path, "wb");
	assert(flat);
	assert(db_scan_events(store_db(store), 0, UINT64_MAX, to_file, flat) ==
	       ERR_OK);
	assert(fclose(flat) == 0);
	store_close(store);
	for (i = 0; i < VERIFY_RUNS; i++) {
		t = time_sha256sum(flat_path);
		theirs = i == 0 || t < theirs ? t : theirs;
		t = time_verify(log_path);
		ours = i == 0 || t < ours ? t : ours;
	}
	(void)snprintf(note, sizeof(note),
		       "best of %u: kenaz-verify's code on a closed log of "
		       "%llu events over sha256sum of the same %llu bytes",
		       VERIFY_RUNS, (unsigned long long)event_count,
		       (unsigned long long)event_bytes);
	print("verify_vs_sha256sum", theirs / ours, "ratio",
	      (double)event_bytes * 1e9 / theirs, 0.5, note, true);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int main(void)
{
	const char *parent = getenv("KENAZ_BENCH_DIR");

	assert(digest_init() == ERR_OK && sodium_init() >= 0);
	(void)snprintf(dir, sizeof(dir), "%s/kenaz-bench-XXXXXX",
		       parent ? parent : ".");
	assert(mkdtemp(dir));
	open_store();
	(void)printf("{");
	bench_commits();
	bench_events();
	bench_verify();
	(void)printf("}\n");
	return getenv("KEEP") || nftw(dir, remove_one, 16,
				      FTW_DEPTH | FTW_PHYS) == 0
		       ? 0
		       : 1;
}
