/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_state.h - what the files of the pool share
 *
 * pool_rules.c decides, pool.c keeps what is wanted filled, pool_start.c hands
 * it to sessions, pool_vm.c is the life of one machine without a session,
 * template_store.c keeps templates, pool_report.c tells people.
 */
#ifndef KENAZ_CORE_POOL_STATE_H
#define KENAZ_CORE_POOL_STATE_H

#include "engine/core/pool.h"
#include "engine/core/pool_rules.h"
#include "engine/core/session.h"
#include "engine/core/template_store.h"

#define POOL_TARGETS_MAX  16u
#define POOL_REASON_BYTES 256u
#define POOL_STREAMS_MAX  8u /* of an unclaimed guest, in a window */
#define POOL_STREAMS_NS   (10ull * 1000000000ull)
#define POOL_END_NS       (5ull * 1000000000ull)
#define POOL_CHECK_NS     (5ull * 1000000000ull)

/* What should be held. */
struct pool_target {
	struct pool_kind kind;
	uint32_t size; /* machines that should wait */
	bool wants_template;
	/* Launch makes none of the image with this stamp: it has a disk. */
	bool no_template;
	uint8_t no_template_stamp[DIGEST_BYTES];
	unsigned failures;
	uint64_t retry_ns, used_ns;
	char reason[POOL_REASON_BYTES]; /* of the last failure */
};

enum pool_vm_state {
	POOL_VM_PREPARING, /* launch verifies the image */
	POOL_VM_WRITING,   /* vm.start is on its way to the log */
	POOL_VM_BOOTING,
	POOL_VM_READY, /* the guest announced itself and waits */
	POOL_VM_ENDING,
};

/* A machine without a session: it has neither user nor nonce. */
struct pool_vm {
	LIST_ENTRY(pool_vm) next;
	struct engine *engine;
	char id[SESSION_ID_BYTES + 1];
	struct pool_kind kind;
	uint8_t stamp[DIGEST_BYTES]; /* of the image and QEMU on disk */
	enum pool_vm_state state;
	struct child *launch, *gate;
	struct chan *streams; /* launch's channel, until the gate has it */
	int gate_fd;          /* the same channel, for the gate */
	int stream_fd;        /* the guest's announcement, unread; -1 is none */
	unsigned n_streams;
	uint64_t streams_ns;
	uint32_t qemu_pid;
	uint64_t begun_ns, ready_ns, deadline_ns;
	struct msg_vm_fingerprint fingerprint; /* spans are not kept */
	char cpu[65], command_line[1025], qemu_version[65];
	char image_key[65], image_key_id[17];
	struct session_disk disk;
	bool start_written, is_failure;
	bool is_maker; /* of a template: nobody claims it */
	uint8_t template[DIGEST_BYTES];
	enum vm_start start;
	enum err error;
	char reason[REASON_MAX_BYTES];
};

struct pool {
	struct engine *engine;
	LIST_HEAD(, pool_vm) vms;
	struct pool_target targets[POOL_TARGETS_MAX];
	size_t n_targets;
	struct template_list templates;
	uint64_t last_start_ns, check_ns;
	bool accelerator_asked;
};

/* pool.c */
void pool_put_kind(const struct engine *e, struct pool_kind *kind, uid_t trust,
		   const char *image, uint32_t memory_mib, uint32_t vcpus,
		   const char *accelerator);
bool pool_has_image(const struct engine *e, const char *image);
struct pool_target *pool_add_target(struct pool *p,
				    const struct pool_kind *kind);
bool pool_allows_templates(const struct engine *e);
void pool_want(struct pool *p, uid_t trust, const char *image);
void pool_learn_accelerator(struct pool *p);
bool pool_still_true(struct pool_vm *v);
struct pool_vm *pool_pick(struct pool *p, const struct pool_vm *spare);
struct pool_target *pool_target_of(struct pool *p,
				   const struct pool_kind *kind);
MUST_CHECK enum err pool_stamp(struct engine *e, const char *image,
			       uint8_t ret_stamp[DIGEST_BYTES]);
uint32_t pool_kind_mib(const struct pool_kind *kind);
uint64_t pool_held_mib(const struct pool *p);
void pool_gather_load(struct pool *p, const struct pool_target *t,
		      struct pool_load *ret_load);
struct template_entry *pool_template(struct pool *p,
				     const struct pool_kind *kind);
MUST_CHECK enum err pool_put_clone(struct template_entry *t,
				   struct vm_wish *wish);
bool pool_can_restore(const struct engine *e);
size_t pool_count(const struct pool *p, const struct pool_kind *kind,
		  bool ready_only);

/* pool_vm.c */
MUST_CHECK enum err pool_vm_new(struct pool *p, const struct pool_kind *kind,
				bool is_maker);
void pool_vm_hand_over(struct pool_vm *v, struct session *s);
void pool_vm_end(struct pool_vm *v, enum err error, const char *reason);
void pool_vm_tick(struct pool_vm *v, uint64_t now_ns);
void pool_vm_free(struct pool_vm *v);
void pool_vm_failed(struct pool *p, const struct pool_kind *kind,
		    const char *reason);

#endif
