/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel.h - egress of a session: names, decisions, events */
#ifndef KENAZ_CORE_TUNNEL_H
#define KENAZ_CORE_TUNNEL_H

#include "engine/core/session.h"

void tunnel_new(struct session *s, int fd);
void tunnels_end(struct session *s);
void tunnel_decided(struct session *s, uint64_t id, bool granted,
		    const char *rule, const char *text);

#endif
