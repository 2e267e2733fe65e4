/* SPDX-License-Identifier: Apache-2.0 */
/* modules.h - load the kernel modules that an image lists */
#ifndef KENAZ_GUEST_MODULES_H
#define KENAZ_GUEST_MODULES_H

#include "engine/base/err.h"

MUST_CHECK enum err modules_load(const char *list_path);

#endif
