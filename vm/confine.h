/* SPDX-License-Identifier: Apache-2.0 */
/* confine.h - what the launcher gives up once QEMU is on its way */
#ifndef KENAZ_VM_CONFINE_H
#define KENAZ_VM_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/base/err.h"

#define CONFINE_OOM_SCORE 600 /* sessions die before the engine does */

void confine_offer(void);
MUST_CHECK enum err confine_enter(uid_t uid, bool vsock);

#endif
