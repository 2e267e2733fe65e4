/* SPDX-License-Identifier: Apache-2.0 */
/* probe_text.h - what came of a provider's test, and what to do next */
#ifndef KENAZ_CORE_PROBE_TEXT_H
#define KENAZ_CORE_PROBE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

/* What a test saw. All texts are borrowed. */
struct probe_seen {
	enum err error;
	const char *text;     /* the broker's words for @error */
	unsigned http_status; /* 0: no whole answer */
	unsigned failure;     /* enum transfer_failure */
	unsigned cause;       /* enum transfer_cause */
	const char *auth;     /* as in kenaz.toml */
	const char *secret;   /* "": it has none */
	bool list;            /* asked for its list of models */
	bool has_ca_file, has_proxy_secret;
};

void probe_text_put(const struct probe_seen *seen, char *ret_text,
		    size_t cap_bytes);

#endif
