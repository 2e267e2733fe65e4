/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_door.h - the socket through which a user reaches ports of a guest */
#ifndef KENAZ_CORE_VSOCK_DOOR_H
#define KENAZ_CORE_VSOCK_DOOR_H

#include "engine/core/session.h"

#define VSOCK_DOOR_FOLDER      "vsock"
#define VSOCK_DOOR_CLIENTS_MAX 16u /* of one session, joined ones included */
#define VSOCK_DOOR_LINE_MAX_NS (5ull * 1000000000ull)
#define VSOCK_DOOR_BACKLOG     64

void vsock_door_clean(struct engine *e);
void vsock_door_open(struct session *s);
void vsock_door_tick(struct session *s, uint64_t now_ns);
void vsock_door_end(struct session *s, const char *reason);
const char *vsock_door_path(const struct session *s);
size_t vsock_door_clients(const struct session *s);
void vsock_door_decided(struct session *s, uint64_t id, bool granted,
			const char *rule, const char *text);
MUST_CHECK enum err vsock_door_on_closed(struct session *s,
					 struct span payload);

#endif
