/* SPDX-License-Identifier: Apache-2.0 */
/* curl_cause.h - what exactly failed, for people */
#ifndef KENAZ_BROKER_CURL_CAUSE_H
#define KENAZ_BROKER_CURL_CAUSE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "engine/proto/msg.h"

enum transfer_cause curl_cause_of(CURLcode code, CURL *easy, bool by_proxy,
				  const char *text);

#endif
