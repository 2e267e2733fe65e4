/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.h - hosts of providers that have one for each region */
#ifndef KENAZ_PROVIDERS_ENDPOINT_H
#define KENAZ_PROVIDERS_ENDPOINT_H

#include "engine/providers/route.h"

bool endpoint_is_region(struct span name);
MUST_CHECK enum err endpoint_fill(struct span template, struct span region,
				  enum route_variant variant, struct buf *out);

#endif
