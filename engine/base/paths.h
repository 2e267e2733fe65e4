/* SPDX-License-Identifier: Apache-2.0 */
/* paths.h - where an engine keeps its configuration, state and socket */
#ifndef KENAZ_BASE_PATHS_H
#define KENAZ_BASE_PATHS_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/base/conf.h"

#define PATHS_MAX_BYTES        1024u /* of a folder, with the NUL */
#define PATHS_SOCKET_MAX_BYTES 108u  /* sun_path, with the NUL */
#define PATHS_SYSTEM_CONFIG    "/etc/kenaz"
#define PATHS_SYSTEM_STATE     "/var/lib/kenaz"
#define PATHS_SYSTEM_RUNTIME   "/run/kenaz"
#define PATHS_SOCKET_NAME      "kenazd.sock"
/* In the state folder: held by its engine, holds the path of its socket. */
#define PATHS_LOCK_NAME "kenazd.lock"

/* What was asked for; NULL is "not given". */
struct paths_options {
	const char *config_dir;
	const char *state_dir;
	const char *runtime_dir;
	bool system;
};

struct paths_environment {
	const char *home;
	const char *config_home;
	const char *state_home;
	const char *runtime_dir;
};

/* One folder and what made it so ("option", "XDG_STATE_HOME", ...). */
struct paths_folder {
	char path[PATHS_MAX_BYTES];
	const char *source;
};

struct paths {
	struct paths_folder config;
	struct paths_folder state;
	struct paths_folder runtime;
	char socket[PATHS_SOCKET_MAX_BYTES];
	bool system;
};

void paths_environment_read(struct paths_environment *ret_environment);
MUST_CHECK enum err paths_resolve(const struct paths_options *options,
				  const struct paths_environment *environment,
				  struct conf_error *error,
				  struct paths *ret_paths);
MUST_CHECK enum err paths_join(const char *folder, const char *name,
			       char *ret_path, size_t cap_bytes);
MUST_CHECK enum err paths_make_private(const char *folder,
				       struct conf_error *error);

#endif
