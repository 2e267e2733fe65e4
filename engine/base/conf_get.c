/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_get.c - typed reads of a TOML tree, with one sentence for a failure
 *
 * Runs in: kenazd; nothing that a guest can reach.
 * Trusts:  the owner of a file for intent, not for form.
 * Never:   guesses a value, accepts an empty text or list.
 *
 * The part of conf.h that needs no C++; conf.cc makes the tree.
 */
#include "engine/base/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/text.h"

#define CONF_READ_STEP_BYTES 65536u
/* What a user namespace shows for those it does not map: the kernel's own. */
#define OVERFLOW_UID 65534u

/* --- errors --------------------------------------------------------------- */

static void set_error(struct conf_error *error, enum err status,
		      const char *file, unsigned int line, const char *format,
		      va_list args)
{
	char raw[CONF_ERROR_BYTES];
	size_t len = 0;
	int n;

	if (error->status != ERR_OK)
		return;
	error->status = status;
	if (file && line)
		n = snprintf(raw, sizeof(raw), "%s:%u: ", file, line);
	else if (file)
		n = snprintf(raw, sizeof(raw), "%s: ", file);
	else
		n = 0;
	if (n > 0)
		len = (size_t)n < sizeof(raw) ? (size_t)n : sizeof(raw) - 1;
	(void)vsnprintf(raw + len, sizeof(raw) - len, format, args);
	(void)text_escape_line(span_text(raw), error->text,
			       sizeof(error->text));
}

/**
 * conf_error_init() - Make a place for the first error of a load
 * @error:	Caller's memory
 */
void conf_error_init(struct conf_error *error)
{
	error->status = ERR_OK;
	error->text[0] = '\0';
}

/**
 * conf_fail() - Note that a node's content is not acceptable
 * @error:	Keeps the first failure only
 * @node:	Gives file and line
 * @format:	As printf(3); the result is escaped, so any text may go in
 *
 * Return: the status that @error holds from now on, never ERR_OK.
 */
enum err conf_fail(struct conf_error *error, const struct conf_node *node,
		   const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_error(error, ERR_CONFIG, conf_file(node), conf_line(node), format,
		  args);
	va_end(args);
	return error->status;
}

/**
 * conf_fail_at() - Note a failure that belongs to no node
 * @error:	Keeps the first failure only
 * @file:	Its name, or NULL
 * @line:	Line, 0 for none
 * @format:	As printf(3); the result is escaped
 *
 * Return: the status that @error holds from now on, never ERR_OK.
 */
enum err conf_fail_at(struct conf_error *error, const char *file,
		      unsigned int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_error(error, ERR_CONFIG, file, line, format, args);
	va_end(args);
	return error->status;
}

static enum err check_file(int fd, const char *path, bool root_only,
			   struct conf_error *error)
{
	mode_t writers = root_only ? S_IWGRP | S_IWOTH : S_IWOTH;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return conf_fail_at(error, path, 0, "cannot be read: %s",
				    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return conf_fail_at(error, path, 0, "is not a regular file");
	if (st.st_uid == OVERFLOW_UID && st.st_uid != geteuid() &&
	    geteuid() != 0)
		return conf_fail_at(error, path, 0,
				    "its owner cannot be seen from the jail of "
				    "a user's engine; restart the engine to "
				    "have it read ('kenaz engine stop' ends "
				    "all sessions, 'kenaz engine handover' "
				    "keeps them)");
	if (st.st_uid != 0 && (root_only || st.st_uid != geteuid()))
		return conf_fail_at(error, path, 0,
				    "belongs to uid %u, must belong to %s",
				    st.st_uid,
				    root_only ? "root"
					      : "the engine's user or root");
	if (st.st_mode & writers)
		return conf_fail_at(error, path, 0,
				    "can be written by %s; use chmod go-w",
				    root_only ? "others than root"
					      : "every user");
	if (st.st_size > (off_t)CONF_TEXT_MAX_BYTES)
		return conf_fail_at(error, path, 0,
				    "the file is larger than %u bytes",
				    CONF_TEXT_MAX_BYTES);
	return ERR_OK;
}

/**
 * conf_read() - Read a configuration file into memory
 * @path:	File; symbolic links are followed
 * @root_only:	Whether it must be root's and writable by root alone; if not,
 *		it must be root's or this process's user's and not writable
 *		by everybody
 * @error:	Receives one sentence, except for ERR_NOT_FOUND
 * @ret_text:	Empty buffer of the caller; its ceiling is raised as needed
 *
 * Return: ERR_OK; ERR_NOT_FOUND when there is no such file; ERR_CONFIG;
 *	   ERR_MEMORY.
 */
enum err conf_read(const char *path, bool root_only, struct conf_error *error,
		   struct buf *ret_text)
{
	enum err e;
	uint8_t *at;
	ssize_t n;
	int fd;

