/* SPDX-License-Identifier: Apache-2.0 */
/* credential_file.h - a wrapping key that systemd decrypted for the engine */
#ifndef KENAZ_BROKER_CREDENTIAL_FILE_H
#define KENAZ_BROKER_CREDENTIAL_FILE_H

#include "engine/broker/secret.h"

#define CREDENTIAL_FILE_MAX_BYTES 1024u

MUST_CHECK enum err credential_parse(struct span file, struct secret **ret_key,
				     const char **ret_why);
MUST_CHECK enum err credential_load(int dir_fd, const char *name,
				    struct secret **ret_key,
				    const char **ret_why);

#endif
