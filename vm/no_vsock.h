/* SPDX-License-Identifier: Apache-2.0 */
/* no_vsock.h - take AF_VSOCK away from this process and what it starts */
#ifndef KENAZ_VM_NO_VSOCK_H
#define KENAZ_VM_NO_VSOCK_H

#include "engine/base/err.h"

MUST_CHECK enum err no_vsock_enter(void);

#endif
