/* SPDX-License-Identifier: Apache-2.0 */
/* wipe_free.h - overwrite what is freed */
#ifndef KENAZ_BROKER_WIPE_FREE_H
#define KENAZ_BROKER_WIPE_FREE_H

#include <stdbool.h>

bool wipe_free_works(void);

#endif