	if (error->status != ERR_OK)
		return error->status;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return ERR_NOT_FOUND;
	if (fd < 0)
		return conf_fail_at(error, path, 0, "cannot be opened: %s",
				    strerror(errno));
	ret_text->max_bytes = CONF_TEXT_MAX_BYTES + CONF_READ_STEP_BYTES;
	e = check_file(fd, path, root_only, error);
	while (e == ERR_OK) {
		size_t before = ret_text->len_bytes;

		e = buf_reserve(ret_text, CONF_READ_STEP_BYTES, &at);
		if (e != ERR_OK)
			break;
		n = read(fd, at, CONF_READ_STEP_BYTES);
		buf_truncate(ret_text, before + (n > 0 ? (size_t)n : 0));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = conf_fail_at(error, path, 0, "cannot be read: %s",
					 strerror(errno));
		else if (n == 0)
			break;
	}
	if (e == ERR_LIMIT)
		e = conf_fail_at(error, path, 0,
				 "the file is larger than %u bytes",
				 CONF_TEXT_MAX_BYTES);
	else if (e == ERR_MEMORY)
		(void)conf_fail_at(error, path, 0, "out of memory");
	close(fd);
	return e;
}

/* --- typed reads ---------------------------------------------------------- */

static struct conf_node *get_kind(struct conf_node *table, const char *key,
				  enum conf_kind kind, struct conf_error *error)
{
	struct conf_node *node;

	if (error->status != ERR_OK)
		return NULL;
	node = conf_find(table, key);
	if (node && conf_kind(node) != kind) {
		(void)conf_fail(error, node, "%s must be %s, not %s", key,
				conf_kind_text(kind),
				conf_kind_text(conf_kind(node)));
		return NULL;
	}
	return node;
}

/**
 * conf_get_table() - Read a table
 * @table:	Where
 * @key:	Static text
 * @error:	Receives a failure; one that is set makes this return NULL
 *
 * Return: the table; NULL when it is missing or no table.
 */
struct conf_node *conf_get_table(struct conf_node *table, const char *key,
				 struct conf_error *error)
{
	return get_kind(table, key, CONF_TABLE, error);
}

/**
 * conf_get_array() - Read a list that is not empty
 * @table:	Where
 * @key:	Static text
 * @element:	What each of its elements must be
 * @error:	Receives a failure
 *
 * Return: the list; NULL when it is missing or bad.
 */
struct conf_node *conf_get_array(struct conf_node *table, const char *key,
				 enum conf_kind element,
				 struct conf_error *error)
{
	struct conf_node *list = get_kind(table, key, CONF_ARRAY, error);
	const struct conf_node *one;
	size_t i;

	if (!list)
		return NULL;
	if (conf_count(list) == 0) {
		(void)conf_fail(error, list,
				"%s is an empty list; remove it or name "
				"something",
				key);
		return NULL;
	}
	for (i = 0; i < conf_count(list); i++) {
		one = conf_at(list, i);
		if (conf_kind(one) == element)
			continue;
		(void)conf_fail(error, one,
				"each element of %s must be %s, not %s", key,
				conf_kind_text(element),
				conf_kind_text(conf_kind(one)));
		return NULL;
	}
	return list;
}

static bool check_texts(const struct conf_node *list, const char *key,
			struct conf_error *error)
{
	size_t count = conf_count(list);
	size_t i, j;

	if (count > CONF_LIST_MAX) {
		(void)conf_fail(error, list, "%s lists more than %u values",
				key, CONF_LIST_MAX);
		return false;
	}
	for (i = 0; i < count; i++) {
		const struct conf_node *one = conf_at(list, i);

		if (conf_value_text(one)[0] == '\0') {
			(void)conf_fail(error, one, "%s holds an empty text",
					key);
			return false;
		}
		for (j = 0; j < i; j++) {
			if (strcmp(conf_value_text(conf_at(list, j)),
				   conf_value_text(one)) != 0)
				continue;
			(void)conf_fail(error, one, "%s lists \"%s\" twice",
					key, conf_value_text(one));
			return false;
		}
	}
	return true;
}

/**
 * conf_get_texts() - Read one text or a list of different texts
 * @table:	Where
 * @key:	Static text
 * @error:	Receives a failure
 *
 * Return: a node for conf_count() and conf_at(); NULL when missing or bad.
 */
struct conf_node *conf_get_texts(struct conf_node *table, const char *key,
				 struct conf_error *error)
{
	struct conf_node *node;

