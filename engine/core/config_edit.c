/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_edit.c - change kenaz.toml: its entries, and [vault]
 *
 * Runs in: kenazd.
 * Trusts:  the administrator who asks; the result is parsed all the same.
 * Never:   leaves a file behind that does not load, changes another entry.
 *
 * An entry is [[provider]] or [[alias]]. The text is edited, not written anew,
 * so that comments and layout stay. The result is parsed as a whole before it
 * takes the old file's place in one rename.
 */
#include "engine/core/config_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/paths.h"

#define EDIT_TEMP_SUFFIX ".new"

/** config_edit_put_quoted() - Write a text of TOML in its quotes */
enum err config_edit_put_quoted(struct buf *out, const char *text)
{
	enum err e = buf_put_u8(out, '"');

	for (; e == ERR_OK && *text; text++) {
		if (*text == '"' || *text == '\\')
			e = buf_put_u8(out, '\\');
		if (e == ERR_OK && ((unsigned char)*text < 0x20 ||
				    (unsigned char)*text == 0x7f))
			e = ERR_FORMAT;
		if (e == ERR_OK)
			e = buf_put_u8(out, (uint8_t)*text);
	}
	if (e == ERR_OK)
		e = buf_put_u8(out, '"');
	return e;
}

/**
 * config_edit_put_text() - Write a line `key = "value"` of TOML
 * @out:	Receives it
 * @key:	Static text
 * @value:	Any text without control characters
 *
 * Return: ERR_OK; ERR_FORMAT for a control character; ERR_LIMIT; ERR_MEMORY.
 */
enum err config_edit_put_text(struct buf *out, const char *key,
			      const char *value)
{
	enum err e = buf_printf(out, "%s = ", key);

	if (e == ERR_OK)
		e = config_edit_put_quoted(out, value);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	return e;
}

/* The rename is durable only once its folder is. */
static enum err sync_folder(const char *path)
{
	char folder[PATHS_MAX_BYTES + sizeof(CONFIG_FILE_NAME)];
	enum err e = span_copy_text(span_text(path), folder, sizeof(folder));
	char *slash = e == ERR_OK ? strrchr(folder, '/') : NULL;
	int fd;

	if (!slash || slash == folder)
		return e;
	*slash = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_SYS;
	e = fsync(fd) == 0 ? ERR_OK : ERR_SYS;
	close(fd);
	return e;
}

static enum err replace_file(const char *path, struct span text)
{
	char temp[PATHS_MAX_BYTES + sizeof(CONFIG_FILE_NAME) +
		  sizeof(EDIT_TEMP_SUFFIX)];
	struct stat st;
	mode_t mode = 0600;
	enum err e;
	int fd;

	if (snprintf(temp, sizeof(temp), "%s" EDIT_TEMP_SUFFIX, path) >=
	    (int)sizeof(temp))
		return ERR_LIMIT;
	if (stat(path, &st) == 0)
		mode = st.st_mode & 0777;
	(void)unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return ERR_SYS;
	e = file_write_all(fd, text);
	if (e == ERR_OK && fsync(fd) != 0)
		e = ERR_SYS;
	if (e == ERR_OK && fchmod(fd, mode) != 0)
		e = ERR_SYS;
	close(fd);
	if (e == ERR_OK && rename(temp, path) != 0)
		e = ERR_SYS;
	if (e != ERR_OK)
		(void)unlink(temp);
	else
		e = sync_folder(path);
	return e;
}

static const struct {
	const char *noun, *header;
} entries[] = {
	[CONFIG_ENTRY_PROVIDER] = {"provider", "[[provider]]"},
	[CONFIG_ENTRY_ALIAS] = {"alias", "[[alias]]"},
};

/* 0: there is none in the file. */
static unsigned int line_of(const struct config *config, enum config_entry what,
			    const char *name)
{
	const struct config_provider *p;
	const struct config_alias *a;

	if (what == CONFIG_ENTRY_ALIAS) {
		a = config_find_alias(config, name);
		return a ? a->line : 0;
	}
	p = config_find_provider(config, name);
	return p ? p->line : 0;
}

