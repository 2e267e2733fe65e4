/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c - which addresses a guest may be connected to; no I/O
 *
 * Runs in: kenaz-egress.
 * Trusts:  nothing: a name's owner chooses its addresses.
 * Never:   calls an address public because its form is not known.
 *
 * Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890).
 * IPv6 is public inside 2000::/3 only. Forms that carry an IPv4 address
 * (mapped, compatible, NAT64, 6to4) are judged by what they carry, and mapped
 * and compatible ones are refused even then unless that address is private
 * and a rule allows it. The metadata services of clouds stay refused under
 * every rule: whoever reaches them has the host's credentials.
 */
#include "engine/egress/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

struct range4 {
	uint32_t first;
	unsigned bits;
	enum address_kind kind;
};

#define V4(a, b, c, d)                                                    \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | \
	 (uint32_t)(d))

/* The first row that matches decides. */
static const struct range4 ranges4[] = {
	{V4(169, 254, 169, 254), 32, ADDRESS_METADATA},
	{V4(169, 254, 170, 2), 32, ADDRESS_METADATA},
	{V4(100, 100, 100, 200), 32, ADDRESS_METADATA},
	{V4(168, 63, 129, 16), 32, ADDRESS_METADATA},
	{V4(192, 0, 0, 192), 32, ADDRESS_METADATA},
	{V4(0, 0, 0, 0), 8, ADDRESS_UNSPECIFIED},
	{V4(10, 0, 0, 0), 8, ADDRESS_PRIVATE},
	{V4(100, 64, 0, 0), 10, ADDRESS_SHARED},
	{V4(127, 0, 0, 0), 8, ADDRESS_LOOPBACK},
	{V4(169, 254, 0, 0), 16, ADDRESS_LINK_LOCAL},
	{V4(172, 16, 0, 0), 12, ADDRESS_PRIVATE},
	{V4(192, 0, 0, 0), 24, ADDRESS_RESERVED},
	{V4(192, 0, 2, 0), 24, ADDRESS_DOCUMENTATION},
	{V4(192, 88, 99, 0), 24, ADDRESS_RESERVED},
	{V4(192, 168, 0, 0), 16, ADDRESS_PRIVATE},
	{V4(198, 18, 0, 0), 15, ADDRESS_BENCHMARK},
	{V4(198, 51, 100, 0), 24, ADDRESS_DOCUMENTATION},
	{V4(203, 0, 113, 0), 24, ADDRESS_DOCUMENTATION},
	{V4(224, 0, 0, 0), 4, ADDRESS_MULTICAST},
	{V4(240, 0, 0, 0), 4, ADDRESS_RESERVED},
};

struct range6 {
	uint8_t prefix[16];
	unsigned bits;
	enum address_kind kind;
};

static const struct range6 ranges6[] = {
	{{0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54},
	 128,
	 ADDRESS_METADATA},
	{{0xfd, 0x20, 0x00, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54},
	 128,
	 ADDRESS_METADATA},
	{{0}, 128, ADDRESS_UNSPECIFIED},
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
	 128,
	 ADDRESS_LOOPBACK},
	{{0xfc}, 7, ADDRESS_PRIVATE},
	{{0xfe, 0x80}, 10, ADDRESS_LINK_LOCAL},
	{{0xfe, 0xc0}, 10, ADDRESS_PRIVATE},
	{{0xff}, 8, ADDRESS_MULTICAST},
	{{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_DOCUMENTATION},
	{{0x20, 0x01, 0x00, 0x02, 0, 0}, 48, ADDRESS_BENCHMARK},
	{{0x20, 0x01, 0x00, 0x00}, 32, ADDRESS_TUNNELLED}, /* Teredo */
	{{0x20, 0x01, 0x00}, 23, ADDRESS_RESERVED},
	{{0x3f, 0xff, 0x00}, 20, ADDRESS_DOCUMENTATION},
};

/* Forms that carry an IPv4 address; the first row that matches decides. */
static const struct {
	uint8_t prefix[16];
	unsigned bits;
	unsigned at; /* offset of the address */
	bool public_ok;
} carriers[] = {
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 12, false},
	{{0, 0x64, 0xff, 0x9b}, 96, 12, true}, /* NAT64 */
	{{0x20, 0x02}, 16, 2, true},           /* 6to4 */
	{{0}, 96, 12, false},                  /* compatible */
};

