/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.h - the decoded content of a JSON string that json.c checked */
#ifndef KENAZ_BASE_JSON_TEXT_H
#define KENAZ_BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

bool json_text_hex4(const uint8_t *at, uint32_t *ret_value);
int json_text_compare(struct span a, struct span b);
bool json_text_is(struct span raw, bool escaped, struct span text);
MUST_CHECK enum err json_text_put(struct span raw, bool escaped,
				  struct buf *out);

#endif
