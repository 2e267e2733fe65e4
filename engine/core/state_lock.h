/* SPDX-License-Identifier: Apache-2.0 */
/* state_lock.h - one engine a state folder */
#ifndef KENAZ_CORE_STATE_LOCK_H
#define KENAZ_CORE_STATE_LOCK_H

#include "engine/base/conf.h"

#define STATE_LOCK_WAIT_MAX_MS 15000u

MUST_CHECK enum err state_lock_take(const char *state_dir,
				    const char *socket_path,
				    struct conf_error *ret_error, int *ret_fd);

#endif
