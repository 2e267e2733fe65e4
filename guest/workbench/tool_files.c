/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_files.c - read and write text files of the VM
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing; file modes of the VM decide what may be touched.
 * Never:   opens what is not a regular file: a pipe or a device could keep
 *	    the agent waiting for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/base/file.h"
#include "guest/workbench/tools.h"

#define PATH_BYTES  4096
#define WHY_BYTES   256
#define FOLDER_MODE 0755
#define FILE_MODE   0644

static void fail_errno(struct tool_result *result, const char *what)
{
	char text[WHY_BYTES];

	(void)snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	tool_fail(result, text);
}

static bool take_path(const struct json *j, char *ret_path,
		      struct tool_result *result)
{
	json_ref at = json_get(j, JSON_ROOT, "path");

	if (at != JSON_NONE &&
	    json_text(j, at, ret_path, PATH_BYTES) == ERR_OK &&
	    ret_path[0] != '\0')
		return true;
	tool_fail(result, "The text `path` is missing or too long.");
	return false;
}

static bool take_number(const struct json *j, const char *key,
			uint64_t *ret_value, struct tool_result *result)
{
	json_ref at = json_get(j, JSON_ROOT, key);

	if (at == JSON_NONE ||
	    json_uint(j, at, 1, UINT32_MAX, ret_value) == ERR_OK)
		return true;
	tool_fail(result, "`offset` and `limit` are positive whole numbers.");
	return false;
}

static bool is_regular(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	return S_ISREG(st.st_mode);
}

static enum err read_all(int fd, struct buf *out)
{
	uint8_t *at;
	ssize_t n;
	enum err e;

	do {
		e = buf_reserve(out, 65536, &at);
		if (e != ERR_OK)
			return e;
		n = read(fd, at, 65536);
		buf_truncate(out,
			     out->len_bytes - 65536 + (n > 0 ? (size_t)n : 0));
	} while (n > 0);
	return n == 0 ? ERR_OK : ERR_SYS;
}

/* The lines asked for; sets the card's status. */
static void put_lines(struct span text, uint64_t offset, uint64_t limit,
		      struct tool_result *result)
{
	uint64_t line = 1, shown = 0;
	size_t start = 0, end;
	size_t i;

	for (i = 0; i < text.len_bytes && line < offset; i++)
		if (text.data[i] == '\n')
			line++;
	start = end = i;
	while (end < text.len_bytes && shown < limit) {
		const uint8_t *lf =
			memchr(text.data + end, '\n', text.len_bytes - end);
		size_t next =
			lf ? (size_t)(lf - text.data) + 1 : text.len_bytes;

		if (next - start > TOOL_READ_MAX_BYTES && shown > 0)
			break;
		end = next;
		shown++;
	}
	if (end - start > TOOL_READ_MAX_BYTES)
		end = start + TOOL_READ_MAX_BYTES;
	tool_put_output(result, span_of(text.data + start, end - start),
			span_of(NULL, 0), 0);
	(void)snprintf(result->status, sizeof(result->status), "%llu line%s",
		       (unsigned long long)shown, shown == 1 ? "" : "s");
	if (end < text.len_bytes &&
	    buf_printf(&result->output, "%s[more follows; use offset=%llu]",
		       end && text.data[end - 1] == '\n' ? "" : "\n",
		       (unsigned long long)(offset + shown)) != ERR_OK)
		result->is_error = true;
	if (shown == 0 && buf_put_text(&result->output, "(nothing there)"))
		result->is_error = true;
}

/** tool_read() - The tool `read` {path, offset?, limit?} */
void tool_read(const struct json *j, const struct tool_call *call,
	       struct tool_result *result)
{
	uint64_t offset = 1, limit = TOOL_READ_MAX_LINES;
	char path[PATH_BYTES];
	struct buf text;
	int fd;

	(void)call;
	if (!take_path(j, path, result) ||
	    !take_number(j, "offset", &offset, result) ||
	    !take_number(j, "limit", &limit, result))
		return;
	if (limit > TOOL_READ_MAX_LINES)
		limit = TOOL_READ_MAX_LINES;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		fail_errno(result, "The file could not be opened");
		return;
	}
	buf_init(&text, TOOL_FILE_MAX_BYTES);
	if (!is_regular(fd))
		tool_fail(result, "Not a regular file.");
	else if (read_all(fd, &text) != ERR_OK)
		tool_fail(result, "The file could not be read, or it is larger "
				  "than 16 MiB.");
	else
		put_lines(buf_span(&text), offset, limit, result);
	buf_fini(&text);
	(void)close(fd);
}

static void make_folders(char *path)
{
	char *at = path;

	while ((at = strchr(at + 1, '/')) != NULL) {
		*at = '\0';
		(void)mkdir(path, FOLDER_MODE);
		*at = '/';
	}
}

static void write_file(const char *path, struct span content,
		       struct tool_result *result)
{
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		      FILE_MODE);
	enum err e;

	if (fd < 0) {
		fail_errno(result, "The file could not be opened");
		return;
	}
	if (!is_regular(fd)) {
		tool_fail(result, "Not a regular file.");
		(void)close(fd);
		return;
	}
	e = ftruncate(fd, 0) == 0 ? file_write_all(fd, content) : ERR_SYS;
	if (e == ERR_OK && close(fd) == 0) {
		(void)snprintf(result->status, sizeof(result->status),
			       "%zu bytes", content.len_bytes);
		if (buf_printf(&result->output, "Wrote %zu bytes.",
			       content.len_bytes) != ERR_OK)
			result->is_error = true;
		return;
	}
	fail_errno(result, "The file could not be written");
	if (e != ERR_OK)
		(void)close(fd);
}

/** tool_write() - The tool `write` {path, content} */
void tool_write(const struct json *j, const struct tool_call *call,
		struct tool_result *result)
{
	json_ref at = json_get(j, JSON_ROOT, "content");
	char path[PATH_BYTES];
	struct buf content;

	(void)call;
	if (!take_path(j, path, result))
		return;
	buf_init(&content, TOOL_FILE_MAX_BYTES);
	if (at == JSON_NONE || json_string(j, at, &content) != ERR_OK) {
		tool_fail(result, "write needs the text `content`.");
	} else {
		make_folders(path);
		write_file(path, buf_span(&content), result);
	}
	buf_fini(&content);
}
