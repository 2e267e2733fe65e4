/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.c - options and arguments of a command, read by its table
 *
 * Runs in: kenaz.
 * Trusts:  its tables; the words are the user's.
 * Never:   guesses: an unknown or doubtful option is an error that lists the
 *	    choices.
 *
 * Forms: --name VALUE, --name=VALUE, --flag, -n VALUE, -nVALUE, -abc for
 * flags. "--" ends the options. A word after "--" is never an option.
 */
#include "tui/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/text.h"

static enum err refuse(struct args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static enum err refuse(struct args *args, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void)vsnprintf(args->error, sizeof(args->error), format, list);
	va_end(list);
	return ERR_FORMAT;
}

static const struct option_row *find(const struct option_row *const *tables,
				     const char *name, size_t len, char letter)
{
	const struct option_row *row;

	for (; *tables; tables++)
		for (row = *tables; row->name; row++)
			if ((letter && row->letter == letter) ||
			    (name && strlen(row->name) == len &&
			     memcmp(row->name, name, len) == 0))
				return row;
	return NULL;
}

static enum err refuse_unknown(struct args *args, const char *word,
			       const struct option_row *const *tables)
{
	char list[ARGS_TEXT_MAX_LEN / 2] = "";
	size_t used = 0;
	const struct option_row *row;

	for (; *tables; tables++) {
		for (row = *tables; row->name; row++) {
			int n = snprintf(list + used, sizeof(list) - used,
					 "%s--%s", used ? ", " : "", row->name);

			if (n < 0 || (size_t)n >= sizeof(list) - used)
				break;
			used += (size_t)n;
		}
	}
	return refuse(args, "unknown option '%.100s'; the options are: %s",
		      word, list);
}

static enum err add(struct args *args, const struct option_row *row,
		    const char *value)
{
	if (args->given_count == ARGS_OPTIONS_MAX)
		return refuse(args, "more than %u options", ARGS_OPTIONS_MAX);
	args->given[args->given_count].row = row;
	args->given[args->given_count].value = value;
	args->given_count++;
	return ERR_OK;
}

static enum err long_option(struct args *args, char *const *words, size_t count,
			    const struct option_row *const *tables, size_t *at)
{
	const char *word = words[*at] + 2;
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct option_row *row = find(tables, word, len, 0);

	if (!row)
		return refuse_unknown(args, words[*at], tables);
	if (!row->value)
		return equals ? refuse(args, "--%s takes no value", row->name)
			      : add(args, row, NULL);
	if (equals)
		return add(args, row, equals + 1);
	if (*at + 1 >= count)
		return refuse(args, "--%s needs a value: --%s %s", row->name,
			      row->name, row->value);
	return add(args, row, words[++*at]);
}

static enum err short_options(struct args *args, char *const *words,
			      size_t count,
			      const struct option_row *const *tables,
			      size_t *at)
{
	const char *letter = words[*at] + 1;
	enum err e = ERR_OK;

	for (; e == ERR_OK && *letter; letter++) {
		const struct option_row *row = find(tables, NULL, 0, *letter);

		if (!row)
			return refuse_unknown(args, words[*at], tables);
		if (!row->value) {
			e = add(args, row, NULL);
			continue;
		}
		if (letter[1])
			return add(args, row, letter + 1);
		if (*at + 1 >= count)
			return refuse(args, "-%c needs a value: -%c %s",
				      *letter, *letter, row->value);
		return add(args, row, words[++*at]);
	}
	return e;
}

/**
 * args_parse() - Read the words behind a command's name
 * @words:		Borrowed for as long as @ret_args is used
 * @count:		How many
 * @tables:		Option tables, the list ended by NULL
 * @stop_at_argument:	The first argument ends the options: what follows is
 *			another program's
 * @ret_args:		Always written
 *
 * Return: ERR_OK; ERR_FORMAT with a sentence in @ret_args->error.
 */
enum err args_parse(char *const *words, size_t count,
		    const struct option_row *const *tables,
		    bool stop_at_argument, struct args *ret_args)
{
	bool options = true;
	enum err e = ERR_OK;
	size_t i;

	memset(ret_args, 0, sizeof(*ret_args));
	for (i = 0; e == ERR_OK && i < count; i++) {
		const char *word = words[i];

		if (options && strcmp(word, "--") == 0) {
			options = false;
		} else if (options && strncmp(word, "--", 2) == 0) {
			e = long_option(ret_args, words, count, tables, &i);
		} else if (options && word[0] == '-' && word[1]) {
			e = short_options(ret_args, words, count, tables, &i);
		} else if (ret_args->rest_count == ARGS_REST_MAX) {
			e = refuse(ret_args, "more than %u arguments",
				   ARGS_REST_MAX);
		} else {
			ret_args->rest[ret_args->rest_count++] = words[i];
			options = options && !stop_at_argument;
		}
	}
	return e;
}

/** args_has() - Whether an option was given */
bool args_has(const struct args *args, const char *name)
{
	size_t i;

	for (i = 0; i < args->given_count; i++)
		if (strcmp(args->given[i].row->name, name) == 0)
			return true;
	return false;
}

/** args_value() - An option's value, the last one given, or NULL */
const char *args_value(const struct args *args, const char *name)
{
	size_t i;

	for (i = args->given_count; i-- > 0;)
		if (strcmp(args->given[i].row->name, name) == 0)
			return args->given[i].value;
	return NULL;
}

/**
 * args_number() - An option's value as a number
 * @args:	Arguments
 * @name:	Option
 * @least:	Least value allowed
 * @most:	Greatest value allowed
 * @ret_number:	Written when the option was given and is right
 *
 * Return: ERR_OK; ERR_NOT_FOUND when it was not given; ERR_FORMAT with a
 *	   sentence in @args->error.
 */
enum err args_number(struct args *args, const char *name, uint64_t least,
		     uint64_t most, uint64_t *ret_number)
{
	const char *value = args_value(args, name);

	if (!value)
		return ERR_NOT_FOUND;
	if (text_parse_u64(span_text(value), least, most, ret_number) == ERR_OK)
		return ERR_OK;
	return refuse(args, "--%s '%.100s': give a number from %llu to %llu",
		      name, value, (unsigned long long)least,
		      (unsigned long long)most);
}
