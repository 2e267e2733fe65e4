/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_add.c - add a provider to kenaz.toml for `kenaz provider add`
 *
 * Runs in: kenazd.
 * Trusts:  the administrator who asks; the result is parsed all the same.
 * Never:   leaves a file behind that does not load, changes what is there.
 */
#include "engine/core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/paths.h"

#define ADD_TEMP_SUFFIX ".new"

static enum err put_quoted(struct buf *out, const char *text)
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

static enum err put_key(struct buf *out, const char *key, const char *value)
{
	enum err e;

	if (!value)
		return ERR_OK;
	e = buf_printf(out, "%s = ", key);
	if (e == ERR_OK)
		e = put_quoted(out, value);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	return e;
}

static enum err put_lists(struct buf *out,
			  const struct config_provider *provider)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < provider->model_count; i++) {
		e = buf_put_text(out, i ? ", " : "models = [");
		if (e == ERR_OK)
			e = put_quoted(out, provider->models[i]);
	}
	if (e == ERR_OK && i)
		e = buf_put_text(out, "]\n");
	return e;
}

static enum err put_provider(struct buf *out,
			     const struct config_provider *provider)
{
	const struct {
		const char *key;
		const char *value;
	} keys[] = {
		{"name", provider->name},         {"kind", provider->kind},
		{"endpoint", provider->endpoint}, {"secret", provider->secret},
		{"ca_file", provider->ca_file},   {"region", provider->region},
	};
	enum err e = ERR_OK;

	if (out->len_bytes && out->data[out->len_bytes - 1] != '\n')
		e = buf_put_u8(out, '\n');
	if (e == ERR_OK && out->len_bytes)
		e = buf_put_u8(out, '\n');
	if (e == ERR_OK)
		e = buf_put_text(out, "[[provider]]\n");
	for (size_t i = 0; e == ERR_OK && i < ARRAY_SIZE(keys); i++)
		e = put_key(out, keys[i].key, keys[i].value);
	if (e == ERR_OK && provider->allow_http)
		e = buf_put_text(out, "allow_http = true\n");
	if (e == ERR_OK)
		e = put_lists(out, provider);
	return e;
}

static enum err write_all(int fd, struct span text)
{
	while (text.len_bytes) {
		ssize_t n = write(fd, text.data, text.len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYS;
		text.data += n;
		text.len_bytes -= (size_t)n;
	}
	return fsync(fd) == 0 ? ERR_OK : ERR_SYS;
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
		  sizeof(ADD_TEMP_SUFFIX)];
	struct stat st;
	mode_t mode = 0600;
	enum err e;
	int fd;

	if (snprintf(temp, sizeof(temp), "%s" ADD_TEMP_SUFFIX, path) >=
	    (int)sizeof(temp))
		return ERR_LIMIT;
	if (stat(path, &st) == 0)
		mode = st.st_mode & 0777;
	(void)unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return ERR_SYS;
	e = write_all(fd, text);
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

static enum err check_result(struct span text, const char *path,
			     const char *name, struct conf_error *error)
{
	struct config *config = NULL;
	enum err e = config_parse(text, path, error, &config);

	if (e == ERR_OK && !config_find_provider(config, name))
		e = conf_fail_at(error, path, 0,
				 "the provider did not end up in the file");
	config_free(config);
	return e;
}

/**
 * config_add_provider() - Append a provider to a configuration file
 * @path:	File; made with mode 0600 when it does not exist. A symbolic
 *		link is followed, its target replaced
 * @provider:	What to add; @provider->line is ignored
 * @error:	Receives one sentence
 *
 * The new text is parsed as a whole before anything is written, and takes the
 * old one's place in one rename.
 *
 * Return: ERR_OK; ERR_EXISTS when the name is taken; ERR_CONFIG when the
 *	   result would not load; ERR_SYS with errno; ERR_MEMORY.
 */
enum err config_add_provider(const char *path,
			     const struct config_provider *provider,
			     struct conf_error *error)
{
	struct config *config = NULL;
	char *real = NULL;
	struct buf text;
	enum err e;

	buf_init(&text, CONF_TEXT_MAX_BYTES);
	e = config_load(path, error, &config);
	if (e != ERR_OK)
		goto out;
	if (config_find_provider(config, provider->name)) {
		(void)conf_fail_at(error, path, 0,
				   "there is a provider \"%.80s\" already",
				   provider->name);
		e = ERR_EXISTS;
		goto out;
	}
	e = conf_read(path, false, error, &text);
	if (e == ERR_NOT_FOUND)
		e = ERR_OK;
	text.max_bytes = CONF_TEXT_MAX_BYTES;
	if (e == ERR_OK)
		e = put_provider(&text, provider);
	if (e == ERR_OK)
		e = check_result(buf_span(&text), path, provider->name, error);
	if (e != ERR_OK)
		goto out;
	real = realpath(path, NULL);
	e = replace_file(real ? real : path, buf_span(&text));
out:
	if (e != ERR_OK)
		(void)conf_fail_at(error, path, 0,
				   "the provider cannot be added: %s",
				   e == ERR_SYS ? strerror(errno)
						: err_text(e));
	free(real);
	config_free(config);
	buf_fini(&text);
	return e;
}
