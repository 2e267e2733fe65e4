/* SPDX-License-Identifier: Apache-2.0 */
/* secret_talk.h - type what only the broker may read */
#ifndef KENAZ_TUI_SECRET_TALK_H
#define KENAZ_TUI_SECRET_TALK_H

#include "tui/app.h"

#define SECRET_TEXT_MAX_BYTES 16384u
#define SECRET_TALK_LINES_MAX 2u

/* One line in locked memory; wiped when it is released. */
struct secret_text {
	char *data;
	size_t len_bytes;
};

int secret_text_new(struct app *app, struct secret_text *ret_text);
void secret_text_free(struct secret_text *text);
MUST_CHECK enum err secret_text_ask(struct secret_text *text,
				    const char *prompt, bool whole);

int secret_talk_begin(struct app *app, const char *method, cJSON *params,
		      uint64_t *ret_id, cJSON **ret_ready);
int secret_talk_end(struct app *app, uint64_t id,
		    const struct secret_text *const *lines, size_t count,
		    cJSON **ret_result);
int secret_talk_set(struct app *app, const char *name,
		    const struct secret_text *secret, cJSON **ret_result);
int secret_talk_new_passphrase(struct app *app, struct secret_text *text);
int secret_talk_old_passphrase(struct app *app, struct secret_text *text);
int secret_talk_unlock(struct app *app, cJSON **ret_result);
int secret_talk_open(struct app *app);
int secret_talk_prepare(struct app *app);

#endif
