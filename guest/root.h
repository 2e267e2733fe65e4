/* SPDX-License-Identifier: Apache-2.0 */
/* root.h - go over from the initramfs to the image's root file system */
#ifndef KENAZ_GUEST_ROOT_H
#define KENAZ_GUEST_ROOT_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "guest/verity.h"

#define ROOT_OPTION      "kenaz.root="
#define ROOT_DISK_OPTION "kenaz.disk=1"

/* What the word after ROOT_OPTION says. */
struct root_option {
	const char *filesystem; /* static */
	struct verity verity;
};

MUST_CHECK enum err root_option_parse(struct span text,
				      struct root_option *ret_option);
MUST_CHECK enum err root_set_up(const struct root_option *option, bool disk,
				const char **ret_what);

#endif
