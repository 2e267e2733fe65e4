/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-vt: hostile terminal bytes in, harmless ones out
 *
 * Runs in: its own process, one for each attach, started by kenaz.
 * Trusts:  its arguments.
 * Never:   opens a file, answers the program that it filters.
 *
 * Theory of operation: bytes from descriptor 0 go through vt_parser to
 * descriptor 1. With --sync every read is one chunk, and one NUL byte follows
 * its output: the client then knows how far the filter is and can end one
 * that hangs. NUL is never part of the output itself.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/file.h"
#include "tui/vt/vt_jail.h"
#include "tui/vt/vt_parser.h"

#define CHUNK_MAX_BYTES 16384u
#define OUT_MAX_BYTES   (CHUNK_MAX_BYTES * VT_GROWTH_MAX + VT_PENDING_MAX_BYTES)

struct options {
	bool sync;
	bool verbose;
};

static void print_counters(const struct vt_parser *p)
{
	char line[128];
	size_t i;
	int len;

	for (i = 0; i < VT_COUNTER_COUNT; i++) {
		if (p->counters[i] == 0)
			continue;
		len = snprintf(line, sizeof(line),
			       "kenaz-vt: %llu %s not handed on\n",
			       (unsigned long long)p->counters[i],
			       vt_counter_text((enum vt_counter)i));
		if (len > 0 &&
		    file_write_all(STDERR_FILENO, span_of(line, (size_t)len)) !=
			    ERR_OK)
			return;
	}
}

static enum err filter(const struct options *options, struct vt_parser *p,
		       uint8_t *chunk, struct buf *out)
{
	enum err e = ERR_OK;
	ssize_t n;

	while (e == ERR_OK) {
		n = read(STDIN_FILENO, chunk, CHUNK_MAX_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		if (n == 0)
			break;
		buf_reset(out);
		e = vt_parser_feed(p, span_of(chunk, (size_t)n), out);
		if (e == ERR_OK && options->sync)
			e = buf_put_u8(out, 0);
		if (e == ERR_OK)
			e = file_write_all(STDOUT_FILENO, buf_span(out));
	}
	if (e != ERR_OK)
		return e;
	buf_reset(out);
	e = vt_parser_finish(p, out);
	if (e == ERR_OK)
		e = file_write_all(STDOUT_FILENO, buf_span(out));
	return e;
}

static bool parse_options(int argc, char **argv, struct options *ret_options)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--sync") == 0)
			ret_options->sync = true;
		else if (strcmp(argv[i], "-v") == 0)
			ret_options->verbose = true;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static uint8_t chunk[CHUNK_MAX_BYTES];
	struct options options = {0};
	struct vt_parser parser;
	struct buf out;
	uint8_t *room;
	enum err e;

	log_init("kenaz-vt");
	if (!parse_options(argc, argv, &options)) {
		log_error("usage: kenaz-vt [--sync] [-v] <program's output "
			  ">filtered output");
		return 2;
	}
	vt_parser_init(&parser);
	buf_init(&out, OUT_MAX_BYTES);
	/* All memory now: the filter below allows no more. */
	if (buf_reserve(&out, OUT_MAX_BYTES, &room) != ERR_OK)
		die("not enough memory to start");
	memset(room, 0, OUT_MAX_BYTES);
	e = vt_jail_enter();
	if (e != ERR_OK)
		die("cannot close the sandbox: %s; nothing was read",
		    err_text(e));
	e = filter(&options, &parser, chunk, &out);
	if (options.verbose)
		print_counters(&parser);
	return e == ERR_OK ? 0 : 1;
}
