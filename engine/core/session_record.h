/* SPDX-License-Identifier: Apache-2.0 */
/* session_record.h - what core writes down so that another can take over */
#ifndef KENAZ_CORE_SESSION_RECORD_H
#define KENAZ_CORE_SESSION_RECORD_H

#include "engine/core/session.h"

#define SESSION_RECORD_FORMAT    1u
#define SESSION_RECORD_MAX_BYTES 65536u

struct record_terminal {
	uint64_t id;
	char actor[ACTOR_MAX_BYTES];
	char what[256];
	bool read_only;
};

/* Plain data; every text is terminated. */
struct session_record {
	/* The head, which every format has; see session_record_parse(). */
	uint64_t format, protocol;
	char session[SESSION_ID_BYTES + 1];
	char actor[ACTOR_MAX_BYTES];
	uint64_t launch_pid, launch_started, gate_pid, gate_started;
	char boot_id[40];
	/* The rest. */
	bool ready, detach;
	char user[ROLES_USER_MAX_BYTES];
	uint64_t uid, memory_mib, vcpus, adoptions, qemu_pid;
	char image[NAME_MAX_BYTES + 1], provider[NAME_MAX_BYTES + 1];
	char accelerator[8], secret_noted[NAME_MAX_BYTES + 1];
	char policy[2 * DIGEST_BYTES + 1];
	uint64_t created_ns, created_wall_us, payload_bytes;
	uint8_t nonce[DIGEST_BYTES];
	bool has_fingerprint;
	uint8_t fingerprint[DIGEST_BYTES], manifest[DIGEST_BYTES],
		kernel[DIGEST_BYTES], initrd[DIGEST_BYTES], qemu[DIGEST_BYTES],
		arguments[DIGEST_BYTES], jail[DIGEST_BYTES],
		template[DIGEST_BYTES],
		identity[DIGEST_BYTES]; /* the session's own fingerprint */
	char vm[SESSION_ID_BYTES + 1];  /* the machine's own name */
	uint64_t way, vm_age_ns;        /* enum pool_way: how it started */
	char cpu[65], command_line[1025], qemu_version[65], vsock[17];
	char image_key[65], image_key_id[17];
	uint8_t root[DIGEST_BYTES], root_hash[DIGEST_BYTES];
	uint64_t root_bytes, disk_mib;
	char filesystem[17]; /* empty: an image without a root file */
	struct session_usage usage;
	uint64_t budget[BUDGET_UNIT_COUNT];
	bool main_running, main_ended, main_signalled;
	int64_t main_code;
	struct session_stage stages[SESSION_STAGES_MAX];
	size_t n_stages;
	struct record_terminal terminals[SESSION_TERMINALS_MAX];
	size_t n_terminals;
};

MUST_CHECK enum err session_record_put(struct buf *out,
				       const struct session_record *r);
MUST_CHECK enum err session_record_parse(struct span text,
					 struct session_record *ret_record,
					 char *ret_why, size_t cap_bytes);

#endif
