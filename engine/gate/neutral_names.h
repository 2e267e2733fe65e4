/* SPDX-License-Identifier: Apache-2.0 */
/* neutral_names.h - call ids and tool names that every wire accepts */
#ifndef KENAZ_GATE_NEUTRAL_NAMES_H
#define KENAZ_GATE_NEUTRAL_NAMES_H

#include "engine/gate/neutral.h"

#define NEUTRAL_NAME_MAX_BYTES 64u /* of [A-Za-z0-9_-], at least one */

struct neutral_names;

MUST_CHECK enum err neutral_settle_names(struct neutral_request *r);
struct neutral_names *neutral_names_copy(const struct neutral_names *n);
void neutral_names_free(struct neutral_names *n);
struct span neutral_names_find(const struct neutral_names *n, struct span name);

/* What a client's reader tells its writer about one of the client's tools. */
MUST_CHECK enum err neutral_names_add_note(struct neutral_request *r,
					   struct span client,
					   struct span note);
struct span neutral_names_note(const struct neutral_names *n,
			       struct span client);

#endif
