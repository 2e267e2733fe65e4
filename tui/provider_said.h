/* SPDX-License-Identifier: Apache-2.0 */
/* provider_said.h - a provider's own words about an error */
#ifndef KENAZ_TUI_PROVIDER_SAID_H
#define KENAZ_TUI_PROVIDER_SAID_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define PROVIDER_SAID_MAX_BYTES 300u

MUST_CHECK enum err provider_said(struct span body,
				  char ret_text[PROVIDER_SAID_MAX_BYTES]);
bool provider_sent_a_page(struct span body);

#endif
