/* SPDX-License-Identifier: Apache-2.0 */
/* key_file.h - a wrapping key in a file beside the vault */
#ifndef KENAZ_BROKER_KEY_FILE_H
#define KENAZ_BROKER_KEY_FILE_H

#include "engine/broker/secret.h"
#include "engine/broker/vault_wrap.h"

MUST_CHECK enum err key_file_load(int dir_fd, const char *name,
				  struct secret **ret_key,
				  const char **ret_why);
MUST_CHECK enum err key_file_create(int dir_fd, const char *name,
				    struct secret **ret_key,
				    const char **ret_why);
MUST_CHECK enum err key_file_sweep(int dir_fd,
				   const struct vault_wrap *in_force);

#endif
