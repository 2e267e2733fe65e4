/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.c - an argument vector that is built piece by piece
 *
 * Runs in: kenaz-launch.
 * Trusts:  its callers for the formats.
 * Never:   cuts an argument: one that does not fit fails the whole vector.
 */
#include "vm/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/**
 * args_add() - Add one argument
 * @a:		Vector; its status tells of failures: ERR_LIMIT, ERR_MEMORY
 * @text:	Copied
 */
void args_add(struct args *a, const char *text)
{
	args_addf(a, "%s", text);
}

/**
 * args_addf() - Add one formatted argument
 * @a:		Vector
 * @format:	As printf(3)
 */
void args_addf(struct args *a, const char *format, ...)
{
	char text[ARG_MAX_BYTES];
	va_list list;
	int len;

	if (a->status != ERR_OK)
		return;
	va_start(list, format);
	len = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (len < 0 || (size_t)len >= sizeof(text) || a->count == ARGS_MAX) {
		a->status = ERR_LIMIT;
		return;
	}
	a->list[a->count] = strdup(text);
	if (!a->list[a->count])
		a->status = ERR_MEMORY;
	else
		a->count++;
}

/** args_append() - Add all arguments of another vector */
void args_append(struct args *a, const struct args *more)
{
	size_t i;

	if (a->status == ERR_OK)
		a->status = more->status;
	for (i = 0; i < more->count; i++)
		args_add(a, more->list[i]);
}

/** args_fini() - Release the arguments; a zeroed vector is accepted */
void args_fini(struct args *a)
{
	size_t i;

	for (i = 0; i < a->count; i++)
		free(a->list[i]);
	*a = (struct args){0};
}
