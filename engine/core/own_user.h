/* SPDX-License-Identifier: Apache-2.0 */
/* own_user.h - a user number that only one session of this host has */
#ifndef KENAZ_CORE_OWN_USER_H
#define KENAZ_CORE_OWN_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

#define OWN_USER_FOLDER "/run/kenaz-users"
#define OWN_USER_FIRST  0x4b000000u /* engine.session_uid_first */
#define OWN_USER_COUNT  65536u

bool own_user_is(uint32_t first, uint32_t uid);
MUST_CHECK enum err own_user_take(const char *folder, uint32_t first,
				  uint32_t *ret_uid, int *ret_lock_fd);

#endif
