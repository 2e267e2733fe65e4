/* SPDX-License-Identifier: Apache-2.0 */
/* neutral_tools.h - what every dialect's reader and writer needs */
#ifndef KENAZ_GATE_NEUTRAL_TOOLS_H
#define KENAZ_GATE_NEUTRAL_TOOLS_H

#include <stdbool.h>

#include "engine/base/json.h"
#include "engine/base/jsonw.h"
#include "engine/gate/neutral.h"
#include "engine/gate/neutral_names.h"

/* Reading requests. Absent and null members leave the output as it is. */
MUST_CHECK enum err neutral_parse(struct neutral_request *r, struct json *doc,
				  struct span body);
MUST_CHECK enum err neutral_keep_string(struct neutral_request *r,
					const struct json *j, json_ref at,
					struct span *ret_text);
MUST_CHECK enum err neutral_read_string(struct neutral_request *r,
					const struct json *j, json_ref object,
					const char *key, struct span *ret_text);
MUST_CHECK enum err neutral_read_number(struct neutral_request *r,
					const struct json *j, json_ref object,
					const char *key,
					struct span *ret_number);
MUST_CHECK enum err neutral_read_bool(struct neutral_request *r,
				      const struct json *j, json_ref object,
				      const char *key, bool *ret_value);
MUST_CHECK enum err neutral_malformed(struct neutral_request *r,
				      const char *field, const char *why);
bool neutral_is_absent(const struct json *j, json_ref at);
bool neutral_is_base64(struct span s);
bool neutral_split_data_url(struct span url, struct span *ret_media_type,
			    struct span *ret_data);

/* Signatures of other dialects' models, carried through a client. */
bool neutral_understands(enum dialect wire, enum dialect signer);
struct span neutral_signature_prefix(enum dialect client, enum dialect signer);
enum dialect neutral_split_signature(enum dialect client,
				     struct span *signature);

/* Writing. */
void neutral_put_number(struct jsonw *w, const char *key, struct span number);
void neutral_put_optional(struct jsonw *w, const char *key, struct span text);
bool neutral_usage_is_known(const struct neutral_usage *u);
const char *neutral_stop_name(enum neutral_stop stop);

/* Reading responses. */
MUST_CHECK enum err neutral_broken(struct neutral_reader *r, const char *why);
void neutral_note_error(struct neutral_reader *r, struct span type,
			struct span message);
void neutral_note_dropped(struct neutral_reader *r, struct span kind);

#endif
