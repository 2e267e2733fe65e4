/* SPDX-License-Identifier: Apache-2.0 */
/* detach_keys.h - the prefix Ctrl-] in what a user types */
#ifndef KENAZ_TUI_DETACH_KEYS_H
#define KENAZ_TUI_DETACH_KEYS_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define DETACH_PREFIX 0x1d /* Ctrl-] */

struct detach_keys {
	bool prefixed; /* the prefix came last */
};

enum detach_action { DETACH_NONE, DETACH_LEAVE, DETACH_HELP };

MUST_CHECK enum err detach_keys_filter(struct detach_keys *keys, struct span in,
				       struct buf *out,
				       enum detach_action *ret_action);

#endif
