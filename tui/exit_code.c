/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit_code.c - the exit codes of kenaz
 *
 * Runs in: kenaz.
 * Trusts:  nothing: codes from elsewhere are mapped into the table.
 * Never:   returns a number that kenaz(1) does not list, but CMD's own.
 */
#include "tui/exit_code.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct {
	enum err e;
	enum exit_code code;
} by_error[] = {
	{ERR_OK, EXIT_CODE_OK},
	{ERR_DENIED, EXIT_CODE_DENIED},
	{ERR_PERMISSION, EXIT_CODE_PERMISSION},
	{ERR_NOT_FOUND, EXIT_CODE_NOT_FOUND},
	{ERR_TIMEOUT, EXIT_CODE_TIMEOUT},
	{ERR_CANCELLED, EXIT_CODE_INTERRUPTED},
};

/** exit_code_from_err() - The code for an error of our own */
enum exit_code exit_code_from_err(enum err e)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(by_error); i++)
		if (by_error[i].e == e)
			return by_error[i].code;
	return EXIT_CODE_FAILED;
}

static bool same_name(const char *lower, const char *upper)
{
	while (*lower && toupper((unsigned char)*lower) == *upper) {
		lower++;
		upper++;
	}
	return *lower == *upper;
}

/**
 * exit_code_from_rpc() - The code for an error that the engine answered
 * @name:	data.name, an error's name in lower case, or NULL
 * @code:	data.exit, or a negative number when absent
 *
 * Return: @code where the table has it; else the name's; else failed. An
 *	   error never gives 0.
 */
enum exit_code exit_code_from_rpc(const char *name, double code)
{
	static const enum exit_code codes[] = {
#define X(n, c, t) EXIT_CODE_##n,
		EXIT_CODES(X)
#undef X
	};
	size_t i;

	for (i = 1; i < ARRAY_SIZE(codes); i++)
		if (code >= 1 && code <= 255 && (int)code == (int)codes[i])
			return codes[i];
	for (i = 1; name && i < ARRAY_SIZE(by_error); i++)
		if (same_name(name, err_name(by_error[i].e)))
			return by_error[i].code;
	return EXIT_CODE_FAILED;
}

/**
 * exit_code_of_program() - The code that stands for how a program ended
 * @code:	Its exit code, or the number of the signal
 * @signalled:	Whether a signal ended it
 *
 * Return: 0 to 255; 128 + N for signal N.
 */
int exit_code_of_program(int code, int signalled)
{
	if (signalled)
		return code > 0 && code < 128 ? 128 + code : 255;
	return code >= 0 && code <= 255 ? code : 255;
}
