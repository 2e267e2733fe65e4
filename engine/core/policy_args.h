/* SPDX-License-Identifier: Apache-2.0 */
/* policy_args.h - a tool call's arguments as the gate reports them */
#ifndef KENAZ_CORE_POLICY_ARGS_H
#define KENAZ_CORE_POLICY_ARGS_H

#include "engine/core/policy.h"

size_t policy_args_collect(struct span fields, struct span cut,
			   struct policy_arg args[POLICY_ARGS_MAX],
			   bool *ret_incomplete);

#endif
