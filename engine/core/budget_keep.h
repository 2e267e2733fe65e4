/* SPDX-License-Identifier: Apache-2.0 */
/* budget_keep.h - the engine's budget and the file that keeps it */
#ifndef KENAZ_CORE_BUDGET_KEEP_H
#define KENAZ_CORE_BUDGET_KEEP_H

#include "engine/core/engine.h"

MUST_CHECK enum err budget_keep_open(struct engine *e,
				     struct conf_error *error);
void budget_keep_begin(struct engine *e);
void budget_keep_note(struct engine *e);
void budget_keep_tick(struct engine *e);
void budget_keep_close(struct engine *e);

#endif
