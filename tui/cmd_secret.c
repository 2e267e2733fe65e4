/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_secret.c - kenaz secret set, list and remove
 *
 * Runs in: kenaz.
 * Trusts:  its user.
 * Never:   takes a secret as an argument, shows it, keeps it: it lies in
 *	    locked memory until it is sent, and is wiped then.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/proto/limits.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/terminal.h"

#define SECRET_MAX_BYTES 16384u

static const struct column columns[] = {{"SECRET", "name", CELL_ANY}};

static int cmd_list_secrets(struct app *app, struct args *args)
{
	cJSON *result = NULL, *rows, *row;
	const cJSON *name;
	int code = app_call(app, "secret.list", NULL, &result);

	(void)args;
	if (code != 0)
		return code;
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	rows = cJSON_CreateArray();
	cJSON_ArrayForEach(name,
			   cJSON_GetObjectItemCaseSensitive(result, "secrets"))
	{
		row = app_params();
		app_add_text(row, "name",
			     cJSON_IsString(name) ? name->valuestring : "");
		if (!cJSON_AddItemToArray(rows, row))
			cJSON_Delete(row);
	}
	if (app->quiet)
		code = app_written(app, output_names(rows, "name"));
	else if (cJSON_GetArraySize(rows) == 0)
		app_note(app, "no secrets; 'kenaz secret set NAME' adds one");
	else
		code = app_written(app, output_list(OUTPUT_TABLE, rows, columns,
						    ARRAY_SIZE(columns)));
	cJSON_Delete(rows);
	cJSON_Delete(result);
	return code;
}

const struct command command_secret_list = {
	.name = "secret list",
	.arguments = "",
	.summary = "List the names of secrets",
	.options = cmd_no_options,
	.run = cmd_list_secrets,
};

static int cmd_remove(struct app *app, struct args *args)
{
	cJSON *params = app_params(), *result = NULL;
	int code;

	app_add_text(params, "name", args->rest[0]);
	code = app_call(app, "secret.remove", params, &result);
	if (code != 0)
		return code;
	app_note(app, "secret %s is removed", args->rest[0]);
	cJSON_Delete(result);
	return 0;
}

const struct command command_secret_remove = {
	.name = "secret remove",
	.arguments = "NAME",
	.summary = "Remove a secret",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_remove,
};

/* From a terminal one line; from a file or pipe all, less one line's end. */
static enum err read_secret(char *secret, size_t *ret_len)
{
	bool terminal = isatty(STDIN_FILENO);
	size_t len = 0;
	ssize_t n;

	for (;;) {
		if (len == SECRET_MAX_BYTES)
			return ERR_LIMIT;
		n = read(STDIN_FILENO, secret + len, SECRET_MAX_BYTES - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		if (n == 0)
			break;
		len += (size_t)n;
		if (terminal && secret[len - 1] == '\n')
			break;
	}
	if (len && secret[len - 1] == '\n')
		len--;
	if (len && secret[len - 1] == '\r')
		len--;
	*ret_len = len;
	return len ? ERR_OK : ERR_SHORT;
}

static enum err ask(const char *name, char *secret, size_t *ret_len)
{
	enum err e;

	if (!isatty(STDIN_FILENO))
		return read_secret(secret, ret_len);
	terminal_guard();
	/* Asked once nothing shows any more: what was typed before is lost. */
	e = terminal_no_echo(STDIN_FILENO);
	if (e == ERR_OK) {
		(void)fprintf(stderr, "Secret for %s (not shown): ", name);
		e = read_secret(secret, ret_len);
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

/* Request, "ready", the bytes, half-close, and the answer to the same id. */
static int hand_over(struct app *app, const char *name, const char *secret,
		     size_t len_bytes)
{
	cJSON *params = app_params(), *result = NULL;
	struct control_error error;
	uint64_t id = 0;
	enum err e;

	app_add_text(params, "name", name);
	e = control_send(app->control, "secret.set", params, &id);
	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_UNREACHABLE,
				"cannot ask the engine: %s", err_text(e));
	e = control_wait(app->control, id, APP_CALL_MAX_MS, &result, &error);
	if (e != ERR_OK)
		return app_fail(app, error.code, "%s", error.text);
	cJSON_Delete(result);
	result = NULL;
	e = send_all(control_fd(app->control), secret, len_bytes);
	if (e == ERR_OK)
		e = send_all(control_fd(app->control), "\n", 1);
	/* The end of the line says that the secret is whole. */
	if (e == ERR_OK && shutdown(control_fd(app->control), SHUT_WR) != 0)
		e = ERR_SYS;
	if (e != ERR_OK)
		return app_fail(app, EXIT_CODE_UNREACHABLE,
				"the engine closed the connection");
	e = control_wait(app->control, id, APP_CALL_MAX_MS, &result, &error);
	if (e != ERR_OK)
		return app_fail(app, error.code, "%s", error.text);
	if (app->format != OUTPUT_TABLE)
		return cmd_print_object(app, result);
	app_note(app, "secret %s is set (version %.0f)",
		 app_text(result, "name"), app_number(result, "version", 0));
	cJSON_Delete(result);
	return 0;
}

static int cmd_set(struct app *app, struct args *args)
{
	char *secret = NULL;
	size_t len = 0;
	enum err e;
	int code;

	/* Not into a core file, not to another program of this user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || sodium_init() < 0)
		return app_fail(app, EXIT_CODE_FAILED,
				"cannot protect this program's memory");
	secret = sodium_malloc(SECRET_MAX_BYTES);
	if (!secret)
		return app_fail(app, EXIT_CODE_FAILED,
				"cannot lock memory for the secret; see "
				"'ulimit -l'");
	/* Before a person types a secret for nothing. */
	if (!text_is_name(span_text(args->rest[0]), NAME_MAX_BYTES))
		code = app_fail(app, EXIT_CODE_USAGE,
				"'%.100s' is no name of a secret: give 1 to %u "
				"small letters, digits, '.', '_' and '-'",
				args->rest[0], NAME_MAX_BYTES);
	else
		code = app_connect(app);
	if (code == 0) {
		e = ask(args->rest[0], secret, &len);
		if (e == ERR_OK)
			code = hand_over(app, args->rest[0], secret, len);
		else if (e == ERR_LIMIT)
			code = app_fail(app, EXIT_CODE_USAGE,
					"a secret has at most %u bytes",
					SECRET_MAX_BYTES - 1);
		else
			code = app_fail(app, EXIT_CODE_USAGE,
					"nothing was given; the secret is not "
					"changed");
	}
	sodium_free(secret);
	return code;
}

const struct command command_secret_set = {
	.name = "secret set",
	.arguments = "NAME",
	.summary = "Read a secret from the terminal or standard input",
	.text = "On a terminal it is not shown. From a pipe: 'kenaz secret "
		"set NAME <FILE'.",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_set,
};
