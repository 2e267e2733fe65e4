/* SPDX-License-Identifier: Apache-2.0 */
/* lax.h - where a more lenient reader would see another document */
#ifndef KENAZ_GATE_LAX_H
#define KENAZ_GATE_LAX_H

#include "engine/base/json.h"

const char *lax_find_key(const struct json *j);

#endif