static size_t count_of(const struct config *config, enum config_entry what)
{
	size_t count = 0, i;

	if (what == CONFIG_ENTRY_ALIAS)
		return config->alias_count;
	for (i = 0; i < config->provider_count; i++)
		count += config->providers[i].line != 0;
	return count;
}

/* What is left unchanged by an edit, as far as it can be counted. */
static bool same_rest(const struct config *a, const struct config *b,
		      enum config_entry what)
{
	return a->model_count == b->model_count &&
	       a->image_count == b->image_count &&
	       (what == CONFIG_ENTRY_ALIAS
			? count_of(a, CONFIG_ENTRY_PROVIDER) ==
				  count_of(b, CONFIG_ENTRY_PROVIDER)
			: a->alias_count == b->alias_count);
}

static enum err check_result(struct span text, const char *path,
			     const struct config *old, enum config_entry what,
			     const char *name, bool there,
			     struct conf_error *error)
{
	size_t want = count_of(old, what) + (there ? 1 : 0) - (there ? 0 : 1);
	struct config *config = NULL;
	enum err e = config_parse(text, path, error, &config);

	if (e == ERR_OK &&
	    ((line_of(config, what, name) != 0) != there ||
	     count_of(config, what) != want || !same_rest(old, config, what)))
		e = conf_fail_at(error, path, 0,
				 "the entry cannot be told from the rest of "
				 "the file; edit it by hand");
	config_free(config);
	return e;
}

static enum err put_block(struct buf *text, struct span block)
{
	enum err e = ERR_OK;

	if (text->len_bytes && text->data[text->len_bytes - 1] != '\n')
		e = buf_put_u8(text, '\n');
	if (e == ERR_OK && text->len_bytes)
		e = buf_put_u8(text, '\n');
	return e == ERR_OK ? buf_put_span(text, block) : e;
}

static enum err load(const char *path, struct conf_error *error,
		     struct config **ret_config, struct buf *text)
{
	enum err e = config_load(path, error, ret_config);

	if (e != ERR_OK)
		return e;
	e = conf_read(path, false, error, text);
	text->max_bytes = CONF_TEXT_MAX_BYTES;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err store(const char *path, struct span text)
{
	char *real = realpath(path, NULL);
	enum err e = replace_file(real ? real : path, text);

	free(real);
	return e;
}

/**
 * config_edit_add() - Append an entry to a configuration file
 * @path:	File; made with mode 0600 when it does not exist. A symbolic
 *		link is followed, its target replaced
 * @what:	Sort of entry
 * @name:	Its name
 * @block:	Its text, from its header to its last newline
 * @write:	false: only say whether it could be
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; ERR_EXISTS when the name is taken; ERR_CONFIG when the
 *	   result would not load; ERR_SYS with errno; ERR_MEMORY.
 */
enum err config_edit_add(const char *path, enum config_entry what,
			 const char *name, struct span block, bool write,
			 struct conf_error *error)
{
	struct config *config = NULL;
	struct buf text;
	enum err e;

	buf_init(&text, CONF_TEXT_MAX_BYTES);
	e = load(path, error, &config, &text);
	if (e == ERR_OK && line_of(config, what, name)) {
		(void)conf_fail_at(error, path, 0,
				   "there is %s %s \"%.80s\" already",
				   what == CONFIG_ENTRY_ALIAS ? "an" : "a",
				   entries[what].noun, name);
		e = ERR_EXISTS;
	}
	if (e == ERR_OK)
		e = put_block(&text, block);
	if (e == ERR_OK)
		e = check_result(buf_span(&text), path, config, what, name,
				 true, error);
	if (e == ERR_OK && write)
		e = store(path, buf_span(&text));
	if (e != ERR_OK)
		(void)conf_fail_at(error, path, 0, "it cannot be added: %s",
				   e == ERR_SYS ? strerror(errno)
						: err_text(e));
	config_free(config);
	buf_fini(&text);
	return e;
}

/* --- taking out ------------------------------------------------------- */

static struct span line_at(struct span text, size_t at)
{
	const uint8_t *end = memchr(text.data + at, '\n', text.len_bytes - at);

