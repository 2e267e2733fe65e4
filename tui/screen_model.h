/* SPDX-License-Identifier: Apache-2.0 */
/* screen_model.h - what the full screen shows, kept up by the engine */
#ifndef KENAZ_TUI_SCREEN_MODEL_H
#define KENAZ_TUI_SCREEN_MODEL_H

#include "tui/app.h"
#include "tui/pane.h"
#include "tui/screen_keys.h"

#define MODEL_PENDING_MAX     16u
#define MODEL_TEXT_MAX_BYTES  256u
#define MODEL_BANNERS_MAX     3u
#define MODEL_TAIL_EVENTS     500u
#define MODEL_REFRESH_NS      5000000000ull /* ages, what no event tells */
#define MODEL_AFTER_EVENT_NS  200000000ull  /* events come in groups */
#define MODEL_MESSAGES_A_TURN 256u

struct screen_model {
	struct app *app;
	struct control *calls;
	struct control *tail;
	struct {
		uint64_t id;
		int what;
	} pending[MODEL_PENDING_MAX];
	struct pane *panes[PANE_COUNT];
	char engine[MODEL_TEXT_MAX_BYTES];                     /* first line */
	char banners[MODEL_BANNERS_MAX][MODEL_TEXT_MAX_BYTES]; /* warnings */
	size_t banner_count;
	char message[MODEL_TEXT_MAX_BYTES]; /* of the last action */
	char started[PANE_ID_MAX_BYTES];    /* put the cursor there */
	bool message_bad;
	bool changed; /* the screen is out of date */
	bool lost;    /* no engine */
	bool more;    /* messages were read but not taken in yet */
	uint64_t refresh_at_ns;
};

MUST_CHECK enum err screen_model_init(struct screen_model *m, struct app *app);
void screen_model_fini(struct screen_model *m);
int screen_model_connect(struct screen_model *m);
void screen_model_refresh(struct screen_model *m);
void screen_model_turn(struct screen_model *m);
void screen_model_say(struct screen_model *m, bool bad, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void screen_model_start(struct screen_model *m);
void screen_model_stop(struct screen_model *m, const char *session);
void screen_model_decide(struct screen_model *m, const char *id, bool grant);

#endif
