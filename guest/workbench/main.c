/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-workbench: an agent in a terminal, inside the VM
 *
 * Runs in: kenaz-workbench, as the user `agent`.
 * Trusts:  the user; nothing that the model or a command prints.
 * Never:   holds a key: the gate's host side has it.
 *
 * Works the same on a terminal and in a pipe: lines in, lines out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/base/version.h"
#include "guest/workbench/turn.h"

#define PROMPT_MAX_BYTES (256u * 1024)
#define DEFAULT_URL      "http://127.0.0.1:4141"
#define DEFAULT_MODEL    "default"
#define DEFAULT_KEY      "kenaz-no-key-in-guest"
#define EXIT_USAGE       2
#define EXIT_INTERRUPTED 130

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static bool is_cancelled(void)
{
	return interrupted != 0;
}

static void usage(FILE *to)
{
	(void)fprintf(to,
		      "usage: kenaz-workbench [-p PROMPT]\n"
		      "  -p PROMPT  run one prompt and exit (0 ok, 1 failed)\n"
		      "  --help     this text\n"
		      "  --version  the version\n"
		      "Environment: ANTHROPIC_BASE_URL, ANTHROPIC_MODEL\n");
}

/* One line of any length up to the limit; false at the end of input. */
static bool read_line(struct buf *line, bool *ret_too_long)
{
	int c;

	*ret_too_long = false;
	buf_reset(line);
	while ((c = getc(stdin)) != EOF) {
		if (c == '\n')
			return true;
		if (!*ret_too_long && buf_put_u8(line, (uint8_t)c) != ERR_OK)
			*ret_too_long = true;
	}
	if (ferror(stdin) && errno == EINTR) {
		clearerr(stdin);
		buf_reset(line);
		return true;
	}
	return line->len_bytes > 0;
}

/* A line that ends in a backslash goes on in the next one. */
static bool read_prompt(struct workbench *w, struct buf *prompt, bool is_tty)
{
	struct buf line;
	bool too_long, more = true, got = false;

	buf_reset(prompt);
	buf_init(&line, PROMPT_MAX_BYTES);
	while (more) {
		if (is_tty)
			(void)fputs(got ? ". " : "\n> ", stdout);
		(void)fflush(stdout);
		if (!read_line(&line, &too_long))
			break;
		got = true;
		more = line.len_bytes && line.data[line.len_bytes - 1] == '\\';
		if (more)
			line.data[line.len_bytes - 1] = '\n';
		if (too_long ||
		    buf_put_span(prompt, buf_span(&line)) != ERR_OK) {
			transcript_error(&w->transcript,
					 "the prompt is longer than 256 KiB");
			buf_reset(prompt);
			break;
		}
	}
	buf_fini(&line);
	return got;
}

static void show_help(struct workbench *w)
{
	transcript_note(&w->transcript, "/help          this list");
	transcript_note(&w->transcript,
			"/clear         forget the conversation");
	transcript_note(&w->transcript, "/model [NAME]  show or set the model");
	transcript_note(&w->transcript, "/quit          leave (also Ctrl-D)");
	transcript_note(
		&w->transcript,
		"A line that ends in \\ goes on in the next one; Ctrl-C "
		"stops a reply.");
}

static void set_model(struct workbench *w, struct span name)
{
	if (name.len_bytes &&
	    span_copy_text(name, w->model, sizeof(w->model)) != ERR_OK)
		transcript_error(&w->transcript, "the name is too long");
	transcript_note(&w->transcript, "model: %s", w->model);
}

/* Commands of the workbench itself; false ends it. */
static bool run_command(struct workbench *w, struct span line)
{
	if (span_is(line, "/quit") || span_is(line, "/exit"))
		return false;
	if (span_is(line, "/clear")) {
		conversation_clear(&w->conversation);
		transcript_note(&w->transcript, "the conversation is empty");
	} else if (span_is(line, "/model")) {
		set_model(w, span_of(NULL, 0));
	} else if (line.len_bytes > 7 && memcmp(line.data, "/model ", 7) == 0) {
		set_model(w, span_of(line.data + 7, line.len_bytes - 7));
	} else {
		if (!span_is(line, "/help"))
			transcript_error(&w->transcript,
					 "there is no such command");
		show_help(w);
	}
	return true;
}

static int run_interactive(struct workbench *w)
{
	bool is_tty = isatty(STDIN_FILENO);
	struct buf prompt;
	int status = 0;

	buf_init(&prompt, PROMPT_MAX_BYTES);
	transcript_note(
		&w->transcript,
		"kenaz-workbench %s, model %s; /help lists the commands",
		KENAZ_VERSION, w->model);
	while (read_prompt(w, &prompt, is_tty)) {
		struct span line = buf_span(&prompt);

		interrupted = 0;
		if (line.len_bytes == 0)
			continue;
		if (line.data[0] == '/') {
			if (!run_command(w, line))
				break;
			continue;
		}
		if (!is_tty)
			transcript_prompt(&w->transcript, line);
		status = turn_run(w, line) == ERR_OK ? 0 : 1;
	}
	buf_fini(&prompt);
	if (is_tty)
		(void)fputs("\n", stdout);
	/* A person saw what failed; a script needs the code. */
	return is_tty ? 0 : status;
}

static int run_once(struct workbench *w, const char *prompt)
{
	enum err e;

	transcript_prompt(&w->transcript, span_text(prompt));
	e = turn_run(w, span_text(prompt));
	if (e == ERR_CANCELLED)
		return EXIT_INTERRUPTED;
	return e == ERR_OK ? 0 : 1;
}

static const char *variable(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value && value[0] ? value : fallback;
}

static bool set_up(struct workbench *w)
{
	const char *url = variable("ANTHROPIC_BASE_URL", DEFAULT_URL);
	const char *model = variable("ANTHROPIC_MODEL", DEFAULT_MODEL);
	struct sigaction action = {.sa_handler = on_interrupt};

	transcript_init(&w->transcript);
	conversation_init(&w->conversation);
	w->api_key = variable("ANTHROPIC_API_KEY", DEFAULT_KEY);
	w->is_cancelled = is_cancelled;
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (http_place_parse(span_text(url), &w->place) != ERR_OK) {
		transcript_error(&w->transcript,
				 "ANTHROPIC_BASE_URL is not "
				 "http://ADDRESS[:PORT][/PATH]: %s",
				 url);
		return false;
	}
	if (span_copy_text(span_text(model), w->model, sizeof(w->model)) !=
	    ERR_OK) {
		transcript_error(&w->transcript, "ANTHROPIC_MODEL is too long");
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct workbench w;
	bool once = argc == 3 && strcmp(argv[1], "-p") == 0 && argv[2][0];
	int status = 1;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("kenaz-workbench %s\n", KENAZ_VERSION);
		return 0;
	}
	if (argc != 1 && !once) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (set_up(&w))
		status = once ? run_once(&w, argv[2]) : run_interactive(&w);
	conversation_fini(&w.conversation);
	transcript_fini(&w.transcript);
	return status;
}
