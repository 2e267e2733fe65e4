/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - streams that the host opens: control, exec, attach */
#ifndef KENAZ_GUEST_SESSION_H
#define KENAZ_GUEST_SESSION_H

#include "engine/base/err.h"

#define SESSION_MAX_STREAMS 128

MUST_CHECK enum err session_listen(void);

#endif
