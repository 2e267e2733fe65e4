/* SPDX-License-Identifier: Apache-2.0 */
/* shim.h - loopback listeners in front of the host's ports */
#ifndef KENAZ_GUEST_SHIM_H
#define KENAZ_GUEST_SHIM_H

#include "engine/base/err.h"

#define SHIM_GATE_TCP_PORT  4141u
#define SHIM_PROXY_TCP_PORT 4142u
#define SHIM_MAX_STREAMS    512

MUST_CHECK enum err shim_listen_gate(unsigned port, unsigned *ret_port);
MUST_CHECK enum err shim_listen_proxy(unsigned port, unsigned *ret_port);

#endif
