/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl_request.c - one request as libcurl wants it, nothing left to chance
 *
 * Runs in: kenaz-broker.
 * Trusts:  a request that was built from tables.
 * Never:   follows a redirect, takes a proxy or anything else from the
 *	    environment, skips a certificate's check, shows a proxy what is
 *	    meant for the provider: even plain http goes through CONNECT.
 *
 * libcurl sends a request again by itself when a connection that it kept turns
 * out to be closed. A grant is good for one attempt, so the second is stopped
 * before its first byte; core decides about another.
 *
 * CAPATH is unset on purpose: with it libcurl cannot share one parsed set of
 * certificates, and every TLS connection costs a megabyte. Sessions are not
 * kept: no handle lives to resume one, and every connection checks the
 * provider's certificate.
 */
#include "engine/broker/curl_request.h"

#include <string.h>

#define SYSTEM_CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

/*
 * Idle streams are many, and each keeps both until its end: what libcurl takes
 * by itself is 16 KiB and, for TLS, 64 KiB. 16 KiB is the least for sending.
 * Most of a stream's chunks fit into one read of 2 KiB.
 */
#define RECEIVE_BUFFER_BYTES 2048L
#define SEND_BUFFER_BYTES    16384L

#define SET(option, value)                                          \
	do {                                                        \
		if (curl_easy_setopt(c, option, value) != CURLE_OK) \
			return false;                               \
	} while (0)

static bool set_limits(CURL *c, const struct curl_request *q)
{
	bool plain = strncmp(q->url, "http://", 7) == 0;

	SET(CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_HTTP_VERSION, q->http1 ? (long)CURL_HTTP_VERSION_1_1
					   : (long)CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_CONNECTTIMEOUT_MS, q->connect_max_ms);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
	return true;
}

static bool set_proxy(CURL *c, const struct curl_request *q)
{
	SET(CURLOPT_PROXY, q->proxy);
	SET(CURLOPT_NOPROXY, q->proxy[0] ? "" : "*");
	if (!q->proxy[0])
		return true;
	SET(CURLOPT_PROXYTYPE, (long)CURLPROXY_HTTP);
	SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	SET(CURLOPT_PROXYHEADER, q->proxy_headers);
	return true;
}

static bool set_security(CURL *c, const struct curl_request *q)
{
	struct curl_blob ca = {
		.data = (void *)(uintptr_t)q->ca_pem.data,
		.len = q->ca_pem.len_bytes,
		.flags = CURL_BLOB_COPY,
	};

	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (ca.len) {
		SET(CURLOPT_CAINFO, NULL);
		SET(CURLOPT_CAINFO_BLOB, &ca);
	} else {
		SET(CURLOPT_CAINFO, SYSTEM_CA_BUNDLE);
	}
	return true;
}

static int before_request(void *context, char *remote, char *local,
			  int remote_port, int local_port)
{
	unsigned *issued = context;

	(void)remote;
	(void)local;
	(void)remote_port;
	(void)local_port;
	return ++*issued == 1 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static bool set_content(CURL *c, const struct curl_request *q)
{
	SET(CURLOPT_URL, q->url);
	if (strcmp(q->method, "POST") == 0) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len_bytes);
		SET(CURLOPT_POSTFIELDS,
		    q->body.len_bytes ? (const char *)q->body.data : "");
	}
	SET(CURLOPT_HTTPHEADER, q->headers);
	if (q->unix_socket)
		SET(CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
	SET(CURLOPT_PRIVATE, q->context);
	SET(CURLOPT_ERRORBUFFER, q->ret_text);
	SET(CURLOPT_HEADERFUNCTION, q->on_header);
	SET(CURLOPT_HEADERDATA, q->context);
	SET(CURLOPT_WRITEFUNCTION, q->on_body);
	SET(CURLOPT_WRITEDATA, q->context);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, q->issued);
	return true;
}

/**
 * curl_request_make() - Make a handle ready to be added to a loop
 * @q:		Request
 * @ret_easy:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err curl_request_make(const struct curl_request *q, CURL **ret_easy)
{
	CURL *c = curl_easy_init();

	if (!c)
		return ERR_MEMORY;
	if (!set_limits(c, q) || !set_proxy(c, q) || !set_security(c, q) ||
	    !set_content(c, q)) {
		curl_easy_cleanup(c);
		return ERR_MEMORY;
	}
	*ret_easy = c;
	return ERR_OK;
}
