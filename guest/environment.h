/* SPDX-License-Identifier: Apache-2.0 */
/* environment.h - the variables that every program of a session starts with */
#ifndef KENAZ_GUEST_ENVIRONMENT_H
#define KENAZ_GUEST_ENVIRONMENT_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define ENVIRONMENT_MAX_VARS   192
#define ENVIRONMENT_MAX_BYTES  (64u * 1024)
#define ENVIRONMENT_NAME_BYTES 128u

struct environment {
	char *vars[ENVIRONMENT_MAX_VARS + 1]; /* NAME=value, then NULL */
	size_t count;
	size_t used_bytes;
};

/* Where the loopback services and the home of this machine are. */
struct environment_place {
	unsigned gate_port;
	unsigned proxy_port;
	const char *home;
	const char *user;
	const char *path;
	bool is_isolated;
};

void environment_init(struct environment *env);
void environment_fini(struct environment *env);
MUST_CHECK enum err environment_set(struct environment *env, struct span name,
				    struct span value);
MUST_CHECK enum err environment_copy(struct environment *env,
				     const struct environment *from);
MUST_CHECK enum err environment_defaults(struct environment *env,
					 const struct environment_place *place);
MUST_CHECK enum err
environment_write_agent_files(const struct environment_place *place,
			      unsigned uid);

#endif
