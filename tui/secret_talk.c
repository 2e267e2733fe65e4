/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret_talk.c - type what only the broker may read
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   shows a secret or a passphrase, takes one as an argument, keeps it:
 *	    it lies in locked memory until it is sent, and is wiped then.
 *
 * After "ready" the engine's core has passed our socket to the broker: what
 * follows on it core does not see. Lines, then a half-close; the answer has
 * the id of the request.
 */
#include "tui/secret_talk.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tui/terminal.h"

#define PASSPHRASE_MIN_BYTES 8u

/**
 * secret_text_new() - Room for one line
 * @app:	Context
 * @ret_text:	Empty; written on success
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_text_new(struct app *app, struct secret_text *ret_text)
{
	/* Not into a core file, not to another program of this user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || sodium_init() < 0)
		return app_fail(app, EXIT_CODE_FAILED,
				"cannot protect this program's memory");
	ret_text->len_bytes = 0;
	ret_text->data = sodium_malloc(SECRET_TEXT_MAX_BYTES);
	if (!ret_text->data)
		return app_fail(app, EXIT_CODE_FAILED,
				"cannot lock memory for the secret; see "
				"'ulimit -l'");
	return 0;
}

/** secret_text_free() - Wipe and release; one that was never made is fine */
void secret_text_free(struct secret_text *text)
{
	sodium_free(text->data);
	text->data = NULL;
	text->len_bytes = 0;
}

/* A line, or all that comes; without its end. */
static enum err read_text(struct secret_text *text, bool whole)
{
	size_t len = 0;
	ssize_t n;

	for (;;) {
		if (len == SECRET_TEXT_MAX_BYTES)
			return ERR_LIMIT;
		n = read(STDIN_FILENO, text->data + len,
			 whole ? SECRET_TEXT_MAX_BYTES - len : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		if (n == 0)
			break;
		len += (size_t)n;
		if (!whole && text->data[len - 1] == '\n')
			break;
	}
	if (len && text->data[len - 1] == '\n')
		len--;
	if (len && text->data[len - 1] == '\r')
		len--;
	text->len_bytes = len;
	return len ? ERR_OK : ERR_SHORT;
}

/**
 * secret_text_ask() - Read a line without showing it
 * @text:	Receives it
 * @prompt:	Shown on a terminal only
 * @whole:	From a pipe: all of it, not one line
 *
 * Return: ERR_OK; ERR_SHORT when nothing was given; ERR_LIMIT; ERR_SYS.
 */
enum err secret_text_ask(struct secret_text *text, const char *prompt,
			 bool whole)
{
	enum err e;

	if (!isatty(STDIN_FILENO))
		return read_text(text, whole);
	terminal_guard();
	/* Asked once nothing shows any more: what was typed before is lost. */
	e = terminal_no_echo(STDIN_FILENO);
	if (e == ERR_OK) {
		(void)fprintf(stderr, "%s (not shown): ", prompt);
		e = read_text(text, false);
	}
	terminal_restore();
	return e;
}

static enum err send_all(int fd, const char *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = send(fd, data, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_CLOSED;
		data += n;
		len_bytes -= (size_t)n;
	}
	return ERR_OK;
}

/**
 * secret_talk_begin() - Ask for a connection to the broker
 * @app:	Context; its connection is used up by this
 * @method:	Verb
 * @params:	Owned from here on, or NULL
 * @ret_id:	For secret_talk_end()
 * @ret_ready:	What the engine says first, owned by the caller; NULL: not
 *		wanted
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_begin(struct app *app, const char *method, cJSON *params,
		      uint64_t *ret_id, cJSON **ret_ready)
{
	struct control_error error;
	cJSON *ready = NULL;
	enum err e;
	int code = app_connect(app);

	if (code != 0) {
		cJSON_Delete(params);
		return code;
	}
	e = control_send(app->control, method, params, ret_id);
	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_UNREACHABLE,
				"cannot ask the engine: %s", err_text(e));
	e = control_wait(app->control, *ret_id, APP_CALL_MAX_MS, &ready,
			 &error);
	if (e != ERR_OK)
		return app_fail(app, error.code, "%s", error.text);
	if (ret_ready)
		*ret_ready = ready;
	else
		cJSON_Delete(ready);
	return 0;
}

/**
 * secret_talk_end() - Send the lines and wait for what became of them
 * @app:	Context; not connected any more afterwards
 * @id:		From secret_talk_begin()
 * @lines:	What was typed; NULL is an empty line
 * @count:	How many
 * @ret_result:	Owned by the caller; written on success
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_end(struct app *app, uint64_t id,
		    const struct secret_text *const *lines, size_t count,
		    cJSON **ret_result)
{
	int fd = control_fd(app->control);
	struct control_error error;
	enum err e = ERR_OK;
	int code = 0;
	size_t i;

	/* The end of a line says that it is whole. */
	for (i = 0; e == ERR_OK && i < count; i++) {
		if (lines[i])
			e = send_all(fd, lines[i]->data, lines[i]->len_bytes);
		if (e == ERR_OK)
			e = send_all(fd, "\n", 1);
	}
	if (e == ERR_OK && shutdown(fd, SHUT_WR) != 0)
		e = ERR_SYS;
	if (e != ERR_OK) {
		code = app_fail(app, EXIT_CODE_UNREACHABLE,
				"the engine closed the connection");
	} else {
		/* A keyring may ask its user first. */
		e = control_wait(app->control, id, 3 * APP_CALL_MAX_MS,
				 ret_result, &error);
		if (e != ERR_OK)
			code = app_fail(app, error.code, "%s", error.text);
	}
	control_free(app->control);
	app->control = NULL;
	return code;
}

