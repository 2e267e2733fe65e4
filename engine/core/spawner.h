/* SPDX-License-Identifier: Apache-2.0 */
/* spawner.h - the small process that starts programs for core */
#ifndef KENAZ_CORE_SPAWNER_H
#define KENAZ_CORE_SPAWNER_H

#include "engine/base/err.h"

MUST_CHECK enum err spawner_fork(int keep_fd, int *ret_fd);

#endif
