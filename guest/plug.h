/* SPDX-License-Identifier: Apache-2.0 */
/* plug.h - notice the vsock device that the host plugs into a template */
#ifndef KENAZ_GUEST_PLUG_H
#define KENAZ_GUEST_PLUG_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define PLUG_CONFIG_BYTES 256u /* a device's configuration space */

void plug_open(void);
bool plug_look(void);
void plug_close(void);

/* Where the slot's status is; 0 when this is no port with a slot. Pure. */
unsigned plug_find_status(struct span config);

#endif
