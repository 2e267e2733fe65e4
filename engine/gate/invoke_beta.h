/* SPDX-License-Identifier: Apache-2.0 */
/* invoke_beta.h - which of Anthropic's betas Bedrock takes */
#ifndef KENAZ_GATE_INVOKE_BETA_H
#define KENAZ_GATE_INVOKE_BETA_H

#include "engine/base/buf.h"

struct span invoke_beta_find(struct span beta, const char *const *allowed,
			     size_t allowed_count);

#endif
