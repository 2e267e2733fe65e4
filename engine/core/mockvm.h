/* SPDX-License-Identifier: Apache-2.0 */
/* mockvm.h - kenaz-guestd as a host process: no isolation, for development */
#ifndef KENAZ_CORE_MOCKVM_H
#define KENAZ_CORE_MOCKVM_H

#include "engine/core/session.h"

struct mockvm;

MUST_CHECK enum err mockvm_new(struct session *s, int gate_channel_fd,
			       struct mockvm **ret_mock);
MUST_CHECK enum err mockvm_connect(struct mockvm *m, int *ret_fd);
void mockvm_free(struct mockvm *m);

#endif
