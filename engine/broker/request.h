/* SPDX-License-Identifier: Apache-2.0 */
/* request.h - what one granted attempt sends, checked and ready */
#ifndef KENAZ_BROKER_REQUEST_H
#define KENAZ_BROKER_REQUEST_H

#include <curl/curl.h>

#include "engine/base/memfd.h"
#include "engine/broker/upstream.h"

#define REQUEST_LINES_MAX 3u /* that lie in locked memory */

struct request {
	char *url; /* until libcurl has its copy */
	struct body body;
	struct buf inlined;
	const struct provider_route *row;
	struct curl_slist *headers;
	struct curl_slist locked[REQUEST_LINES_MAX]; /* before headers */
	size_t locked_count;
	struct secret *signature; /* lines of one, each with its NUL */
	struct credential *credential;
	struct credential *proxy_credential;
	struct curl_slist proxy_line;
};

void request_init(struct request *q);
void request_fini(struct request *q);
void request_drop_url(struct request *q);
void request_drop_body(struct request *q);
MUST_CHECK enum err request_make(struct request *q, const struct upstream *up,
				 const struct msg_grant *m, int body_fd,
				 int64_t now_wall_s, const char **ret_why);
struct curl_slist *request_headers(struct request *q);
struct curl_slist *request_proxy_headers(struct request *q);

#endif
