/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl_failure.c - libcurl's reasons, in our words and classes
 *
 * Runs in: kenaz-broker.
 * Trusts:  libcurl.
 * Never:   does I/O.
 *
 * The class decides whether core tries again. What cannot be told apart from
 * a provider that answers nonsense is FAILURE_PROTOCOL, which it does not.
 */
#include "engine/broker/curl_failure.h"

static const struct curl_failure failures[] = {
	{CURLE_COULDNT_RESOLVE_HOST, ERR_UPSTREAM, FAILURE_CONNECT,
	 "the provider's name cannot be resolved"},
	{CURLE_COULDNT_RESOLVE_PROXY, ERR_UPSTREAM, FAILURE_CONNECT,
	 "the proxy's name cannot be resolved"},
	{CURLE_COULDNT_CONNECT, ERR_UPSTREAM, FAILURE_CONNECT,
	 "the provider cannot be connected"},
	{CURLE_PROXY, ERR_UPSTREAM, FAILURE_CONNECT,
	 "the proxy cannot be used"},
	{CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, FAILURE_TIMEOUT_CONNECT,
	 "the provider cannot be connected in time"},
	{CURLE_PEER_FAILED_VERIFICATION, ERR_UPSTREAM, FAILURE_TLS,
	 "the provider's certificate is not trusted"},
	{CURLE_SSL_CONNECT_ERROR, ERR_UPSTREAM, FAILURE_TLS,
	 "TLS with the provider failed"},
	{CURLE_SSL_CACERT_BADFILE, ERR_CONFIG, FAILURE_TLS,
	 "the certificates to check the provider with cannot be read"},
	{CURLE_PARTIAL_FILE, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider's answer was cut off"},
	{CURLE_GOT_NOTHING, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider closed without an answer"},
	{CURLE_RECV_ERROR, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider's answer was cut off"},
	{CURLE_SEND_ERROR, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider closed during the request"},
	/* Only curl_request.c aborts: the request would have gone twice. */
	{CURLE_ABORTED_BY_CALLBACK, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider closed the connection that the request went to"},
	{CURLE_HTTP2, ERR_UPSTREAM, FAILURE_RESET, "the provider broke HTTP/2"},
	{CURLE_HTTP2_STREAM, ERR_UPSTREAM, FAILURE_RESET,
	 "the provider broke HTTP/2"},
	{CURLE_WEIRD_SERVER_REPLY, ERR_UPSTREAM, FAILURE_PROTOCOL,
	 "the provider's answer is not HTTP"},
	{CURLE_UNSUPPORTED_PROTOCOL, ERR_UPSTREAM, FAILURE_PROTOCOL,
	 "the provider's answer is not HTTP"},
	{CURLE_OUT_OF_MEMORY, ERR_MEMORY, FAILURE_LOCAL, "out of memory"},
};

static const struct curl_failure by_proxy = {
	CURLE_PROXY, ERR_UPSTREAM, FAILURE_CONNECT,
	"the proxy refused the connection"};
static const struct curl_failure other = {CURLE_OK, ERR_UPSTREAM,
					  FAILURE_PROTOCOL,
					  "the provider failed"};

/**
 * curl_failure_of() - What a failure means
 * @code:		libcurl's
 * @refused_by_proxy:	The proxy answered CONNECT with an error
 */
const struct curl_failure *curl_failure_of(CURLcode code, bool refused_by_proxy)
{
	size_t i;

	if (refused_by_proxy)
		return &by_proxy;
	for (i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (failures[i].code == code)
			return &failures[i];
	return &other;
}
