/* SPDX-License-Identifier: Apache-2.0 */
/* invoke_reply.h - replies in or out of InvokeModel's frames */
#ifndef KENAZ_GATE_INVOKE_REPLY_H
#define KENAZ_GATE_INVOKE_REPLY_H

#include <stdbool.h>

#include "engine/gate/reply.h"

struct reply *invoke_stream_reply_new(bool frames_in, bool frames_out);
struct reply *invoke_body_reply_new(void);

#endif
