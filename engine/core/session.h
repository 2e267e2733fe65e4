/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - one agent's virtual machine from start to end */
#ifndef KENAZ_CORE_SESSION_H
#define KENAZ_CORE_SESSION_H

#include "engine/core/audit_client.h"
#include "engine/core/engine.h"
#include "engine/core/pool_rules.h"

#define SESSION_STOP_GUEST_NS (3ull * 1000000000ull)
#define SESSION_STOP_VM_NS    (5ull * 1000000000ull)
#define SESSION_LOST_NS       (400ull * 1000000ull)
#define SESSION_STAGES_MAX    16u
#define SESSION_REQUESTS_MAX  64u
#define SESSION_TUNNELS_MAX   32u
#define SESSION_TERMINALS_MAX 16u
#define SESSION_KEEP_ENDED    64u
#define SESSION_STREAMS_MAX   16u

enum session_state {
	SESSION_CREATING,
	SESSION_BOOTING,
	SESSION_READY,
	SESSION_STOPPING,
	SESSION_ENDED,
	SESSION_FAILED,
	SESSION_ADOPTING, /* kept by an earlier engine; not ours yet */
};

struct adoption;

/* What of a kept session's record changes while it runs. */
struct session_mark {
	uint64_t usage_sum, payload_bytes, terminals_sum;
	int main_state;
};

struct infer;
struct judged;
struct tunnel;
struct terminal;
struct mockvm;
struct vsock_door;

struct session_stage {
	char name[32];
	uint64_t at_ns;
};

struct session_usage {
	uint64_t requests, input_tokens, output_tokens, tool_calls,
		tool_calls_denied, egress_allowed, egress_denied, bytes;
};

/* What somebody asked for. Texts are borrowed while session_new() runs. */
struct session_options {
	const char *image, *provider, *user;
	uid_t uid;
	uint32_t memory_mib, vcpus;
	bool detach;
	const char *main_line; /* JSON for guest_control, with detach */
};

/* Told of every change; answers the client that waits. */
typedef void (*session_watch_fn)(void *context, struct session *s,
				 const char *stage);

/* A stream to the guest that launch makes for us. */
typedef void (*stream_done_fn)(void *context, enum err error, int fd,
			       uint32_t host_port);

/* A machine to be started: with its session, or before there is one. */
struct vm_wish {
	const char *id, *image;
	const char *purpose; /* session, pool or template: for the log */
	uid_t trust;         /* whose machine it is */
	uint32_t memory_mib, vcpus;
	const char *accelerator;
	enum vm_start start;
	int memory_fd, state_fd; /* to restore from, owned */
	const uint8_t *template; /* its digest */
};

/* What the launcher said of an image with a root file. */
struct session_disk {
	bool known, failed, no_space;
	uint8_t root_hash[DIGEST_BYTES], root[DIGEST_BYTES];
	uint64_t root_bytes;
	char filesystem[17];
	uint32_t disk_mib; /* 0: changes are in memory */
};

/* A machine that runs and had no session so far; all but texts is taken. */
struct session_machine {
	const char *id;
	struct child *launch, *gate;
	int gate_fd; /* the gate's end of launch's channel */
	uint32_t qemu_pid;
	const struct msg_vm_fingerprint *fingerprint;
	const char *cpu, *command_line, *qemu_version;
	const char *image_key, *image_key_id;
	const char *vsock;
	const struct session_disk *disk;
	uint64_t begun_ns;
	bool announced;
};

struct stream_pending {
	uint64_t request;
	stream_done_fn done;
	void *context;
};

