/* SPDX-License-Identifier: Apache-2.0 */
/* curl_failure.h - libcurl's reasons, in our words and classes */
#ifndef KENAZ_BROKER_CURL_FAILURE_H
#define KENAZ_BROKER_CURL_FAILURE_H

#include <curl/curl.h>

#include "engine/base/err.h"
#include "engine/proto/msg.h"

struct curl_failure {
	CURLcode code;
	enum err error;
	enum transfer_failure failure;
	const char *text;
};

const struct curl_failure *curl_failure_of(CURLcode code,
					   bool refused_by_proxy);

#endif
