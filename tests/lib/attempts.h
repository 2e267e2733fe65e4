/* SPDX-License-Identifier: Apache-2.0 */
/* attempts.h - what a captured process would try, one function each */
#ifndef KENAZ_TESTS_ATTEMPTS_H
#define KENAZ_TESTS_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

/* Where an attempt is made; each must fail there. */
enum attempt_place {
	AT_QEMU = 1 << 0,    /* inside the sandbox, in QEMU's place */
	AT_LAUNCH = 1 << 1,  /* in a launcher whose QEMU runs */
	AT_OUTSIDE = 1 << 2, /* without a jail it succeeds: the control */
	AT_ROOT = 1 << 3,    /* the control needs root */
};

/* What the test prepared outside. */
struct attempt_goal {
	const char *file;     /* another session's, readable by everybody */
	const char *socket;   /* listening there */
	const char *abstract; /* listening there, without its first NUL */
	unsigned port;        /* TCP, on 127.0.0.1 */
	int pid;              /* another process of the same user */
};

struct attempt {
	const char *name;
	bool (*escapes)(const struct attempt_goal *goal); /* true is bad */
	unsigned places;
};

extern const struct attempt attempts[];
extern const size_t attempts_count;

const struct attempt *attempt_find(const char *name);

#endif
