/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_definition.c - the file that says what an image is made of
 *
 * Runs in: kenaz.
 * Trusts:  nothing: its words become arguments of apt and npm.
 * Never:   lets a word through that could be an option, a path or a URL.
 */
#include "tui/image_definition.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"

#define MEMORY_LEAST_MIB 96
#define MEMORY_MOST_MIB  65536
#define DEFAULT_MIB      256

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Debian Policy 5.6.7 */
static bool is_package(const char *word)
{
	size_t i;

	if (!is_lower(word[0]) || !word[1])
		return false;
	for (i = 1; word[i]; i++)
		if (!is_lower(word[i]) && !strchr("+-.", word[i]))
			return false;
	return i <= IMAGE_WORD_MAX_BYTES;
}

/* A part of a package's name: small letters, digits and -._ inside. */
static size_t npm_part(const char *word)
{
	size_t i = 0;

	if (is_lower(word[0]))
		while (is_lower(word[i]) || (word[i] && strchr("-._", word[i])))
			i++;
	return i;
}

/* "name@1.2.3" or "@scope/name@1.2.3": one version, and no other. */
static bool is_npm_package(const char *word)
{
	const char *at = word;
	size_t i, len;

	if (*at == '@') {
		len = npm_part(at + 1);
		if (len == 0 || at[1 + len] != '/')
			return false;
		at += len + 2;
	}
	len = npm_part(at);
	if (len == 0 || at[len] != '@')
		return false;
	at += len + 1;
	if (*at < '0' || *at > '9')
		return false;
	for (i = 0; at[i]; i++)
		if (!is_lower(at[i]) && !(at[i] >= 'A' && at[i] <= 'Z') &&
		    !strchr("+-.", at[i]))
			return false;
	return strlen(word) <= IMAGE_WORD_MAX_BYTES;
}

static bool is_cpu(const char *word)
{
	size_t i;

	if (word[0] == '-' || strlen(word) > 63)
		return false;
	for (i = 0; word[i]; i++)
		if (!is_lower(word[i]) && !(word[i] >= 'A' && word[i] <= 'Z') &&
		    !strchr("+-_.,", word[i]))
			return false;
	return true;
}

static void read_words(struct conf_node *table, const char *key,
		       bool (*good)(const char *word), const char *like,
		       char ret_words[IMAGE_LIST_MAX_BYTES],
		       struct conf_error *error)
{
	struct conf_node *list = conf_get_texts(table, key, error);
	size_t i, count = list ? conf_count(list) : 0, len = 0;

	ret_words[0] = '\0';
	for (i = 0; i < count && error->status == ERR_OK; i++) {
		const struct conf_node *node = conf_at(list, i);
		const char *word = conf_value_text(node);
		int n;

		if (!good(word)) {
			(void)conf_fail(error, node,
					"%s: \"%.100s\" is not like %s", key,
					word, like);
			return;
		}
		n = snprintf(ret_words + len, IMAGE_LIST_MAX_BYTES - len,
			     "%s%s", len ? " " : "", word);
		if (n < 0 || (size_t)n >= IMAGE_LIST_MAX_BYTES - len) {
			(void)conf_fail(error, node, "%s: more than %u bytes",
					key, IMAGE_LIST_MAX_BYTES);
			return;
		}
		len += (size_t)n;
	}
}

static void read_table(struct conf_node *table, struct image_definition *to,
		       struct conf_error *error)
{
	static const char *const bases[] = {"debian", NULL};
	const char *name = conf_get_text(table, "name", NULL, error);
	const char *cpu = conf_get_text(table, "cpu", "qemu64", error);

	if (!name || !text_is_name(span_text(name), NAME_MAX_BYTES) ||
	    name[0] == '.') {
		(void)conf_fail(error, name ? conf_find(table, "name") : table,
				"name must be small letters, digits, '.', '_' "
				"and '-', at most %u",
				NAME_MAX_BYTES);
		return;
	}
	(void)snprintf(to->name, sizeof(to->name), "%s", name);
	if (!conf_find(table, "base"))
		(void)conf_fail(error, table,
				"base is missing; base = \"debian\" is the "
				"one that there is");
	(void)conf_get_choice(table, "base", bases, 0, error);
	if (!is_cpu(cpu))
		(void)conf_fail(error, conf_find(table, "cpu"),
				"cpu must be a CPU model of QEMU, such as "
				"\"max\" or \"qemu64,+ssse3\"");
	else
		(void)snprintf(to->cpu, sizeof(to->cpu), "%s", cpu);
	to->memory_min_mib =
		(uint32_t)conf_get_integer(table, "memory_min_mib",
					   MEMORY_LEAST_MIB, MEMORY_MOST_MIB,
					   DEFAULT_MIB, error);
	read_words(table, "packages", is_package,
		   "a Debian package, such as \"ripgrep\"", to->packages,
		   error);
	read_words(table, "npm", is_npm_package,
		   "\"name@1.2.3\", an npm package with its version", to->npm,
		   error);
}

/**
 * image_definition_parse() - Read a definition
 * @text:	TOML
 * @file:	Its name, for errors
 * @error:	Receives one sentence with file and line
 * @ret:	Written on success
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_LIMIT; ERR_MEMORY.
 */
enum err image_definition_parse(struct span text, const char *file,
				struct conf_error *error,
				struct image_definition *ret)
{
	struct conf *conf = NULL;
	enum err e = conf_parse(text, file, error, &conf);

	if (e != ERR_OK)
		return e;
	*ret = (struct image_definition){0};
	read_table(conf_root(conf), ret, error);
	e = error->status;
	if (e == ERR_OK)
		e = conf_check_unread(conf, error);
	conf_free(conf);
	return e;
}
