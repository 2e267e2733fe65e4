/* SPDX-License-Identifier: Apache-2.0 */
/* transport.h - streams to and from the host: vsock, or its stand-in */
#ifndef KENAZ_GUEST_TRANSPORT_H
#define KENAZ_GUEST_TRANSPORT_H

#include "engine/base/buf.h"

#define TRANSPORT_PORT_GATE   1024u /* HTTP into the gate */
#define TRANSPORT_PORT_EGRESS 1025u /* one line, then a tunnel */
#define TRANSPORT_PORT_GUEST  1024u /* the host's way in */

MUST_CHECK enum err transport_use_folder(const char *folder);
MUST_CHECK enum err transport_listen(unsigned port, int *ret_fd);
MUST_CHECK enum err transport_accept(int listen_fd, int *ret_fd);
MUST_CHECK enum err transport_connect(unsigned port, int *ret_fd);
MUST_CHECK enum err transport_finish(int fd);

#endif
