/* SPDX-License-Identifier: Apache-2.0 */
/* vt_jail.h - give up everything but reading 0 and writing 1 and 2 */
#ifndef KENAZ_TUI_VT_VT_JAIL_H
#define KENAZ_TUI_VT_VT_JAIL_H

#include "engine/base/err.h"

#define VT_MEMORY_MAX_BYTES (64ul << 20) /* address space */
#define VT_CPU_MAX_S        600ul        /* gigabytes of output */

MUST_CHECK enum err vt_jail_enter(void);

#endif
