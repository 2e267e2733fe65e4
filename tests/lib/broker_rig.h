/* SPDX-License-Identifier: Apache-2.0 */
/* broker_rig.h - a real kenaz-broker and the peers that a test plays */
#ifndef KENAZ_TESTS_BROKER_RIG_H
#define KENAZ_TESTS_BROKER_RIG_H

#include "engine/proto/respframe.h"
#include "engine/providers/route.h"
#include "tests/lib/rig.h"

#define KEY          "sk-test-abababab-0123456789-cafe"
#define BODY_PLAIN   "{\"model\":\"m\",\"messages\":[]}"
#define BODY_STREAM  "{\"model\":\"m\",\"stream\":true,\"messages\":[]}"
#define STREAM_BYTES (32u * 1024 * 1024)

struct broker_rig {
	uv_loop_t loop;
	char dir[256], scripted[300], broker_path[4096];
	pid_t broker;
	struct chan *core, *audit;
	struct rig_provider provider;
	uint64_t last_grant;
	struct msg_grant granted; /* its digests, for a later release */

	/* of broker_rig_configure(); kind NULL: byo at provider.port */
	struct route_target target;
	enum route route;
	const char *model;

	bool ready;
	unsigned secrets;
	int secret_error;

	/* the outcome of the last grant */
	unsigned done;
	struct msg_transfer_done outcome;
	char text[REASON_MAX_BYTES + 1];
	struct buf log_copy;

	/* what the gate's end of the stream got */
	int stream;
	struct buf raw, body, headers;
	bool head, end;
	uint16_t status;
	enum err end_error;
};

struct broker_plan {
	const char *body; /* BODY_PLAIN when NULL */
	size_t body_bytes;
	bool no_release, release_first, no_stream, keep;
	bool wrong_header, wrong_body, wrong_release;
	uint64_t timeout_ns;
	uint64_t max_bytes;
};

bool broker_rig_has_secret(void *context);
bool broker_rig_is_over(void *context);
bool broker_rig_is_done(void *context);
bool broker_rig_has_data(void *context);
bool broker_rig_provider_stalls(void *context);
bool broker_rig_provider_noticed(void *context);
void broker_rig_open_audit(struct broker_rig *r, int *ret_fd);
const char *broker_rig_set_secret(struct broker_rig *r, const char *secret,
				  size_t len);
void broker_rig_set_provider(struct broker_rig *r, const char *scheme,
			     const char *ca_path, bool allow_http);
void broker_rig_configure(struct broker_rig *r,
			  const struct msg_provider_set *m, const char *ca_path,
			  enum route route, const char *model);
void broker_rig_set_secret_named(struct broker_rig *r, const char *name,
				 const char *secret);
struct broker_rig *broker_rig_new(const char *behave, const char *tls_pem);
void broker_rig_free(struct broker_rig *r);
void broker_rig_send_release(struct broker_rig *r, const struct msg_grant *g,
			     bool wrong);
void broker_rig_send_grant(struct broker_rig *r, const struct broker_plan *p,
			   bool tls);
void broker_rig_forget(struct broker_rig *r);
void broker_rig_run(struct broker_rig *r, const struct broker_plan *p);
bool broker_rig_sent_to_provider(struct broker_rig *r);
bool broker_rig_provider_got_it(void *context);
bool broker_rig_body_holds(struct broker_rig *r, const char *text);

#endif
