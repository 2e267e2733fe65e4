/* SPDX-License-Identifier: Apache-2.0 */
/* environment.h - what of its environment an engine keeps */
#ifndef KENAZ_CORE_ENVIRONMENT_H
#define KENAZ_CORE_ENVIRONMENT_H

#include <stdbool.h>

bool environment_keeps(const char *entry);
void environment_wipe(void);

#endif
