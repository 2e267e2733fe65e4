/* SPDX-License-Identifier: Apache-2.0 */
/* random_pool.h - the kernel's random bytes, fetched for many uses at once */
#ifndef KENAZ_AUDIT_RANDOM_POOL_H
#define KENAZ_AUDIT_RANDOM_POOL_H

#include "engine/base/err.h"

#define RANDOM_POOL_BYTES 4096u /* about 30 payloads */

MUST_CHECK enum err random_pool_use(void);

#endif
