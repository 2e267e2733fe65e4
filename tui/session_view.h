/* SPDX-License-Identifier: Apache-2.0 */
/* session_view.h - one session for people: stages, limits, usage */
#ifndef KENAZ_TUI_SESSION_VIEW_H
#define KENAZ_TUI_SESSION_VIEW_H

#include <cjson/cJSON.h>

#include "engine/base/buf.h"

MUST_CHECK enum err session_view(const cJSON *session, struct buf *out);

#endif