static const char *const texts[] = {
	[ADDRESS_PUBLIC] = "public",
	[ADDRESS_PRIVATE] = "private",
	[ADDRESS_LOOPBACK] = "loopback",
	[ADDRESS_SHARED] = "shared (carrier-grade NAT)",
	[ADDRESS_DOCUMENTATION] = "documentation",
	[ADDRESS_BENCHMARK] = "benchmark",
	[ADDRESS_METADATA] = "cloud metadata",
	[ADDRESS_LINK_LOCAL] = "link-local",
	[ADDRESS_MULTICAST] = "multicast",
	[ADDRESS_UNSPECIFIED] = "unspecified",
	[ADDRESS_RESERVED] = "reserved",
	[ADDRESS_TUNNELLED] = "tunnelled",
	[ADDRESS_UNKNOWN] = "unknown",
};
static_assert(sizeof(texts) / sizeof(texts[0]) == ADDRESS_KIND_COUNT,
	      "every kind has a text");

static enum address_kind classify4(uint32_t address)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges4); i++) {
		uint32_t mask = ~(uint32_t)0 << (32 - ranges4[i].bits);

		if ((address & mask) == ranges4[i].first)
			return ranges4[i].kind;
	}
	return ADDRESS_PUBLIC;
}

static bool starts(const uint8_t *address, const uint8_t *prefix, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(address, prefix, bytes) != 0)
		return false;
	return rest == 0 || (address[bytes] ^ prefix[bytes]) >> (8 - rest) == 0;
}

static enum address_kind classify6(const uint8_t address[16])
{
	enum address_kind kind;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges6); i++)
		if (starts(address, ranges6[i].prefix, ranges6[i].bits))
			return ranges6[i].kind;
	for (i = 0; i < ARRAY_SIZE(carriers); i++) {
		const uint8_t *v4 = address + carriers[i].at;

		if (!starts(address, carriers[i].prefix, carriers[i].bits))
			continue;
		kind = classify4(V4(v4[0], v4[1], v4[2], v4[3]));
		if (kind == ADDRESS_PUBLIC && !carriers[i].public_ok)
			return ADDRESS_TUNNELLED;
		return kind;
	}
	return (address[0] & 0xe0) == 0x20 ? ADDRESS_PUBLIC : ADDRESS_RESERVED;
}

/**
 * address_classify() - Say what an address is
 * @address:	IPv4 or IPv6 socket address, borrowed
 *
 * Return: its kind; ADDRESS_UNKNOWN for another family, ADDRESS_LINK_LOCAL
 *	   for an IPv6 address with a scope.
 */
enum address_kind address_classify(const struct sockaddr *address)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		return classify4(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family != AF_INET6)
		return ADDRESS_UNKNOWN;
	memcpy(&in6, address, sizeof(in6));
	if (in6.sin6_scope_id != 0)
		return ADDRESS_LINK_LOCAL;
	return classify6(in6.sin6_addr.s6_addr);
}

/**
 * address_allowed() - Whether a guest may be connected to such an address
 * @kind:		From address_classify()
 * @allow_private:	The matching rule allows private destinations
 */
bool address_allowed(enum address_kind kind, bool allow_private)
{
	return kind == ADDRESS_PUBLIC ||
	       (allow_private && kind < ADDRESS_METADATA);
}

/** address_kind_text() - The kind in words */
const char *address_kind_text(enum address_kind kind)
{
	return (unsigned)kind < ADDRESS_KIND_COUNT ? texts[kind] : "unknown";
}

/**
 * address_format() - Write an address without its port
 * @address:	IPv4 or IPv6
 * @ret_text:	Array of @cap_bytes, at least ADDRESS_TEXT_BYTES
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err address_format(const struct sockaddr *address, char *ret_text,
			size_t cap_bytes)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	const void *bytes;

	if (address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		bytes = &in.sin_addr;
	} else if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		bytes = &in6.sin6_addr;
	} else {
		return ERR_FORMAT;
	}
	return inet_ntop(address->sa_family, bytes, ret_text,
			 (socklen_t)cap_bytes)
		       ? ERR_OK
		       : ERR_FORMAT;
}
