/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - core's one object: its parts and what they share */
#ifndef KENAZ_CORE_ENGINE_H
#define KENAZ_CORE_ENGINE_H

#include <sys/queue.h>
#include <uv.h>

#include "engine/base/cgroup.h"
#include "engine/base/paths.h"
#include "engine/base/text.h"
#include "engine/core/approvals.h"
#include "engine/core/budget.h"
#include "engine/core/circuit.h"
#include "engine/core/config.h"
#include "engine/core/policy.h"
#include "engine/core/roles.h"
#include "engine/proto/attrs.h"
#include "engine/proto/chan.h"

#define ENGINE_CHILDREN_MAX 512u

struct audit_client;
struct broker_client;
struct control;
struct ledger;
struct pool;
struct session;
struct vault_client;

/* A child process of core and its channel. */
struct child {
	LIST_ENTRY(child) next;
	struct engine *engine;
	enum role role;
	uint32_t pid; /* 0 until spawned */
	uint64_t request;
	struct chan *chan;
	bool greeted;
	bool ended;
	bool kept;    /* outlives core unless it is told not to */
	bool refused; /* speaks another version of the protocol */
	/* Owner's handlers; on_gone runs once, whatever ended it. */
	enum err (*on_message)(struct child *c, void *context,
			       struct chan_message *m);
	void (*on_gone)(struct child *c, void *context, const char *why);
	void *context;
};

struct accelerator {
	char name[8]; /* kvm or tcg; empty: not known yet */
	char reason[256];
	char qemu_version[64];
};

struct engine {
	uv_loop_t loop;
	struct paths paths;
	struct config *config;
	struct policy *policy;
	struct policy_sources policy_sources;
	char config_path[PATHS_MAX_BYTES];
	struct budget *budget;
	struct ledger *ledger;
	uint64_t ledger_written_ns, ledger_changes;
	uint64_t ledger_opened; /* its generation before this start; 0: none */
	struct approvals *approvals;
	struct circuits circuits;
	struct accelerator accelerator;
	struct cgroups cgroups;
	int landlock_version;
	bool dev_mock_vm;
	bool idle_exit; /* started by `kenaz` itself: leaves when idle */
	bool stopping;
	bool survive; /* sessions outlive this engine */
	bool leaving; /* stopping, and its sessions stay */
	bool new_origin;
	uint64_t started_ns;
	uid_t uid;
	char image_dir[PATHS_MAX_BYTES]; /* folder that holds image folders */
	char image_keys_dir[PATHS_MAX_BYTES]; /* public keys, as installed */
	/* What was in it before the jail hid whose files are root's; or NULL */
	struct image_keys *installed_keys;
	char scripted_socket[PATHS_MAX_BYTES];
	char log_key_path[PATHS_MAX_BYTES];
	struct chan *spawner;
	LIST_HEAD(, child) children;
	uint64_t next_request;
	struct audit_client *audit;
	struct broker_client *broker;
	struct vault_client *vault;
	struct child *scripted;
	uint64_t scripted_lost_ns;
	struct control *control;
	struct pool *pool;
	LIST_HEAD(session_list, session) sessions;
	size_t session_count;
	uv_timer_t tick, retry_timer;
	uv_signal_t on_term, on_int, on_hup, on_leave;
	uint64_t idle_since_ns;
	int lock_fd;
	int exit_code;
};

struct engine_options {
	struct paths_options paths;
	const char *image_dir;
	const char *image_keys;
	bool dev_mock_vm;
	bool idle_exit;
	bool new_origin;
};

MUST_CHECK enum err engine_start(struct engine *e,
				 const struct engine_options *options,
				 int spawner_fd);
void engine_stop(struct engine *e, const char *why);
void engine_ready(struct engine *e);
uint64_t engine_now_ns(void);
uint64_t engine_wall_us(void);
uint64_t engine_next_request(struct engine *e);
bool engine_scripted_answers(const struct engine *e);

MUST_CHECK enum err child_start(struct engine *e, enum role role,
				const char *arguments, const int *more_fds,
				size_t n_more, struct child **ret_child);
MUST_CHECK enum err child_adopt(struct engine *e, enum role role, int fd,
				uint32_t pid, int pid_fd,
				struct child **ret_child);
void child_end(struct child *c);
void child_kill(struct child *c);
void children_tick(struct engine *e);
void children_on_spawner(struct engine *e, struct chan_message *m);

#endif
