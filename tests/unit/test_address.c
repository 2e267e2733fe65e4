/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_address.c - no address is public unless it surely is
 *
 * Runs in: make check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "engine/egress/address.h"

static enum address_kind kind_of(const char *text)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return address_classify((struct sockaddr *)&in);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return address_classify((struct sockaddr *)&in6);
}

static const struct {
	const char *text;
	enum address_kind kind;
} rows[] = {
	{"1.1.1.1", ADDRESS_PUBLIC},
	{"9.255.255.255", ADDRESS_PUBLIC},
	{"11.0.0.0", ADDRESS_PUBLIC},
	{"100.63.255.255", ADDRESS_PUBLIC},
	{"100.128.0.0", ADDRESS_PUBLIC},
	{"126.255.255.255", ADDRESS_PUBLIC},
	{"128.0.0.1", ADDRESS_PUBLIC},
	{"172.15.255.255", ADDRESS_PUBLIC},
	{"172.32.0.0", ADDRESS_PUBLIC},
	{"223.255.255.255", ADDRESS_PUBLIC},
	{"0.0.0.0", ADDRESS_UNSPECIFIED},
	{"0.1.2.3", ADDRESS_UNSPECIFIED},
	{"10.0.0.1", ADDRESS_PRIVATE},
	{"10.255.255.255", ADDRESS_PRIVATE},
	{"100.64.0.1", ADDRESS_SHARED},
	{"100.127.255.255", ADDRESS_SHARED},
	{"100.100.100.200", ADDRESS_METADATA},
	{"127.0.0.1", ADDRESS_LOOPBACK},
	{"127.255.255.254", ADDRESS_LOOPBACK},
	{"169.254.0.1", ADDRESS_LINK_LOCAL},
	{"169.254.169.254", ADDRESS_METADATA},
	{"169.254.170.2", ADDRESS_METADATA},
	{"168.63.129.16", ADDRESS_METADATA},
	{"172.16.0.0", ADDRESS_PRIVATE},
	{"172.31.255.255", ADDRESS_PRIVATE},
	{"192.0.0.8", ADDRESS_RESERVED},
	{"192.0.2.1", ADDRESS_DOCUMENTATION},
	{"192.88.99.1", ADDRESS_RESERVED},
	{"192.168.1.1", ADDRESS_PRIVATE},
	{"198.18.0.1", ADDRESS_BENCHMARK},
	{"198.19.255.255", ADDRESS_BENCHMARK},
	{"198.51.100.7", ADDRESS_DOCUMENTATION},
	{"203.0.113.7", ADDRESS_DOCUMENTATION},
	{"224.0.0.1", ADDRESS_MULTICAST},
	{"239.255.255.255", ADDRESS_MULTICAST},
	{"240.0.0.1", ADDRESS_RESERVED},
	{"255.255.255.255", ADDRESS_RESERVED},
	{"2606:4700::1111", ADDRESS_PUBLIC},
	{"2a00:1450::1", ADDRESS_PUBLIC},
	{"::", ADDRESS_UNSPECIFIED},
	{"::1", ADDRESS_LOOPBACK},
	{"::2", ADDRESS_UNSPECIFIED},
	{"::7f00:1", ADDRESS_LOOPBACK},
	{"::8.8.8.8", ADDRESS_TUNNELLED},
	{"::ffff:127.0.0.1", ADDRESS_LOOPBACK},
	{"::ffff:10.0.0.1", ADDRESS_PRIVATE},
	{"::ffff:169.254.169.254", ADDRESS_METADATA},
	{"::ffff:8.8.8.8", ADDRESS_TUNNELLED},
	{"64:ff9b::8.8.8.8", ADDRESS_PUBLIC},
	{"64:ff9b::10.0.0.1", ADDRESS_PRIVATE},
	{"64:ff9b::169.254.169.254", ADDRESS_METADATA},
	{"64:ff9b:1::1", ADDRESS_RESERVED},
	{"2002:0808:0808::1", ADDRESS_PUBLIC},
	{"2002:7f00:0001::1", ADDRESS_LOOPBACK},
	{"2002:c0a8:0101::1", ADDRESS_PRIVATE},
	{"2002:a9fe:a9fe::1", ADDRESS_METADATA},
	{"2001:0:1234::1", ADDRESS_TUNNELLED},
	{"2001:2::1", ADDRESS_BENCHMARK},
	{"2001:10::1", ADDRESS_RESERVED},
	{"2001:20::1", ADDRESS_RESERVED},
	{"2001:1ff:ffff::1", ADDRESS_RESERVED},
	{"2001:200::1", ADDRESS_PUBLIC},
	{"2001:db8::1", ADDRESS_DOCUMENTATION},
	{"3fff::1", ADDRESS_DOCUMENTATION},
	{"3fff:1000::1", ADDRESS_PUBLIC},
	{"fc00::1", ADDRESS_PRIVATE},
	{"fdff::1", ADDRESS_PRIVATE},
	{"fd00:ec2::254", ADDRESS_METADATA},
	{"fd20:ce::254", ADDRESS_METADATA},
	{"fe80::1", ADDRESS_LINK_LOCAL},
	{"febf::1", ADDRESS_LINK_LOCAL},
	{"fec0::1", ADDRESS_PRIVATE},
	{"ff02::1", ADDRESS_MULTICAST},
	{"4000::1", ADDRESS_RESERVED},
	{"100::1", ADDRESS_RESERVED},
	{"5f00::1", ADDRESS_RESERVED},
};

static void test_kinds(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (kind_of(rows[i].text) != rows[i].kind)
			fail_msg("%s is %s, not %s", rows[i].text,
				 address_kind_text(kind_of(rows[i].text)),
				 address_kind_text(rows[i].kind));
}

static void test_allowed(void **state)
{
	int kind;

	(void)state;
	for (kind = 0; kind < ADDRESS_KIND_COUNT; kind++) {
		enum address_kind k = (enum address_kind)kind;

		assert_int_equal(address_allowed(k, false),
				 k == ADDRESS_PUBLIC);
	}
	assert_true(address_allowed(ADDRESS_LOOPBACK, true));
	assert_true(address_allowed(ADDRESS_PRIVATE, true));
	assert_false(address_allowed(ADDRESS_METADATA, true));
	assert_false(address_allowed(ADDRESS_LINK_LOCAL, true));
	assert_false(address_allowed(ADDRESS_MULTICAST, true));
	assert_false(address_allowed(ADDRESS_UNSPECIFIED, true));
	assert_false(address_allowed(ADDRESS_TUNNELLED, true));
	assert_false(address_allowed(ADDRESS_UNKNOWN, true));
}

static void test_other_families(void **state)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = 2};
	struct sockaddr unix_address = {.sa_family = AF_UNIX};
	char text[ADDRESS_TEXT_BYTES];

	(void)state;
	assert_int_equal(address_classify(&unix_address), ADDRESS_UNKNOWN);
	assert_int_equal(address_format(&unix_address, text, sizeof(text)),
			 ERR_FORMAT);
	assert_int_equal(inet_pton(AF_INET6, "2606::1", &in6.sin6_addr), 1);
	assert_int_equal(address_classify((struct sockaddr *)&in6),
			 ADDRESS_LINK_LOCAL);
	assert_int_equal(address_format((struct sockaddr *)&in6, text,
					sizeof(text)),
			 ERR_OK);
	assert_string_equal(text, "2606::1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_other_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