	if (error->status != ERR_OK)
		return NULL;
	node = conf_find(table, key);
	if (!node)
		return NULL;
	if (conf_kind(node) != CONF_TEXT && conf_kind(node) != CONF_ARRAY) {
		(void)conf_fail(error, node,
				"%s must be a text or a list of texts, not %s",
				key, conf_kind_text(conf_kind(node)));
		return NULL;
	}
	if (conf_kind(node) == CONF_ARRAY &&
	    !conf_get_array(table, key, CONF_TEXT, error))
		return NULL;
	return check_texts(node, key, error) ? node : NULL;
}

/**
 * conf_get_text() - Read a text that is not empty
 * @table:	Where
 * @key:	Static text
 * @fallback:	Returned when the key is missing; may be NULL
 * @error:	Receives a failure
 *
 * Return: text that lives as long as the tree, or @fallback.
 */
const char *conf_get_text(struct conf_node *table, const char *key,
			  const char *fallback, struct conf_error *error)
{
	struct conf_node *node = get_kind(table, key, CONF_TEXT, error);

	if (!node)
		return fallback;
	if (conf_value_text(node)[0] == '\0') {
		(void)conf_fail(error, node,
				"%s is empty; remove it or give it a value",
				key);
		return fallback;
	}
	return conf_value_text(node);
}

/**
 * conf_get_integer() - Read a whole number of a range
 * @table:	Where
 * @key:	Static text
 * @min:	Least value
 * @max:	Greatest value
 * @fallback:	Returned when the key is missing
 * @error:	Receives a failure
 *
 * Return: the number, or @fallback.
 */
int64_t conf_get_integer(struct conf_node *table, const char *key, int64_t min,
			 int64_t max, int64_t fallback,
			 struct conf_error *error)
{
	struct conf_node *node = get_kind(table, key, CONF_INTEGER, error);

	if (!node)
		return fallback;
	if (conf_value_integer(node) < min || conf_value_integer(node) > max) {
		(void)conf_fail(error, node,
				"%s must be from %lld to %lld, not %lld", key,
				(long long)min, (long long)max,
				(long long)conf_value_integer(node));
		return fallback;
	}
	return conf_value_integer(node);
}

/**
 * conf_get_boolean() - Read true or false
 * @table:	Where
 * @key:	Static text
 * @fallback:	Returned when the key is missing
 * @error:	Receives a failure
 *
 * Return: the value, or @fallback.
 */
bool conf_get_boolean(struct conf_node *table, const char *key, bool fallback,
		      struct conf_error *error)
{
	struct conf_node *node = get_kind(table, key, CONF_BOOLEAN, error);

	return node ? conf_value_boolean(node) : fallback;
}

/**
 * conf_list_word() - Add a word to a list of valid choices
 * @list:	"a, b, c" so far; begins as ""; what does not fit is left out
 * @word:	Borrowed
 */
void conf_list_word(char list[CONF_LIST_BYTES], const char *word)
{
	size_t len = strlen(list);
	size_t more = strlen(word);
	size_t comma = len ? 2 : 0;

	if (len + comma + more >= CONF_LIST_BYTES)
		return;
	memcpy(list + len, ", ", comma);
	memcpy(list + len + comma, word, more + 1);
}

/**
 * conf_get_choice() - Read a text that must be one of a few
 * @table:	Where
 * @key:	Static text
 * @choices:	Valid texts, ended by NULL; a message lists them
 * @fallback:	Returned when the key is missing
 * @error:	Receives a failure
 *
 * Return: index into @choices, or @fallback.
 */
int conf_get_choice(struct conf_node *table, const char *key,
		    const char *const *choices, int fallback,
		    struct conf_error *error)
{
	struct conf_node *node = get_kind(table, key, CONF_TEXT, error);
	char list[CONF_LIST_BYTES] = "";
	int i;

	if (!node)
		return fallback;
	for (i = 0; choices[i]; i++) {
		if (strcmp(conf_value_text(node), choices[i]) == 0)
			return i;
		conf_list_word(list, choices[i]);
	}
	(void)conf_fail(error, node, "%s must be one of %s, not \"%s\"", key,
			list, conf_value_text(node));
	return fallback;
}
