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
	ROLE_KEYCHAIN = 11,
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
enum dialect {
	DIALECT_NONE = 0,
	DIALECT_ANTHROPIC = 1, /* Anthropic Messages */
	DIALECT_CHAT = 2,      /* OpenAI chat completions */
	DIALECT_RESPONSES = 3, /* OpenAI Responses */
	DIALECT_INVOKE = 4,    /* Bedrock InvokeModel with a Claude body */
	DIALECT_CONVERSE = 5,  /* Bedrock Converse */
};
enum route {
	ROUTE_NONE = 0,
	ROUTE_MESSAGES = 1,
	ROUTE_COUNT_TOKENS = 2,
	ROUTE_MODELS = 3,
	ROUTE_CHAT = 4,
	ROUTE_RESPONSES = 5,
	ROUTE_INVOKE = 6,
	ROUTE_INVOKE_STREAM = 7,
	ROUTE_CONVERSE = 8,
	ROUTE_CONVERSE_STREAM = 9,
	ROUTE_BEDROCK_COUNT = 10,
	ROUTE_RESPONSES_COUNT = 11,
};

/*
 * Why an attempt failed of which nothing was handed on; infer_end.retry. NONE
 * stands also for every failure after the first byte.
 */
enum infer_retry {
	RETRY_NONE = 0,
	RETRY_CONNECT = 1,
	RETRY_TIMEOUT = 2,
	RETRY_HTTP_429 = 3,
	RETRY_HTTP_5XX = 4,
	RETRY_OVERLOADED = 5, /* 503, 529 */
	RETRY_ERROR_200 = 6,  /* an error event or body under a 200 */
	RETRY_HTTP_AUTH = 7,  /* 401, 402, 403: this key will not do */
	RETRY_BROKEN = 8,     /* the answer broke off, or is no answer */
	RETRY_COUNT
};

/* Whether a streamed chat request asks for usage; infer_ask.asks_usage. */
enum usage_wish {
	USAGE_NOT_ASKED = 0,
	USAGE_ASKED = 1, /* by the client, or it always comes */
	USAGE_ADDED = 2, /* by the gate, in the body it sends */
};

/* Errors in no dialect; infer_deny.type has their names. */
enum error_class {
	ERROR_CLASS_INVALID,
	ERROR_CLASS_AUTHENTICATION,
	ERROR_CLASS_BILLING,
	ERROR_CLASS_PERMISSION,
	ERROR_CLASS_NOT_FOUND,
	ERROR_CLASS_TOO_LARGE,
	ERROR_CLASS_CONTEXT,
	ERROR_CLASS_RATE,
	ERROR_CLASS_QUOTA,
	ERROR_CLASS_TIMEOUT,
	ERROR_CLASS_OVERLOADED,
	ERROR_CLASS_API,
	ERROR_CLASS_COUNT
};

/* How an attempt ended; transfer_done.failure. */
enum transfer_failure {
	FAILURE_NONE = 0,    /* a whole answer with a status below 400 */
	FAILURE_CONNECT = 1, /* name, route, refused, or the proxy */
	FAILURE_TLS = 2,
	FAILURE_TIMEOUT_CONNECT = 3,
	FAILURE_TIMEOUT_FIRST_BYTE = 4,
	FAILURE_TIMEOUT_IDLE = 5,
	FAILURE_TIMEOUT_TOTAL = 6,
	FAILURE_HTTP = 7,  /* a whole answer with a status of 400 or more */
	FAILURE_RESET = 8, /* the connection broke before the answer's end */
	FAILURE_TOO_LARGE = 9,
	FAILURE_PROTOCOL = 10, /* not HTTP, a redirect, a compressed body */
	FAILURE_LOCAL = 11,  /* not the provider's: refused or cancelled here */
	FAILURE_NO_KEY = 12, /* not sent: there is no key for this provider */
	FAILURE_COUNT
};

/* transfer_done.cause: more exactly, where a person can mend it. */
enum transfer_cause {
	CAUSE_NONE = 0,
	CAUSE_NAME = 1,    /* the provider's name has no address */
	CAUSE_REFUSED = 2, /* nothing there takes a connection */
	CAUSE_PROXY_NAME = 3,
	CAUSE_PROXY_REFUSED = 4,
	CAUSE_PROXY_DENIED = 5, /* it answered CONNECT with an error */
	CAUSE_PROXY_LOGIN = 6,  /* it wants a name and password */
	CAUSE_TLS_ISSUER = 7,   /* a certificate of a CA that is not trusted */
	CAUSE_TLS_EXPIRED = 8,
	CAUSE_TLS_EARLY = 9, /* not valid yet */
	CAUSE_TLS_HOST = 10, /* valid for another name */
	CAUSE_TLS_CA_FILE = 11,
	CAUSE_TLS_PLAIN = 12, /* what answers does not speak TLS */
	CAUSE_COUNT
};

/* provider_set.http_version */
enum http_version { HTTP_VERSION_AUTO = 0, HTTP_VERSION_1_1 = 1 };

/* Of provider secrets; vault_view.state. */
enum vault_state {
	VAULT_STATE_NONE = 0,    /* the first secret makes it */
	VAULT_STATE_OPENING = 1, /* its key is on the way */
	VAULT_STATE_OPEN = 2,
	VAULT_STATE_LOCKED = 3, /* a passphrase, or a keyring, opens it */
	VAULT_STATE_FAILED = 4, /* somebody has to mend something first */
};

enum keychain_operation {
	KEYCHAIN_GET = 1,
	KEYCHAIN_PUT = 2,
	KEYCHAIN_FORGET = 3,
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
const char *vault_state_name(enum vault_state state);
const char *dialect_name(enum dialect dialect);
const char *infer_retry_name(enum infer_retry retry);
const char *error_class_name(enum error_class error);
enum error_class error_class_find(struct span name);

const char *transfer_failure_name(enum transfer_failure failure);

#endif
