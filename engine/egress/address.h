/* SPDX-License-Identifier: Apache-2.0 */
/* address.h - which addresses a guest may be connected to; no I/O */
#ifndef KENAZ_EGRESS_ADDRESS_H
#define KENAZ_EGRESS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "engine/base/err.h"

#define ADDRESS_TEXT_BYTES 64u

enum address_kind {
	ADDRESS_PUBLIC,
	/* allowed when a rule says so */
	ADDRESS_PRIVATE,
	ADDRESS_LOOPBACK,
	ADDRESS_SHARED, /* carrier-grade NAT */
	ADDRESS_DOCUMENTATION,
	ADDRESS_BENCHMARK,
	/* never allowed */
	ADDRESS_METADATA,
	ADDRESS_LINK_LOCAL,
	ADDRESS_MULTICAST,
	ADDRESS_UNSPECIFIED,
	ADDRESS_RESERVED,
	ADDRESS_TUNNELLED, /* a form that hides another address */
	ADDRESS_UNKNOWN,   /* neither IPv4 nor IPv6 */
	ADDRESS_KIND_COUNT
};

enum address_kind address_classify(const struct sockaddr *address);
bool address_allowed(enum address_kind kind, bool allow_private);
const char *address_kind_text(enum address_kind kind);
MUST_CHECK enum err address_format(const struct sockaddr *address,
				   char *ret_text, size_t cap_bytes);

#endif
