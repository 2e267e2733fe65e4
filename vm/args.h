/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - an argument vector that is built piece by piece */
#ifndef KENAZ_VM_ARGS_H
#define KENAZ_VM_ARGS_H

#include <stddef.h>

#include "engine/base/err.h"

#define ARGS_MAX      128u  /* arguments */
#define ARG_MAX_BYTES 2048u /* one argument, the NUL included */

/* Plain data; zeroed is empty. After a failure adding does nothing. */
struct args {
	char *list[ARGS_MAX + 1]; /* NULL-terminated */
	size_t count;
	enum err status;
};

void args_add(struct args *a, const char *text);
void args_addf(struct args *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void args_append(struct args *a, const struct args *more);
void args_fini(struct args *a);

#endif