/** secret_talk_set() - Store one secret; as secret_talk_end() */
int secret_talk_set(struct app *app, const char *name,
		    const struct secret_text *secret, cJSON **ret_result)
{
	cJSON *params = app_params();
	uint64_t id = 0;
	int code;

	app_add_text(params, "name", name);
	code = secret_talk_begin(app, "secret.set", params, &id, NULL);
	return code == 0 ? secret_talk_end(app, id, &secret, 1, ret_result)
			 : code;
}

/* --- passphrases -------------------------------------------------------- */

static int no_passphrase(const struct app *app, enum err e)
{
	if (e == ERR_LIMIT)
		return app_fail(app, EXIT_CODE_USAGE,
				"a passphrase has at most 1024 bytes");
	return app_fail(app, EXIT_CODE_USAGE,
			"no passphrase was given; nothing is changed");
}

/**
 * secret_talk_new_passphrase() - Ask for a new passphrase, on a terminal twice
 * @app:	Context
 * @text:	Receives it
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_new_passphrase(struct app *app, struct secret_text *text)
{
	struct secret_text again;
	int code;
	enum err e =
		secret_text_ask(text, "New passphrase of the vault", false);

	if (e != ERR_OK)
		return no_passphrase(app, e);
	if (text->len_bytes < PASSPHRASE_MIN_BYTES)
		return app_fail(app, EXIT_CODE_USAGE,
				"a new passphrase has at least %u bytes",
				PASSPHRASE_MIN_BYTES);
	if (!isatty(STDIN_FILENO))
		return 0;
	code = secret_text_new(app, &again);
	if (code != 0)
		return code;
	e = secret_text_ask(&again, "The same again", false);
	if (e != ERR_OK || again.len_bytes != text->len_bytes ||
	    sodium_memcmp(again.data, text->data, text->len_bytes) != 0)
		code = app_fail(app, EXIT_CODE_USAGE,
				"the two differ; nothing is changed");
	secret_text_free(&again);
	return code;
}

/** secret_talk_old_passphrase() - Ask for the one in force; the same return */
int secret_talk_old_passphrase(struct app *app, struct secret_text *text)
{
	enum err e = secret_text_ask(text, "Passphrase of the vault", false);

	return e == ERR_OK ? 0 : no_passphrase(app, e);
}

/**
 * secret_talk_unlock() - Open the vault, with whatever that needs
 * @app:	Context
 * @ret_result:	Owned by the caller; written on success
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_unlock(struct app *app, cJSON **ret_result)
{
	const struct secret_text *line = NULL;
	struct secret_text text;
	cJSON *ready = NULL;
	const char *state;
	uint64_t id = 0;
	int code = secret_text_new(app, &text);

	if (code != 0)
		return code;
	code = secret_talk_begin(app, "secret.unlock", NULL, &id, &ready);
	if (code != 0)
		goto out;
	state = app_text(ready, "state");
	if (strcmp(state, "open") != 0 &&
	    strcmp(app_text(ready, "backend"), "passphrase") == 0) {
		line = &text;
		code = strcmp(state, "none") == 0
			       ? secret_talk_new_passphrase(app, &text)
			       : secret_talk_old_passphrase(app, &text);
	}
	if (code == 0) {
		code = secret_talk_end(app, id, &line, 1, ret_result);
	} else {
		/* It waits for a line that does not come. */
		control_free(app->control);
		app->control = NULL;
	}
out:
	cJSON_Delete(ready);
	secret_text_free(&text);
	return code;
}

/**
 * secret_talk_open() - Open a vault that waits for its passphrase
 * @app:	Context
 *
 * At a terminal it is asked for; elsewhere, and in every other state, nothing
 * happens.
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_open(struct app *app)
{
	cJSON *status = NULL, *result = NULL;
	bool waits;
	int code;

	if (!isatty(STDIN_FILENO))
		return 0;
	code = app_call(app, "secret.status", NULL, &status);
	waits = code == 0 && strcmp(app_text(status, "state"), "locked") == 0 &&
		strcmp(app_text(status, "backend"), "passphrase") == 0 &&
		strcmp(app_text(status, "configured"), "passphrase") == 0;
	cJSON_Delete(status);
	if (!waits)
		return code;
	app_note(app, "the vault waits for its passphrase");
	code = secret_talk_unlock(app, &result);
	cJSON_Delete(result);
	return code;
}

/**
 * secret_talk_prepare() - Before a secret is typed: see that it can be stored
 * @app:	Context
 *
 * A vault that waits for a passphrase is opened, or made, at a terminal; in
 * every other case the engine says what is wrong when the secret comes.
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int secret_talk_prepare(struct app *app)
{
	cJSON *status = NULL, *result = NULL;
	const char *state;
	bool asks;
	int code = app_call(app, "secret.status", NULL, &status);

	if (code != 0)
		return code;
	state = app_text(status, "state");
	asks = isatty(STDIN_FILENO) &&
	       strcmp(app_text(status, "backend"), "passphrase") == 0 &&
	       strcmp(app_text(status, "configured"), "passphrase") == 0 &&
	       (strcmp(state, "none") == 0 || strcmp(state, "locked") == 0);
	if (asks)
		app_note(app,
			 strcmp(state, "none") == 0
				 ? "there is no vault yet; it is opened by a "
				   "passphrase, which cannot be recovered (see "
				   "vault.backend in kenaz.toml for others)"
				 : "the vault waits for its passphrase");
	cJSON_Delete(status);
	if (asks)
		code = secret_talk_unlock(app, &result);
	cJSON_Delete(result);
	return code;
}
