/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - the one table of errors of every Kenaz program */
#ifndef KENAZ_BASE_ERR_H
#define KENAZ_BASE_ERR_H

#define MUST_CHECK    __attribute__((warn_unused_result))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* X(name, text): values are 0, -1, -2 ... in this order; append only. */
#define ERR_TABLE(X)                                \
	X(OK, "no error")                           \
	X(SYS, "system call failed")                \
	X(MEMORY, "out of memory")                  \
	X(LIMIT, "a limit was reached")             \
	X(FORMAT, "malformed input")                \
	X(SHORT, "input ends too early")            \
	X(RANGE, "value out of range")              \
	X(STATE, "not allowed in this state")       \
	X(DENIED, "denied by policy")               \
	X(PERMISSION, "permission denied")          \
	X(NOT_FOUND, "not found")                   \
	X(EXISTS, "already exists")                 \
	X(TIMEOUT, "timed out")                     \
	X(CLOSED, "the other side closed")          \
	X(AGAIN, "would block")                     \
	X(VERSION, "version mismatch")              \
	X(INTEGRITY, "integrity check failed")      \
	X(CRYPTO, "cryptographic operation failed") \
	X(STORAGE, "the store cannot be written")   \
	X(SEALED, "the engine is sealed")           \
	X(UNSUPPORTED, "not supported")             \
	X(CONFIG, "bad configuration")              \
	X(UPSTREAM, "the provider failed")          \
	X(CANCELLED, "cancelled")                   \
	X(JAIL, "the jail could not be built")      \
	X(INTERNAL, "internal error")

enum err_index {
#define X(name, text) ERR_INDEX_##name,
	ERR_TABLE(X)
#undef X
		ERR_COUNT
};

enum err {
#define X(name, text) ERR_##name = -ERR_INDEX_##name,
	ERR_TABLE(X)
#undef X
};

const char *err_text(enum err e);
const char *err_name(enum err e);
enum err err_from_wire(int value);

#endif