	return span_of(text.data + at, end ? (size_t)(end - text.data) + 1 - at
					   : text.len_bytes - at);
}

static struct span without_indent(struct span line)
{
	while (line.len_bytes && (line.data[0] == ' ' || line.data[0] == '\t'))
		line = span_of(line.data + 1, line.len_bytes - 1);
	return line;
}

static bool begins(struct span line, const char *with)
{
	size_t len = strlen(with);

	return line.len_bytes >= len && memcmp(line.data, with, len) == 0;
}

/* A header of the next table; [[alias.targets]] is a part of its alias. */
static bool is_next_header(struct span line, const char *noun)
{
	char part[32];

	if (!begins(line, "["))
		return false;
	(void)snprintf(part, sizeof(part), "[[%s.", noun);
	return !begins(line, part);
}

/*
 * From the header in @line to the entry's last line. What is written above the
 * next header belongs to that one.
 */
static bool find_block(struct span text, const char *header, const char *noun,
		       unsigned int line, size_t *ret_from, size_t *ret_to)
{
	size_t at = 0, to;
	struct span one;

	for (; line > 1 && at < text.len_bytes; line--)
		at += line_at(text, at).len_bytes;
	if (at >= text.len_bytes ||
	    !begins(without_indent(line_at(text, at)), header))
		return false;
	*ret_from = at;
	at += line_at(text, at).len_bytes;
	for (to = at; at < text.len_bytes; at += one.len_bytes) {
		struct span bare;

		one = line_at(text, at);
		bare = without_indent(one);
		if (is_next_header(bare, noun))
			break;
		if (bare.len_bytes && bare.data[0] != '\n' &&
		    bare.data[0] != '\r' && bare.data[0] != '#')
			to = at + one.len_bytes;
	}
	/* Of the two empty lines around it, one stays. */
	if (to < text.len_bytes && text.data[to] == '\n')
		to++;
	else if (to == text.len_bytes && *ret_from >= 2 &&
		 text.data[*ret_from - 1] == '\n' &&
		 text.data[*ret_from - 2] == '\n')
		(*ret_from)--;
	*ret_to = to;
	return true;
}

/**
 * config_edit_remove() - Take an entry out of a configuration file
 * @path:	File
 * @what:	Sort of entry
 * @name:	Its name
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_CONFIG when the rest would not load, or
 *	   the entry is not written under a header of its own; ERR_SYS with
 *	   errno; ERR_MEMORY.
 */
enum err config_edit_remove(const char *path, enum config_entry what,
			    const char *name, struct conf_error *error)
{
	struct config *config = NULL;
	size_t from = 0, to = 0;
	struct buf text, rest;
	unsigned int line;
	enum err e;

	buf_init(&text, CONF_TEXT_MAX_BYTES);
	buf_init(&rest, CONF_TEXT_MAX_BYTES);
	e = load(path, error, &config, &text);
	if (e != ERR_OK)
		goto out;
	line = line_of(config, what, name);
	if (!line) {
		(void)conf_fail_at(error, path, 0, "there is no %s \"%.80s\"",
				   entries[what].noun, name);
		e = ERR_NOT_FOUND;
		goto out;
	}
	if (!find_block(buf_span(&text), entries[what].header,
			entries[what].noun, line, &from, &to)) {
		e = conf_fail_at(error, path, line,
				 "%s \"%.80s\" is not written as %s; take it "
				 "out by hand",
				 entries[what].noun, name,
				 entries[what].header);
		goto out;
	}
	e = buf_put_span(&rest, span_of(text.data, from));
	if (e == ERR_OK)
		e = buf_put_span(&rest,
				 span_of(text.data + to, text.len_bytes - to));
	if (e == ERR_OK)
		e = check_result(buf_span(&rest), path, config, what, name,
				 false, error);
	if (e == ERR_OK)
		e = store(path, buf_span(&rest));
out:
	if (e != ERR_OK)
		(void)conf_fail_at(error, path, 0, "it cannot be removed: %s",
				   e == ERR_SYS ? strerror(errno)
						: err_text(e));
	config_free(config);
	buf_fini(&rest);
	buf_fini(&text);
	return e;
}

/* --- [vault] ------------------------------------------------------------ */

#define VAULT_HEADER "[vault]"

static bool is_key(struct span line, const char *key)
{
	size_t len = strlen(key);

	line = without_indent(line);
	if (!begins(line, key))
		return false;
	line = without_indent(span_of(line.data + len, line.len_bytes - len));
	return begins(line, "=");
}

/* Where the line stands, or would, and how long the one there is. */
static bool find_backend(struct span text, size_t *ret_at, size_t *ret_len)
{
	bool in_vault = false, found = false;
	struct span line;
	size_t at;

	for (at = 0; at < text.len_bytes; at += line.len_bytes) {
		line = line_at(text, at);
		if (begins(without_indent(line), "[")) {
			in_vault = begins(without_indent(line), VAULT_HEADER);
			if (in_vault) {
				found = true;
				*ret_at = at + line.len_bytes;
				*ret_len = 0;
			}
		} else if (in_vault && is_key(line, "backend")) {
			*ret_at = at;
			*ret_len = line.len_bytes;
			return true;
		}
	}
	return found;
}

static enum err put_backend(struct buf *out, struct span text,
			    const char *backend)
{
	size_t at = 0, len = 0;
	struct buf line;
	enum err e;

	buf_init(&line, 256);
	if (!find_backend(text, &at, &len)) {
		at = text.len_bytes;
		e = buf_put_text(&line, VAULT_HEADER "\n");
	} else {
		e = ERR_OK;
	}
	if (e == ERR_OK)
		e = config_edit_put_text(&line, "backend", backend);
	if (e == ERR_OK)
		e = buf_put_span(out, span_of(text.data, at));
	if (e == ERR_OK && at == text.len_bytes && len == 0)
		e = put_block(out, buf_span(&line));
	else if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&line));
	if (e == ERR_OK)
		e = buf_put_span(out, span_of(text.data + at + len,
					      text.len_bytes - at - len));
	buf_fini(&line);
	return e;
}

