/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - the table of commands: help, completion and dispatch
 *
 * Runs in: kenaz.
 * Trusts:  the rows.
 * Never:   describes a command that the table does not hold.
 */
#include "tui/command.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/output.h"

const struct command *const command_table[] = {
#define X(row) &command_##row,
	COMMANDS(X)
#undef X
};

const size_t command_count = ARRAY_SIZE(command_table);

const struct option_row command_globals[] = {
	{"output", 'o', "FORMAT", "table, json or jsonl"},
	{"quiet", 'q', NULL, "no progress, no hints; lists print names only"},
	{"no-color", 0, NULL, "no colours; so does NO_COLOR"},
	{"socket", 0, "PATH", "the engine's socket; so does KENAZ_SOCKET"},
	{"verbose", 'v', NULL, "say what is done"},
	{"help", 'h', NULL, "print help for the command"},
	{0},
};

/* How many words of a name these words are; 0 when they are not it. */
static size_t match(const char *name, char *const *words, size_t count)
{
	size_t taken = 0;

	while (*name) {
		size_t len = strcspn(name, " ");

		if (taken == count || strlen(words[taken]) != len ||
		    memcmp(words[taken], name, len) != 0)
			return 0;
		taken++;
		name += len;
		name += *name == ' ';
	}
	return taken;
}

/**
 * command_find() - Find the command that some words begin with
 * @words:	Borrowed
 * @count:	How many
 * @ret_taken:	How many words are its name; written when found
 *
 * Return: the row, or NULL.
 */
const struct command *command_find(char *const *words, size_t count,
				   size_t *ret_taken)
{
	size_t i, taken;

	for (i = 0; i < command_count; i++) {
		taken = match(command_table[i]->name, words, count);
		if (taken) {
			*ret_taken = taken;
			return command_table[i];
		}
	}
	return NULL;
}

static void print_options(const struct option_row *row)
{
	char left[64];

	for (; row && row->name; row++) {
		char letter[8] = "    ";

		if (row->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ",
				       row->letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter,
			       row->name, row->value ? " " : "",
			       row->value ? row->value : "");
		(void)printf("  %-28s %s\n", left, row->help);
	}
}

/**
 * command_print_help() - Print a command's help on standard output
 * @command:	Row
 *
 * Return: ERR_OK; ERR_SYS when it cannot be written.
 */
enum err command_print_help(const struct command *command)
{
	bool own = command->options && command->options->name;

	(void)printf("usage: kenaz %s%s%s%s\n\n%s\n", command->name,
		     own ? " [OPTIONS]" : "", command->arguments[0] ? " " : "",
		     command->arguments, command->summary);
	if (command->text)
		(void)printf("\n%s\n", command->text);
	if (own) {
		(void)printf("\nOptions:\n");
		print_options(command->options);
	}
	(void)printf("\nOptions of every command:\n");
	print_options(command_globals);
	return fflush(stdout) == 0 ? ERR_OK : ERR_SYS;
}

static int padding(const char *text, int width)
{
	int have = (int)output_width(text);

	return have < width ? width - have : 0;
}

static bool in_group(const struct command *command, const char *group)
{
	size_t len = strlen(group);

	return strncmp(command->name, group, len) == 0 &&
	       (command->name[len] == ' ' || command->name[len] == '\0');
}

/**
 * command_choices() - Name the commands of a group in a sentence
 * @group:	First word that they share
 * @ret_text:	Array of @cap_bytes: "list, show and stop"; cut when it is full
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_NOT_FOUND for a group that does not exist or is a
 *	   command itself.
 */
enum err command_choices(const char *group, char *ret_text, size_t cap_bytes)
{
	size_t i, len = strlen(group), count = 0, at = 0;

	for (i = 0; i < command_count; i++)
		if (in_group(command_table[i], group) &&
		    command_table[i]->name[len] == ' ')
			count++;
	if (count == 0)
		return ERR_NOT_FOUND;
	ret_text[0] = '\0';
	for (i = 0; i < command_count; i++) {
		if (!in_group(command_table[i], group) ||
		    command_table[i]->name[len] != ' ')
			continue;
		text_append(ret_text, cap_bytes, "%s%s",
			    at == 0          ? ""
			    : at + 1 < count ? ", "
					     : " and ",
			    command_table[i]->name + len + 1);
		at++;
	}
	return ERR_OK;
}

