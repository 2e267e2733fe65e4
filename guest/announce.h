/* SPDX-License-Identifier: Apache-2.0 */
/* announce.h - tell the host that this guest is up, until it says hello */
#ifndef KENAZ_GUEST_ANNOUNCE_H
#define KENAZ_GUEST_ANNOUNCE_H

void announce_start(void);
void announce_stop(void);

#endif
