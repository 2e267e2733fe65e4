/* SPDX-License-Identifier: Apache-2.0 */
/* route_of.h - a configured provider as engine/providers wants it */
#ifndef KENAZ_CORE_ROUTE_OF_H
#define KENAZ_CORE_ROUTE_OF_H

#include "engine/core/config.h"
#include "engine/providers/route.h"

MUST_CHECK enum err route_endpoint_of(const struct config_provider *p,
				      char *ret_text, size_t cap_bytes);
const char *route_secret_of(const struct config_provider *p);
MUST_CHECK enum err route_request_of(const struct config_provider *p,
				     enum route route, struct span model,
				     struct span query, struct span headers,
				     struct route_request *ret_request);

#endif
