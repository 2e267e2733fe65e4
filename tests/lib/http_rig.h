/* SPDX-License-Identifier: Apache-2.0 */
/* http_rig.h - the gate's HTTP server in the test's own process */
#ifndef KENAZ_TESTS_HTTP_RIG_H
#define KENAZ_TESTS_HTTP_RIG_H

#include "engine/gate/http.h"
#include "engine/gate/http2.h"
#include "tests/lib/h2_client.h"

#define RIG_HELD_MAX 1200u

enum http_rig_mode {
	RIG_ANSWER, /* at once; refusals always are */
	RIG_HOLD,   /* keep the request */
};

struct http_rig {
	uv_loop_t loop;
	struct http *http;
	enum http_rig_mode mode;
	struct http_request *held[RIG_HELD_MAX]; /* NULL once it is gone */
	unsigned n_held, given, gone, gone_whole, drained, last_status;
};

void http_rig_start(struct http_rig *g);
void http_rig_stop(struct http_rig *g);
void http_rig_turn(void *rig);
int http_rig_connect(struct http_rig *g);
void http_rig_client(struct http_rig *g, struct h2_client *c,
		     bool manual_windows);
void http_rig_wait_held(struct http_rig *g, struct h2_client *c,
			unsigned count);
void http_rig_answer(struct http_request *r, unsigned status, const char *text);
void http_rig_send(int fd, struct span bytes);
void http_rig_read_until(struct http_rig *g, int fd, const char *text,
			 struct buf *to);
bool http_rig_at_end(struct http_rig *g, int fd);

/* Raw connections: preface and SETTINGS are sent, frames are the test's. */
#define HTTP_RIG_NO_GOAWAY UINT32_MAX
int http_rig_raw(struct http_rig *g);
void http_rig_pour(struct http_rig *g, int fd, struct span bytes);
/* Reads to the end: the last frame's error. */
uint32_t http_rig_goaway(struct http_rig *g, int fd);

#endif
