/* SPDX-License-Identifier: Apache-2.0 */
/* reply_raw.h - a provider's HTTP error on its way to the guest */
#ifndef KENAZ_GATE_REPLY_RAW_H
#define KENAZ_GATE_REPLY_RAW_H

#include "engine/gate/dialect.h"

#define REPLY_RAW_MAX_BYTES (1u << 20)

struct reply *reply_raw_new(const struct dialect_ops *dialect);

#endif