/**
 * command_print_list() - Print the commands with their summaries
 * @group:	First word that they share, or NULL for all
 *
 * Return: ERR_OK; ERR_NOT_FOUND for a group that does not exist; ERR_SYS.
 */
enum err command_print_list(const char *group)
{
	size_t i, found = 0;

	for (i = 0; i < command_count; i++) {
		const struct command *row = command_table[i];
		char left[80];

		if (group && !in_group(row, group))
			continue;
		if (found++ == 0)
			(void)printf(group ? "Commands:\n"
					   : "usage: kenaz [COMMAND …]\n\n"
					     "Without a command: the terminal "
					     "interface.\n\nCommands:\n");
		(void)snprintf(left, sizeof(left), "%s %s", row->name,
			       row->arguments);
		(void)printf("  %s%*s %s\n", left, padding(left, 36), "",
			     row->summary);
	}
	if (found == 0)
		return ERR_NOT_FOUND;
	if (!group) {
		(void)printf("\nOptions of every command:\n");
		print_options(command_globals);
		(void)printf("\n'kenaz COMMAND --help' says more; kenaz(1) is "
			     "the manual.\n");
	}
	return fflush(stdout) == 0 ? ERR_OK : ERR_SYS;
}

static void print_bash_options(const struct option_row *row)
{
	for (; row && row->name; row++)
		(void)printf(" --%s", row->name);
}

static bool first_of_group(size_t index, size_t *ret_len)
{
	const char *name = command_table[index]->name;
	size_t i;

	*ret_len = strcspn(name, " ");
	for (i = 0; i < index; i++)
		if (strcspn(command_table[i]->name, " ") == *ret_len &&
		    memcmp(command_table[i]->name, name, *ret_len) == 0)
			return false;
	return true;
}

static void print_bash_words(void)
{
	size_t i, k, len;

	(void)printf("\tcase \"$words\" in\n\t\"\") choices=\"");
	for (i = 0; i < command_count; i++)
		if (first_of_group(i, &len))
			(void)printf("%.*s ", (int)len, command_table[i]->name);
	(void)printf("\" ;;\n");
	for (i = 0; i < command_count; i++) {
		const char *name = command_table[i]->name;

		if (!first_of_group(i, &len) || name[len] == '\0')
			continue;
		(void)printf("\t%.*s) choices=\"", (int)len, name);
		for (k = i; k < command_count; k++)
			if (strncmp(command_table[k]->name, name, len + 1) == 0)
				(void)printf("%s ",
					     command_table[k]->name + len + 1);
		(void)printf("\" ;;\n");
	}
	(void)printf("\tesac\n");
}

/**
 * command_print_bash() - Print bash's completion, made from the table
 *
 * Return: ERR_OK; ERR_SYS when it cannot be written.
 */
enum err command_print_bash(void)
{
	size_t i;

	(void)printf("# bash completion for kenaz; made by "
		     "'kenaz completion bash'\n"
		     "_kenaz() {\n"
		     "\tlocal words=\"\" choices=\"\" options=\"\" i word\n"
		     "\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\"\n"
		     "\tfor ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
		     "\t\tword=\"${COMP_WORDS[i]}\"\n"
		     "\t\t[[ $word == -* ]] && break\n"
		     "\t\twords=\"${words:+$words }$word\"\n"
		     "\tdone\n");
	print_bash_words();
	(void)printf("\tcase \"$words\" in\n");
	for (i = 0; i < command_count; i++) {
		(void)printf("\t\"%s\"*) options=\"", command_table[i]->name);
		print_bash_options(command_table[i]->options);
		(void)printf("\" ;;\n");
	}
	(void)printf("\tesac\n\tif [[ $cur == -* ]]; then\n\t\tchoices=\""
		     "$options");
	print_bash_options(command_globals);
	(void)printf("\"\n\tfi\n"
		     "\tmapfile -t COMPREPLY < <(compgen -W \"$choices\" -- "
		     "\"$cur\")\n"
		     "}\ncomplete -o default -F _kenaz kenaz\n");
	return fflush(stdout) == 0 ? ERR_OK : ERR_SYS;
}
