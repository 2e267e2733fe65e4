/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl_cause.c - what exactly failed, for people
 *
 * Runs in: kenaz-broker.
 * Trusts:  libcurl.
 * Never:   does I/O. Decides nothing: curl_failure.c has the classes.
 *
 * Source: the results of certificate checks are OpenSSL's, X509_V_ERR_*, as
 * CURLINFO_SSL_VERIFYRESULT hands them out. libcurl compares the host's name
 * by itself, before it asks for that result: it is 0 or unspecified then.
 */
#include "engine/broker/curl_cause.h"

#include <string.h>

#include "engine/base/buf.h"

#define VERIFY_UNSPECIFIED   1L
#define VERIFY_NOT_YET_VALID 9L
#define VERIFY_HAS_EXPIRED   10L
#define VERIFY_HOST_MISMATCH 62L
#define PROXY_WANTS_LOGIN    407L

static long info(CURL *easy, CURLINFO what)
{
	long value = 0;

	if (!easy || curl_easy_getinfo(easy, what, &value) != CURLE_OK)
		return 0;
	return value;
}

static enum transfer_cause of_certificate(CURL *easy)
{
	switch (info(easy, CURLINFO_SSL_VERIFYRESULT)) {
	case 0:
	case VERIFY_UNSPECIFIED:
	case VERIFY_HOST_MISMATCH:
		return CAUSE_TLS_HOST;
	case VERIFY_NOT_YET_VALID:
		return CAUSE_TLS_EARLY;
	case VERIFY_HAS_EXPIRED:
		return CAUSE_TLS_EXPIRED;
	default:
		return CAUSE_TLS_ISSUER;
	}
}

/* OpenSSL's words for a first record that is none of TLS's. */
static bool is_plain(const char *text)
{
	static const char *const signs[] = {"wrong version number",
					    "http request",
					    "packet length too long",
					    "record layer failure",
					    "unknown protocol"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signs); i++)
		if (strstr(text, signs[i]))
			return true;
	return false;
}

/**
 * curl_cause_of() - What a person can mend
 * @code:	libcurl's
 * @easy:	Handle that failed, or NULL
 * @by_proxy:	The way leads through a proxy
 * @text:	libcurl's own words, maybe ""
 */
enum transfer_cause curl_cause_of(CURLcode code, CURL *easy, bool by_proxy,
				  const char *text)
{
	long answered = info(easy, CURLINFO_HTTP_CONNECTCODE);

	if (by_proxy && answered >= 300)
		return answered == PROXY_WANTS_LOGIN ? CAUSE_PROXY_LOGIN
						     : CAUSE_PROXY_DENIED;
	if (code == CURLE_COULDNT_RESOLVE_HOST)
		return CAUSE_NAME;
	if (code == CURLE_COULDNT_RESOLVE_PROXY)
		return CAUSE_PROXY_NAME;
	if (code == CURLE_COULDNT_CONNECT)
		return by_proxy ? CAUSE_PROXY_REFUSED : CAUSE_REFUSED;
	if (code == CURLE_SSL_CACERT_BADFILE)
		return CAUSE_TLS_CA_FILE;
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return of_certificate(easy);
	if (code == CURLE_SSL_CONNECT_ERROR && is_plain(text))
		return CAUSE_TLS_PLAIN;
	return CAUSE_NONE;
}