/**
 * config_edit_set_backend() - Write vault.backend
 * @path:	As for config_edit_add()
 * @backend:	As in the file
 * @write:	false: only say whether it could be
 * @error:	Receives one sentence
 *
 * Return: ERR_OK; ERR_CONFIG when the result would not load, or not say
 *	   exactly that; ERR_SYS with errno; ERR_MEMORY.
 */
enum err config_edit_set_backend(const char *path, const char *backend,
				 bool write, struct conf_error *error)
{
	struct config *config = NULL, *result = NULL;
	struct buf text, next;
	enum err e;

	buf_init(&text, CONF_TEXT_MAX_BYTES);
	buf_init(&next, CONF_TEXT_MAX_BYTES);
	e = load(path, error, &config, &text);
	if (e == ERR_OK)
		e = put_backend(&next, buf_span(&text), backend);
	if (e == ERR_OK)
		e = config_parse(buf_span(&next), path, error, &result);
	if (e == ERR_OK &&
	    (strcmp(config_vault_backend(result, false), backend) != 0 ||
	     count_of(config, CONFIG_ENTRY_PROVIDER) !=
		     count_of(result, CONFIG_ENTRY_PROVIDER) ||
	     !same_rest(config, result, CONFIG_ENTRY_PROVIDER)))
		e = conf_fail_at(error, path, 0,
				 "[vault] cannot be told from the rest of the "
				 "file; edit it by hand");
	if (e == ERR_OK && write)
		e = store(path, buf_span(&next));
	if (e != ERR_OK)
		(void)conf_fail_at(error, path, 0, "it cannot be written: %s",
				   e == ERR_SYS ? strerror(errno)
						: err_text(e));
	config_free(result);
	config_free(config);
	buf_fini(&next);
	buf_fini(&text);
	return e;
}
