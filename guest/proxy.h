/* SPDX-License-Identifier: Apache-2.0 */
/* proxy.h - one HTTP proxy request of a program, taken to the egress */
#ifndef KENAZ_GUEST_PROXY_H
#define KENAZ_GUEST_PROXY_H

#include <stddef.h>

void proxy_take(int client_fd);
size_t proxy_count(void);

#endif
