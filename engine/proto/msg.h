/* SPDX-License-Identifier: Apache-2.0 */
/* msg.h - types and codec generated from msg.def */
#ifndef KENAZ_PROTO_MSG_H
#define KENAZ_PROTO_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

#define DIGEST_BYTES 32u

/* Values travel in hello and spawn; never renumber. */
enum role {
	ROLE_NONE = 0,
	ROLE_CORE = 1,
	ROLE_AUDIT = 2,
	ROLE_BROKER = 3,
	ROLE_EGRESS = 4,
	ROLE_LAUNCH = 5,
	ROLE_GATE = 6,
	ROLE_SPAWNER = 7,
	ROLE_SCRIPTED = 8,
	ROLE_CHILD = 9, /* in msg.def: any child of core */
	ROLE_MOCK = 10, /* kenaz-guestd as a host process, no isolation */
	ROLE_COUNT
};

enum chan_state { S_START = 1, S_RUN = 2, S_ANY = 3 };

/* How a VM begins; launch_start.start_mode. */
enum vm_start {
	VM_START_COLD = 0,
	VM_START_MAKE = 1,    /* boot a guest and make a template of it */
	VM_START_RESTORE = 2, /* go on from a template */
};

/* Stages of a start; vm_stage.stage. Numbers are not their order. */
enum vm_stage {
	VM_STAGE_VERIFIED = 1,  /* image digests checked */
	VM_STAGE_SPAWNED = 2,   /* QEMU's jail started */
	VM_STAGE_QMP = 3,       /* QMP answered */
	VM_STAGE_DRIVER = 4,    /* the guest's vsock driver is up */
	VM_STAGE_CONNECTED = 5, /* the guest's first connection */
	VM_STAGE_COPIED = 6,    /* restore: the memory is the clone's own */
	VM_STAGE_LOADED = 7,    /* restore: state loaded, device plugged */
	VM_STAGE_RESUMED = 8,   /* restore: the guest runs */
	VM_STAGE_BOOTED = 9,    /* make: the guest says that it waits */
};

/* Dialects and routes; infer_ask, grant. */
enum dialect { DIALECT_NONE = 0, DIALECT_ANTHROPIC = 1 };
enum route {
	ROUTE_NONE = 0,
	ROUTE_MESSAGES = 1,
	ROUTE_COUNT_TOKENS = 2,
	ROUTE_MODELS = 3,
};

enum msg_type {
	MSG_NONE = 0,
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax) \
	MSG_##NAME = number,
#include "engine/proto/msg_no_fields.h"
#include "engine/proto/msg.def"
	MSG_NUMBER_MAX = 255
};
#include "engine/proto/msg_undef.h"

/* Decoded messages. Spans borrow the packet: valid inside the handler. */
#define BEGIN(NAME, name, number, from, to, states, fmin, fmax) \
	struct msg_##name {                                     \
		uint8_t no_padding_;
#define U8(f)         uint8_t f;
#define U16(f)        uint16_t f;
#define U32(f)        uint32_t f;
#define U64(f)        uint64_t f;
#define I32(f)        int32_t f;
#define TEXT(f, max)  struct span f;
#define BYTES(f, max) struct span f;
#define DIGEST(f)     uint8_t f[DIGEST_BYTES];
#define END(name)                                                         \
	}                                                                 \
	;                                                                 \
	MUST_CHECK enum err msg_##name##_put(struct buf *b,               \
					     const struct msg_##name *m); \
	MUST_CHECK enum err msg_##name##_get(struct span s,               \
					     struct msg_##name *ret_m);
#include "engine/proto/msg.def"
#include "engine/proto/msg_undef.h"

struct msg_info {
	enum msg_type type;
	const char *name;
	enum role from, to;
	unsigned states;
	size_t fds_min, fds_max;
};

const struct msg_info *msg_info_of(enum msg_type type);
bool msg_is_legal(const struct msg_info *info, enum role from, enum role to,
		  enum chan_state state);
const char *role_name(enum role role);
const char *role_program(enum role role);
const char *vm_stage_name(enum vm_stage stage);
const char *route_name(enum route route);

#endif