struct session {
	LIST_ENTRY(session) next;
	struct engine *engine;
	char id[SESSION_ID_BYTES + 1];
	char user[ROLES_USER_MAX_BYTES];
	char actor[ACTOR_MAX_BYTES];
	uid_t uid;
	enum session_state state;
	char reason[REASON_MAX_BYTES];
	enum err error;
	char image[NAME_MAX_BYTES + 1];
	char provider[NAME_MAX_BYTES + 1]; /* "" is the default one */
	uint32_t memory_mib, vcpus;
	char accelerator[8];
	bool detach, no_isolation, start_asked, start_durable, ready_durable;
	char *main_line;
	char secret_noted[NAME_MAX_BYTES + 1]; /* by secret.used */
	uint64_t approval;                     /* 0 is none */
	struct child *launch, *gate, *egress;
	char vm[SESSION_ID_BYTES + 1]; /* the machine's own name */
	enum pool_way way;
	uint64_t vm_age_ns; /* of a machine or template, at the claim */
	uint8_t template[DIGEST_BYTES]; /* restored from, else zeros */
	struct mockvm *mock;
	struct vsock_door *door; /* NULL: policy allows nobody in */
	bool finishing;          /* nothing of it reports any more */
	uint32_t qemu_pid;
	uint64_t active_ns, rate_window_ns;
	uint32_t rate_count;
	const char *limit_hit; /* key of [limits] that ended it, or NULL */
	uint64_t limit_value;
	char limit_note[160];   /* one that was hit and did not end it */
	uint64_t payload_bytes; /* written to the log so far */
	uint64_t created_ns, created_wall_us, ended_ns, deadline_ns;
	struct session_stage stages[SESSION_STAGES_MAX];
	size_t n_stages;
	uint8_t nonce[32];
	struct msg_vm_fingerprint fingerprint; /* spans are not kept */
	uint8_t identity[DIGEST_BYTES];        /* kenaz.session.fingerprint */
	char cpu[65], command_line[1025], qemu_version[65], vsock[17];
	char image_key[65], image_key_id[17];
	struct session_disk disk;
	bool has_fingerprint, vm_exited, end_written, announced;
	/* The gate lost the guest: launch may still say why. */
	char lost[256];
	uint64_t lost_deadline_ns;
	struct stream_pending streams[SESSION_STREAMS_MAX];
	struct session_usage usage;
	bool main_running, main_ended, main_signalled;
	bool main_pending; /* asked for, not reported yet */
	int main_code;
	LIST_HEAD(, infer) infers;
	LIST_HEAD(, judged) judged; /* tool calls that wait */
	LIST_HEAD(, tunnel) tunnels;
	LIST_HEAD(, terminal) terminals;
	size_t n_infers, n_tunnels, n_terminals;
	/* Of a service engine, keeping.c: */
	bool kept;   /* has a record, and its end removes that */
	bool orphan; /* its client's connection went with an earlier engine */
	uint32_t adoptions;
	char policy[2 * DIGEST_BYTES + 1]; /* at its start */
	struct session_mark mark;
	struct adoption *adoption; /* while SESSION_ADOPTING */
	session_watch_fn watch;
	void *watch_context;
};

MUST_CHECK enum err session_new(struct engine *e,
				const struct session_options *o,
				session_watch_fn watch, void *context,
				char *ret_text, size_t cap_bytes,
				const char **ret_rule,
				struct session **ret_session);
void session_end(struct session *s, enum err error, const char *reason);
struct session *session_find(struct engine *e, const char *id);
const char *session_state_text(enum session_state state);
bool session_is_live(const struct session *s);
bool session_has_ended(const struct session *s);
bool session_admits(struct session *s);
void session_tick(struct engine *e);
void sessions_end_all(struct engine *e, const char *reason);
void sessions_cancel_transfers(struct engine *e, const char *reason);
size_t sessions_live(const struct engine *e);
void sessions_free(struct engine *e);
void session_approval_decided(struct session *s, bool granted,
			      const char *text);

/* For the other files of a session. */
void session_check_orphan(struct session *s);
void session_set_state(struct session *s, enum session_state state);
void session_finish(struct session *s);
void session_stage(struct session *s, const char *name, uint64_t at_ns);
void session_note(struct session *s, const char *kind, struct span attributes);
MUST_CHECK enum err session_stream(struct session *s, stream_done_fn done,
				   void *context);
MUST_CHECK enum err session_stream_to(struct session *s, uint32_t port,
				      stream_done_fn done, void *context);
void session_stream_done(struct session *s, uint64_t request, enum err error,
			 int fd, uint32_t host_port);
void session_stream_forget(struct session *s, const void *context);
void session_start_vm(struct session *s);
void session_take_machine(struct session *s, const struct session_machine *m);
void session_announced(struct session *s);
void session_guest_ready(struct session *s, const struct msg_guest_ready *m);
MUST_CHECK enum err session_on_gate(struct child *c, void *context,
				    struct chan_message *m);
void session_on_gate_gone(struct child *c, void *context, const char *why);
MUST_CHECK enum err session_on_launch(struct child *c, void *context,
				      struct chan_message *m);
void session_on_launch_gone(struct child *c, void *context, const char *why);

/* Of any machine. */
void vm_make_id(char ret_id[SESSION_ID_BYTES + 1]);
MUST_CHECK enum err vm_start_launch(struct engine *e,
				    const struct vm_wish *wish, int channel_fd,
				    struct child **ret_launch);
MUST_CHECK enum err vm_put_start(struct buf *b, const struct vm_wish *wish,
				 const struct msg_vm_fingerprint *m);

#endif
