/* SPDX-License-Identifier: Apache-2.0 */
/* frame_rule.h - which terminal frames may come from which side */
#ifndef KENAZ_GATE_FRAME_RULE_H
#define KENAZ_GATE_FRAME_RULE_H

#include <stdbool.h>

#include "engine/proto/frame.h"

bool frame_is_legal(const struct frame *f, bool from_guest);

#endif
