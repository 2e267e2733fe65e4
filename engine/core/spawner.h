/* SPDX-License-Identifier: Apache-2.0 */
/* spawner.h - the small process that starts programs for core */
#ifndef KENAZ_CORE_SPAWNER_H
#define KENAZ_CORE_SPAWNER_H

#include <sys/types.h>

#include "engine/base/err.h"

pid_t spawner_pid(void);
MUST_CHECK enum err spawner_fork(int keep_fd, int *ret_fd);

#endif
