/* SPDX-License-Identifier: Apache-2.0 */
/* app.h - what every command shares: options, output, the connection */
#ifndef KENAZ_TUI_APP_H
#define KENAZ_TUI_APP_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "tui/control.h"
#include "tui/exit_code.h"
#include "tui/output.h"

#define APP_CALL_MAX_MS 60000 /* wait for an answer that needs no guest */
#define APP_NUMBER_MAX  9007199254740991u /* that JSON carries exactly */

struct app {
	enum output_format format;
	bool quiet;
	bool verbose;
	bool color;    /* standard output takes colours */
	bool no_start; /* it wants an engine that runs, not a new one */
	const char *socket_path;
	struct control *control;
	char *const *words; /* the whole command line, for help */
};

int app_fail(const struct app *app, enum exit_code code, const char *format,
	     ...) __attribute__((format(printf, 3, 4)));
void app_open_line(bool open);
void app_note(const struct app *app, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int app_connect(struct app *app);
int app_call(struct app *app, const char *method, cJSON *params,
	     cJSON **ret_result);
int app_call_slow(struct app *app, const char *method, cJSON *params,
		  cJSON **ret_result);
int app_written(const struct app *app, enum err e);
void app_fini(struct app *app);

cJSON *app_params(void);
void app_add_text(cJSON *params, const char *key, const char *value);
void app_add_number(cJSON *params, const char *key, double value);
void app_add_bool(cJSON *params, const char *key, bool value);
void app_add_words(cJSON *params, const char *key, char *const *words);
const char *app_text(const cJSON *object, const char *key);
double app_number(const cJSON *object, const char *key, double fallback);
bool app_is_true(const cJSON *object, const char *key);

#endif
