/* SPDX-License-Identifier: Apache-2.0 */
/* boot.h - what the host told this guest before any stream existed */
#ifndef KENAZ_GUEST_BOOT_H
#define KENAZ_GUEST_BOOT_H

#include "engine/base/buf.h"
#include "engine/proto/bootdoc.h"

MUST_CHECK enum err boot_load(void);
MUST_CHECK enum err boot_take(struct span text);
bool boot_demands_secret(void);
bool boot_secret_matches(struct span line);
unsigned boot_host_port(unsigned port);

#endif
