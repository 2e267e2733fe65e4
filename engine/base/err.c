/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.c - texts and names of the one error table
 *
 * Runs in: every program.
 * Trusts:  nothing; any integer is accepted.
 * Never:   allocates.
 */
#include "engine/base/err.h"

static const char *const err_texts[] = {
#define X(name, text) [ERR_INDEX_##name] = text,
	ERR_TABLE(X)
#undef X
};

static const char *const err_names[] = {
#define X(name, text) [ERR_INDEX_##name] = #name,
	ERR_TABLE(X)
#undef X
};

/**
 * err_text() - Sentence fragment for an error
 * @e:	Any value, also one that is not in the table
 *
 * Return: static text, never NULL.
 */
const char *err_text(enum err e)
{
	int index = -(int)e;

	if (index < 0 || index >= ERR_COUNT)
		return "unknown error";
	return err_texts[index];
}

/**
 * err_name() - Symbolic name for logs and traces
 * @e:	Any value
 *
 * Return: static text, never NULL.
 */
const char *err_name(enum err e)
{
	int index = -(int)e;

	if (index < 0 || index >= ERR_COUNT)
		return "UNKNOWN";
	return err_names[index];
}

/**
 * err_from_wire() - Turn a received integer into an error
 * @value:	Untrusted; zero or negative in the table's range
 *
 * Return: the error, or ERR_INTERNAL for a value outside the table.
 */
enum err err_from_wire(int value)
{
	if (value > 0 || value <= -ERR_COUNT)
		return ERR_INTERNAL;
	return (enum err)value;
}
