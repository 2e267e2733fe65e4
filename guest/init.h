/* SPDX-License-Identifier: Apache-2.0 */
/* init.h - what PID 1 sets up before anything else, and how the VM ends */
#ifndef KENAZ_GUEST_INIT_H
#define KENAZ_GUEST_INIT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

MUST_CHECK enum err init_mount(void);
MUST_CHECK enum err init_loopback(void);
MUST_CHECK enum err init_get_option(const char *name, char *ret_value,
				    size_t cap_bytes);
bool init_has_option(const char *option);
void init_power_off(void) __attribute__((noreturn));

#endif
