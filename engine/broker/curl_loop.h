/* SPDX-License-Identifier: Apache-2.0 */
/* curl_loop.h - libcurl's transfers driven by the process's libuv loop */
#ifndef KENAZ_BROKER_CURL_LOOP_H
#define KENAZ_BROKER_CURL_LOOP_H

#include <curl/curl.h>
#include <uv.h>

#include "engine/base/err.h"

#define CURL_LOOP_IDLE_CONNECTIONS_MAX 64L

struct curl_loop;

/* context is what was set as CURLOPT_PRIVATE; never called from inside add,
 * remove or resume. */
typedef void (*curl_loop_done)(void *context, CURLcode result);

/* Called when libcurl has returned and what ended was reported. */
typedef void (*curl_loop_turned)(void *context);

MUST_CHECK enum err curl_loop_new(uv_loop_t *loop, curl_loop_done done,
				  curl_loop_turned turned, void *context,
				  struct curl_loop **ret_loop);
MUST_CHECK enum err curl_loop_add(struct curl_loop *c, CURL *easy);
void curl_loop_remove(struct curl_loop *c, CURL *easy);
void curl_loop_forget(struct curl_loop *c);
void curl_loop_resume(struct curl_loop *c, CURL *easy);

#endif
