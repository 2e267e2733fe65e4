/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.c - hosts of providers that have one for each region
 *
 * Runs in: kenazd and kenaz-broker, inside route_build().
 * Trusts:  the tables; the region is letters, digits and hyphens.
 * Never:   does I/O, falls back to another kind of end point than was asked.
 *
 * Source: AWS's partitions (regions by their names, DNS suffixes) and the
 * rules for the end points of Amazon Bedrock. A template may hold
 *
 *	{region}  as configured
 *	{suffix}  of the region's partition, for dual stack if that is asked
 *	{fips}    "-fips" if that is asked, else nothing
 *
 * A template without {fips} has no FIPS end point, one without {suffix} none
 * for dual stack and none outside of AWS's first partition.
 */
#include "engine/providers/endpoint.h"

#include <string.h>

#include "engine/base/text.h"

static const struct {
	const char *region; /* how its regions begin; the first that fits */
	const char *suffix;
	const char *dual_stack; /* NULL: it has none */
} partitions[] = {
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"us-gov-", "amazonaws.com", "api.aws"},
	{"us-isob-", "sc2s.sgov.gov", NULL},
	{"us-isof-", "csp.hci.ic.gov", NULL},
	{"us-iso-", "c2s.ic.gov", NULL},
	{"eu-isoe-", "cloud.adc-e.uk", NULL},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"", "amazonaws.com", "api.aws"},
};

static const char *const variants[ROUTE_VARIANT_COUNT] = {
	[ROUTE_VARIANT_PLAIN] = "",
	[ROUTE_VARIANT_FIPS] = "fips",
	[ROUTE_VARIANT_DUALSTACK] = "dualstack",
	[ROUTE_VARIANT_FIPS_DUALSTACK] = "fips-dualstack",
};

/** route_variant_text() - As in the configuration; "" for the usual one */
const char *route_variant_text(enum route_variant variant)
{
	return variants[variant];
}

/**
 * route_variant_of() - Read a variant's name
 * @text:		As in the configuration; may be empty
 * @ret_variant:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err route_variant_of(struct span text, enum route_variant *ret_variant)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(variants); i++) {
		if (!span_is(text, variants[i]))
			continue;
		*ret_variant = (enum route_variant)i;
		return ERR_OK;
	}
	return ERR_FORMAT;
}

static size_t partition_of(struct span region)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(partitions) - 1; i++) {
		size_t len = strlen(partitions[i].region);

		if (region.len_bytes > len &&
		    memcmp(region.data, partitions[i].region, len) == 0)
			break;
	}
	return i;
}

/**
 * endpoint_is_region() - Whether a name has the form of AWS's regions
 * @name:	As configured
 *
 * A place, one word or more, and a number: eu-central-1, us-gov-west-1. Which
 * of them there are is AWS's to say.
 */
bool endpoint_is_region(struct span name)
{
	size_t words = 0, digits = 0, letters = 0, i;

	for (i = 0; i < name.len_bytes; i++) {
		uint8_t c = name.data[i];

		if (c >= 'a' && c <= 'z' && !digits) {
			letters++;
		} else if (c >= '0' && c <= '9' && !letters && words >= 2) {
			digits++;
		} else if (c == '-' && letters) {
			words++;
			letters = 0;
		} else {
			return false;
		}
	}
	return digits >= 1 && digits <= 2;
}

static bool has(struct span template, const char *mark)
{
	return template.len_bytes &&
	       memmem(template.data, template.len_bytes, mark, strlen(mark));
}

/* What stands for a mark; NULL: no such mark, or no such end point. */
static const char *value_of(struct span mark, struct span region,
			    enum route_variant variant)
{
	size_t partition = partition_of(region);

	if (span_is(mark, "fips"))
		return variant & ROUTE_VARIANT_FIPS ? "-fips" : "";
	if (!span_is(mark, "suffix"))
		return NULL;
	return variant & ROUTE_VARIANT_DUALSTACK
		       ? partitions[partition].dual_stack
		       : partitions[partition].suffix;
}

static enum err put_value(struct buf *out, struct span mark, struct span region,
			  enum route_variant variant)
{
	const char *value;

	if (span_is(mark, "region"))
		return region.len_bytes ? buf_put_span(out, region)
					: ERR_CONFIG;
	value = value_of(mark, region, variant);
	return value ? buf_put_text(out, value) : ERR_CONFIG;
}

/**
 * endpoint_fill() - Append an end point made from a template
 * @template:	Borrowed
 * @region:	Checked by the caller; may be empty
 * @variant:	Which one
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_CONFIG when a region is missing or the provider has no
 *	   such end point there; ERR_LIMIT; ERR_MEMORY.
 */
enum err endpoint_fill(struct span template, struct span region,
		       enum route_variant variant, struct buf *out)
{
	bool regional = has(template, "{region}");
	enum err e = ERR_OK;

	if (regional && region.len_bytes == 0)
		return ERR_CONFIG;
	if (((variant & ROUTE_VARIANT_FIPS) && !has(template, "{fips}")) ||
	    ((variant & ROUTE_VARIANT_DUALSTACK) &&
	     !has(template, "{suffix}")) ||
	    (regional && !has(template, "{suffix}") &&
	     partition_of(region) != ARRAY_SIZE(partitions) - 1))
		return ERR_CONFIG;
	while (e == ERR_OK && template.len_bytes) {
		const uint8_t *open =
			memchr(template.data, '{', template.len_bytes);
		size_t before = open ? (size_t)(open - template.data)
				     : template.len_bytes;
		struct span rest = span_of(template.data + before,
					   template.len_bytes - before);
		const uint8_t *close =
			open ? memchr(open, '}', rest.len_bytes) : NULL;
		size_t mark = close ? (size_t)(close - open) + 1 : 0;

		e = buf_put(out, template.data, before);
		if (e == ERR_OK && open && !close)
			e = ERR_CONFIG;
		if (e == ERR_OK && close)
			e = put_value(out, span_of(open + 1, mark - 2), region,
				      variant);
		template = span_of(rest.data + mark, rest.len_bytes - mark);
	}
	return e;
}
