/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify_main.c - kenaz-verify: check a log without its engine or its keys
 *
 * Runs in: kenaz-verify.
 * Trusts:  the anchor that its user names.
 * Never:   needs a key, a network or the engine.
 *
 * Exit codes: 0 verified, 1 not verified, 2 usage or not readable now,
 * 5 not found.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/audit/files.h"
#include "engine/audit/report.h"
#include "engine/audit/source.h"
#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/base/text.h"

#define EXIT_BAD       1
#define EXIT_USAGE     2
#define EXIT_NOT_FOUND 5

static const char usage[] =
	"usage: kenaz-verify --log DIR [--anchor FILE] [-o text|json]\n"
	"       kenaz-verify [--stream-fd N] [--anchor FILE] [-o text|json]\n"
	"\n"
	"Checks a log of Kenaz from its bytes: every event, checkpoint and\n"
	"epoch, and that it is not shorter than its anchor.\n"
	"  --log DIR       the log directory of a stopped engine\n"
	"  --stream-fd N   a dump (docs/audit-format.md) on descriptor N;\n"
	"                  without --log it is read from standard input\n"
	"  --anchor FILE   the anchor, best a copy kept elsewhere\n"
	"  -o json         one object instead of text\n"
	"Exit code: 0 verified, 1 not, 2 usage or not readable, 5 not found.\n";

struct arguments {
	const char *log_dir;
	const char *anchor;
	int stream_fd;
	bool json;
};

static int fail(const char *what, const char *value)
{
	char line[512];

	(void)text_escape_line(span_text(value), line, sizeof(line));
	(void)fprintf(stderr, "kenaz-verify: %s%s\n%s", what, line, usage);
	return EXIT_USAGE;
}

/* One option with its value; returns an exit code, or 0. */
static int take(struct arguments *a, const char *option, const char *value)
{
	uint64_t fd = 0;

	if (strcmp(option, "--log") == 0) {
		a->log_dir = value;
	} else if (strcmp(option, "--anchor") == 0) {
		a->anchor = value;
	} else if (strcmp(option, "--stream-fd") == 0) {
		if (text_parse_u64(span_text(value), 0, 1 << 20, &fd) != ERR_OK)
			return fail("--stream-fd takes a number, not ", value);
		a->stream_fd = (int)fd;
	} else if (strcmp(option, "-o") == 0) {
		if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0)
			return fail("-o takes text or json, not ", value);
		a->json = strcmp(value, "json") == 0;
	} else {
		return fail("unknown option ", option);
	}
	return 0;
}

static int parse(int argc, char **argv, struct arguments *a)
{
	int i, code = 0;

	*a = (struct arguments){.stream_fd = -1};
	for (i = 1; i < argc && code == 0; i += 2) {
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0) {
			(void)fputs(usage, stdout);
			exit(0);
		}
		if (i + 1 == argc)
			return fail("no value for, or unknown, ", argv[i]);
		code = take(a, argv[i], argv[i + 1]);
	}
	if (code == 0 && a->log_dir && a->stream_fd >= 0)
		return fail("--log and --stream-fd exclude each other", "");
	if (code == 0 && !a->log_dir && a->stream_fd < 0) {
		if (isatty(STDIN_FILENO))
			return fail("no log is named: give --log DIR, as "
				    "~/.local/state/kenaz/log",
				    "");
		a->stream_fd = STDIN_FILENO;
	}
	return code;
}

static enum err check(const struct arguments *a, struct verify *v,
		      struct buf *why)
{
	enum err e = ERR_OK;

	if (a->anchor)
		e = source_anchor(a->anchor, v, why);
	if (e != ERR_OK || v->failed)
		return e;
	return a->log_dir ? source_files(a->log_dir, v, why)
			  : source_stream(a->stream_fd, v, why);
}

static int say_why(enum err e, const struct buf *why)
{
	char line[1024];

	(void)text_escape_line(buf_span(why), line, sizeof(line));
	(void)fprintf(stderr, "kenaz-verify: %s\n",
		      why->len_bytes ? line : err_text(e));
	if (e == ERR_NOT_FOUND)
		return EXIT_NOT_FOUND;
	return e == ERR_INTEGRITY || e == ERR_FORMAT || e == ERR_SHORT
		       ? EXIT_BAD
		       : EXIT_USAGE;
}

static int say_result(const struct verify_report *r, bool json)
{
	struct buf out;
	enum err e;

	buf_init(&out, REPORT_MAX_BYTES);
	if (json)
		e = report_json(r, &out);
	else
		e = report_text(r, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
				&out);
	if (e == ERR_OK)
		e = files_write_all(STDOUT_FILENO, buf_span(&out));
	buf_fini(&out);
	if (e != ERR_OK)
		return EXIT_USAGE;
	return r->ok ? 0 : EXIT_BAD;
}

int main(int argc, char **argv)
{
	struct arguments a;
	struct verify v;
	struct buf why;
	int code = parse(argc, argv, &a);
	enum err e;

	log_init("kenaz-verify");
	if (code != 0)
		return code;
	if (sodium_init() < 0 || digest_init() != ERR_OK)
		die("kenaz-verify: libsodium or libgcrypt cannot be used");
	if (jail_enter(JAIL_VERIFY) != ERR_OK)
		die("kenaz-verify: privileges cannot be given up");
	buf_init(&why, 4096);
	verify_init(&v);
	e = check(&a, &v, &why);
	if (e != ERR_OK) {
		code = say_why(e, &why);
	} else {
		/* The result is in the report, whatever it is. */
		if (verify_finish(&v) != ERR_OK)
			log_debug("not verified");
		code = say_result(&v.report, a.json);
	}
	verify_fini(&v);
	buf_fini(&why);
	return code;
}
