/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_filter.h - the system calls that are left to QEMU */
#ifndef KENAZ_VM_QEMU_FILTER_H
#define KENAZ_VM_QEMU_FILTER_H

#include "engine/base/err.h"

MUST_CHECK enum err qemu_filter_new(int *ret_fd);

#endif
