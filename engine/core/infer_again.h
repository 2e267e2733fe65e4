/* SPDX-License-Identifier: Apache-2.0 */
/* infer_again.h - when the next attempts of requests are due */
#ifndef KENAZ_CORE_INFER_AGAIN_H
#define KENAZ_CORE_INFER_AGAIN_H

#include "engine/core/engine.h"

void infer_again_tick(struct engine *e);

#endif
