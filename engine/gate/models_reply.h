/* SPDX-License-Identifier: Apache-2.0 */
/* models_reply.h - a list of models in one dialect, told in another */
#ifndef KENAZ_GATE_MODELS_REPLY_H
#define KENAZ_GATE_MODELS_REPLY_H

#include "engine/gate/dialect.h"

struct reply *models_reply_new(const struct dialect_ops *client);

#endif
