/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.c - a cgroup v2 folder for each session, where the host allows it
 *
 * Runs in: kenazd; kenaz-launch only gets the folder's descriptor.
 * Trusts:  the kernel's files.
 * Never:   touches a folder that was not given to this engine: one that is
 *	    configured, or that says it is delegated; nor removes a folder
 *	    without this engine's own prefix.
 *
 * Theory of operation. A delegated cgroup (systemd's Delegate=yes, which marks
 * it with an extended attribute; or one that belongs to an engine's user) is
 * the engine's to divide. As no cgroup may hold both processes and limited
 * children, the engine's two processes move into a leaf of it first; whoever
 * else is in there makes it unusable. A configured folder is taken as it is.
 * kenaz-launch starts QEMU with clone3(CLONE_INTO_CGROUP): there is no moment
 * at which it runs outside. Folders are named by the engine's state folder and
 * the session; one that is left over is empty, as QEMU does not outlive its
 * launcher, and goes at the next start.
 */
#include "engine/base/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/text.h"

#define LEAF "kenaz-engine"

/* --- reading ---------------------------------------------------------- */

static bool next_line(struct span *text, struct span *ret_line)
{
	const uint8_t *end;

	if (text->len_bytes == 0)
		return false;
	end = memchr(text->data, '\n', text->len_bytes);
	if (!end)
		end = text->data + text->len_bytes;
	*ret_line = span_of(text->data, (size_t)(end - text->data));
	*text = (size_t)(end - text->data) == text->len_bytes
			? span_of(end, 0)
			: span_of(end + 1,
				  text->len_bytes - ret_line->len_bytes - 1);
	return true;
}

static bool next_word(struct span *line, struct span *ret_word)
{
	const uint8_t *end;

	if (line->len_bytes == 0)
		return false;
	end = memchr(line->data, ' ', line->len_bytes);
	if (!end)
		end = line->data + line->len_bytes;
	*ret_word = span_of(line->data, (size_t)(end - line->data));
	*line = (size_t)(end - line->data) == line->len_bytes
			? span_of(end, 0)
			: span_of(end + 1,
				  line->len_bytes - ret_word->len_bytes - 1);
	return true;
}

/* The last file system of type cgroup2: ID PARENT DEV ROOT POINT ... - TYPE */
static enum err find_mount(struct span mountinfo, struct span *ret_root,
			   struct span *ret_point)
{
	struct span line, word, root, point;
	bool found = false;

	while (next_line(&mountinfo, &line)) {
		size_t at = 0;
		bool after = false;

		root = point = span_of(NULL, 0);
		while (next_word(&line, &word)) {
			if (at == 3)
				root = word;
			else if (at == 4)
				point = word;
			at++;
			if (after) {
				if (span_is(word, "cgroup2")) {
					*ret_root = root;
					*ret_point = point;
					found = true;
				}
				break;
			}
			after = at > 6 && span_is(word, "-");
		}
	}
	/* An octal escape stands for a blank: nobody mounts cgroups there. */
	return !found || memchr(ret_point->data, '\\', ret_point->len_bytes)
		       ? ERR_NOT_FOUND
		       : ERR_OK;
}

/**
 * cgroup_parse_own() - Where this process's cgroup v2 is in the file system
 * @proc_cgroup:	Bytes of /proc/self/cgroup
 * @mountinfo:		Bytes of /proc/self/mountinfo
 * @ret_path:		Folder of the cgroup
 * @ret_mount:		Folder of the hierarchy
 * @cap_bytes:		Size of both
 *
 * Return: ERR_OK; ERR_NOT_FOUND without cgroup v2, or outside of what is
 *	   mounted; ERR_LIMIT for a longer path.
 */
enum err cgroup_parse_own(struct span proc_cgroup, struct span mountinfo,
			  char *ret_path, char *ret_mount, size_t cap_bytes)
{
	struct span line, root = span_of(NULL, 0), point = root, own = root;
	enum err e = find_mount(mountinfo, &root, &point);

	if (e != ERR_OK)
		return e;
	while (next_line(&proc_cgroup, &line))
		if (line.len_bytes > 3 && memcmp(line.data, "0::", 3) == 0)
			own = span_of(line.data + 3, line.len_bytes - 3);
	if (own.len_bytes == 0 || own.data[0] != '/')
		return ERR_NOT_FOUND;
	/* The mount may show only a part of the hierarchy. */
	if (root.len_bytes > 1) {
		if (own.len_bytes < root.len_bytes ||
		    memcmp(own.data, root.data, root.len_bytes) != 0)
			return ERR_NOT_FOUND;
		own = span_of(own.data + root.len_bytes,
			      own.len_bytes - root.len_bytes);
	}
	if (own.len_bytes == 1)
		own = span_of(own.data, 0);
	e = text_format(ret_mount, cap_bytes, "%.*s", (int)point.len_bytes,
			(const char *)point.data);
	if (e == ERR_OK)
		e = text_format(ret_path, cap_bytes, "%.*s%.*s",
				(int)point.len_bytes, (const char *)point.data,
				(int)own.len_bytes, (const char *)own.data);
	return e;
}

static enum err find_own(const char *proc_dir, char *ret_path, char *ret_mount,
			 size_t cap_bytes)
{
	static char groups[CGROUP_FILE_BYTES], mounts[CGROUP_FILE_BYTES];
	struct span group_text, mount_text;
	char path[CGROUP_PATH_BYTES];
	enum err e =
		text_format(path, sizeof(path), "%s/self/cgroup", proc_dir);

	if (e == ERR_OK)
		e = file_read(path, groups, sizeof(groups), &group_text);
	if (e == ERR_OK)
		e = text_format(path, sizeof(path), "%s/self/mountinfo",
				proc_dir);
	if (e == ERR_OK)
		e = file_read(path, mounts, sizeof(mounts), &mount_text);
	if (e == ERR_OK)
		e = cgroup_parse_own(group_text, mount_text, ret_path,
				     ret_mount, cap_bytes);
	return e;
}

/* One number in a file; "max" is not one. */
static enum err read_figure(const char *folder, const char *name,
			    uint64_t *ret_value)
{
	char path[CGROUP_PATH_BYTES + 32], buffer[64];
	struct span text;
	enum err e = text_format(path, sizeof(path), "%s/%s", folder, name);

	if (e == ERR_OK)
		e = file_read(path, buffer, sizeof(buffer), &text);
	if (e != ERR_OK)
		return e;
	while (text.len_bytes && text.data[text.len_bytes - 1] == '\n')
		text.len_bytes--;
	return text_parse_u64(text, 0, UINT64_MAX, ret_value);
}

/**
 * cgroup_memory_left() - The least that this process's cgroups still allow
 * @proc_dir:	"/proc"; tests pass their own
 * @ret_mib:	What is left under the tightest memory.max
 *
 * Return: ERR_OK; ERR_NOT_FOUND when none limits memory; ERR_LIMIT.
 */
enum err cgroup_memory_left(const char *proc_dir, uint64_t *ret_mib)
{
	char path[CGROUP_PATH_BYTES], mount[CGROUP_PATH_BYTES], *slash;
	uint64_t most, now, left = UINT64_MAX;
	enum err e = find_own(proc_dir, path, mount, sizeof(path));

	if (e != ERR_OK)
		return e;
	while (strlen(path) > strlen(mount)) {
		if (read_figure(path, "memory.max", &most) == ERR_OK &&
		    read_figure(path, "memory.current", &now) == ERR_OK) {
			uint64_t rest = most > now ? most - now : 0;

			left = rest < left ? rest : left;
		}
		slash = strrchr(path, '/');
		*slash = '\0';
	}
	if (left == UINT64_MAX)
		return ERR_NOT_FOUND;
	*ret_mib = left >> 20;
	return ERR_OK;
}

/* --- writing ---------------------------------------------------------- */

static enum err write_file(const char *folder, const char *name,
			   const char *text)
{
	char path[CGROUP_PATH_BYTES + CGROUP_NAME_BYTES + 32];
	ssize_t n;
	int fd;

	if (text_format(path, sizeof(path), "%s/%s", folder, name) != ERR_OK)
		return ERR_LIMIT;
	/* There O_CREAT never makes a file; in a test's plain folder it does.
	 */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ERR_SYS;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? ERR_OK : ERR_SYS;
}

static bool has_word(const char *folder, const char *name, const char *wanted)
{
	char path[CGROUP_PATH_BYTES + 32], buffer[1024];
	struct span text, line, word;

	if (text_format(path, sizeof(path), "%s/%s", folder, name) != ERR_OK ||
	    file_read(path, buffer, sizeof(buffer), &text) != ERR_OK)
		return false;
	while (next_line(&text, &line))
		while (next_word(&line, &word))
			if (span_is(word, wanted))
				return true;
	return false;
}

/* Pass the controllers on to the sessions' folders; cpu may be missing. */
static enum err pass_controllers(struct cgroups *g)
{
	static const char *const needed[] = {"memory", "pids"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needed); i++) {
		char word[16];

		(void)snprintf(word, sizeof(word), "+%s", needed[i]);
		if (!has_word(g->parent, "cgroup.controllers", needed[i])) {
			(void)snprintf(g->reason, sizeof(g->reason),
				       "%.160s has no controller %s", g->parent,
				       needed[i]);
			return ERR_UNSUPPORTED;
		}
		if (write_file(g->parent, "cgroup.subtree_control", word) !=
		    ERR_OK) {
			(void)snprintf(g->reason, sizeof(g->reason),
				       "%.160s does not pass %s on: %s",
				       g->parent, needed[i], strerror(errno));
			return ERR_SYS;
		}
	}
	if (has_word(g->parent, "cgroup.controllers", "cpu") &&
	    write_file(g->parent, "cgroup.subtree_control", "+cpu") != ERR_OK)
		log_info("sessions have no share of the CPU: %s",
			 strerror(errno));
	return ERR_OK;
}

static bool is_delegated(const char *path)
{
	static const char *const marks[] = {"user.delegate",
					    "trusted.delegate"};
	struct stat st;
	char value;
	size_t i;

	if (stat(path, &st) < 0)
		return false;
	if (geteuid() != 0 && st.st_uid == geteuid())
		return true;
	for (i = 0; i < ARRAY_SIZE(marks); i++)
		if (getxattr(path, marks[i], &value, 1) == 1 && value == '1')
			return true;
	return false;
}

/* Only the engine's own processes, or nobody, may be in it. */
static bool is_ours_alone(const char *path, const pid_t *engine, size_t count)
{
	static char buffer[CGROUP_FILE_BYTES];
	char file[CGROUP_PATH_BYTES + 32];
	struct span text, line;
	uint64_t pid;
	size_t i;

	if (text_format(file, sizeof(file), "%s/cgroup.procs", path) !=
		    ERR_OK ||
	    file_read(file, buffer, sizeof(buffer), &text) != ERR_OK)
		return false;
	while (next_line(&text, &line)) {
		if (text_parse_u64(line, 0, INT32_MAX, &pid) != ERR_OK)
			return false;
		for (i = 0; i < count; i++)
			if ((pid_t)pid == engine[i])
				break;
		if (i == count)
			return false;
	}
	return true;
}

static enum err move_engine(struct cgroups *g, const pid_t *engine,
			    size_t count)
{
	char leaf[CGROUP_PATH_BYTES + 32], text[32];
	size_t i;

	if (text_format(leaf, sizeof(leaf), "%s/" LEAF, g->parent) != ERR_OK ||
	    (mkdir(leaf, 0700) < 0 && errno != EEXIST))
		return ERR_SYS;
	for (i = 0; i < count; i++) {
		(void)snprintf(text, sizeof(text), "%d", (int)engine[i]);
		if (write_file(leaf, "cgroup.procs", text) != ERR_OK)
			return ERR_SYS;
	}
	return ERR_OK;
}

static enum err use_own(struct cgroups *g, const char *proc_dir,
			const pid_t *engine, size_t count)
{
	char mount[CGROUP_PATH_BYTES], *slash;
	enum err e = find_own(proc_dir, g->parent, mount, sizeof(g->parent));

	if (e != ERR_OK) {
		(void)snprintf(g->reason, sizeof(g->reason),
			       "cgroup v2 is not mounted");
		return e;
	}
	/* A second engine in the same unit finds the first one's leaf. */
	slash = strrchr(g->parent, '/');
	if (slash && strcmp(slash + 1, LEAF) == 0)
		*slash = '\0';
	if (!is_delegated(g->parent)) {
		(void)snprintf(g->reason, sizeof(g->reason),
			       "the engine's cgroup %.160s is not delegated "
			       "to it",
			       g->parent);
		return ERR_PERMISSION;
	}
	if (!is_ours_alone(g->parent, engine, count)) {
		(void)snprintf(g->reason, sizeof(g->reason),
			       "other processes are in the engine's cgroup "
			       "%.160s",
			       g->parent);
		return ERR_PERMISSION;
	}
	e = move_engine(g, engine, count);
	if (e != ERR_OK)
		(void)snprintf(g->reason, sizeof(g->reason),
			       "the engine cannot move within %.160s: %s",
			       g->parent, strerror(errno));
	return e;
}

/**
 * cgroups_open() - Find out where sessions can have cgroups of their own
 * @g:			Written
 * @proc_dir:		"/proc"; tests pass their own
 * @setting:		"auto", "off", or the folder to use
 * @prefix:		Begins the name of each folder, this engine's alone
 * @engine:		Processes of the engine, which may be moved into a leaf
 * @engine_count:	How many
 *
 * Where there are none, sessions start without: resource limits hold.
 */
void cgroups_open(struct cgroups *g, const char *proc_dir, const char *setting,
		  const char *prefix, const pid_t *engine, size_t engine_count)
{
	enum err e = ERR_OK;

	*g = (struct cgroups){0};
	(void)snprintf(g->prefix, sizeof(g->prefix), "%s", prefix);
	if (strcmp(setting, "off") == 0) {
		(void)snprintf(g->reason, sizeof(g->reason),
			       "switched off by engine.cgroup");
		return;
	}
	if (strcmp(setting, "auto") == 0)
		e = use_own(g, proc_dir, engine, engine_count);
	else if (text_format(g->parent, sizeof(g->parent), "%s", setting) !=
		 ERR_OK)
		e = ERR_LIMIT;
	if (e == ERR_OK)
		e = pass_controllers(g);
	g->usable = e == ERR_OK;
	if (g->usable)
		log_info("sessions get cgroups below %s", g->parent);
	else
		log_info("sessions get no cgroups: %s", g->reason);
}

static enum err folder_of(const struct cgroups *g, const char *name,
			  char *ret_path, size_t cap_bytes)
{
	return text_format(ret_path, cap_bytes, "%s/%s%s", g->parent, g->prefix,
			   name);
}

/**
 * cgroups_sweep() - Remove what an engine that was killed left behind
 * @g:	Usable or not
 *
 * Only empty folders with our prefix go: in others a session still runs.
 */
void cgroups_sweep(const struct cgroups *g)
{
	struct dirent *entry;
	DIR *dir;

	if (!g->usable)
		return;
	dir = opendir(g->parent);
	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, g->prefix, strlen(g->prefix)) == 0 &&
		    unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0)
			log_info("removed the cgroup %s, left over",
				 entry->d_name);
	if (dir)
		closedir(dir);
}

/**
 * cgroup_make() - Make a session's cgroup and set its limits
 * @g:		Usable
 * @name:	Session
 * @limits:	memory.max, pids.max, cpu.max; no swap
 * @ret_fd:	Folder, owned by the caller, for clone3()
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT.
 */
enum err cgroup_make(const struct cgroups *g, const char *name,
		     const struct cgroup_limits *limits, int *ret_fd)
{
	char path[CGROUP_PATH_BYTES + CGROUP_NAME_BYTES], text[64];
	enum err e = folder_of(g, name, path, sizeof(path));
	int fd;

	if (e != ERR_OK)
		return e;
	if (mkdir(path, 0700) < 0)
		return ERR_SYS;
	(void)snprintf(text, sizeof(text), "%llu",
		       (unsigned long long)limits->memory_bytes);
	e = write_file(path, "memory.max", text);
	if (e == ERR_OK) {
		(void)snprintf(text, sizeof(text), "%u", limits->tasks);
		e = write_file(path, "pids.max", text);
	}
	if (e != ERR_OK)
		goto fail;
	(void)snprintf(text, sizeof(text), "%llu %u",
		       (unsigned long long)CGROUP_PERIOD_US *
			       limits->cpu_percent / 100,
		       CGROUP_PERIOD_US);
	/* Kernels without swap, or without the cpu controller, have no file. */
	if (write_file(path, "cpu.max", text) != ERR_OK ||
	    write_file(path, "memory.swap.max", "0") != ERR_OK ||
	    write_file(path, "memory.oom.group", "1") != ERR_OK)
		log_debug("the cgroup of %s has fewer limits", name);
	e = ERR_SYS;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		goto fail;
	*ret_fd = fd;
	return ERR_OK;
fail:
	(void)rmdir(path);
	return e;
}

/**
 * cgroup_remove() - End whatever is left in a session's cgroup; remove it
 * @g:		Usable
 * @name:	Session
 *
 * Return: ERR_OK when it is gone; ERR_AGAIN while the kernel still ends
 *	   processes in it; ERR_SYS with errno.
 */
enum err cgroup_remove(const struct cgroups *g, const char *name)
{
	char path[CGROUP_PATH_BYTES + CGROUP_NAME_BYTES];
	enum err e = folder_of(g, name, path, sizeof(path));

	if (e != ERR_OK)
		return e;
	if (rmdir(path) == 0 || errno == ENOENT)
		return ERR_OK;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return ERR_SYS;
	e = write_file(path, "cgroup.kill", "1");
	return e == ERR_OK ? ERR_AGAIN : e;
}

/** cgroup_was_out_of_memory() - Whether memory.max ended something in it */
bool cgroup_was_out_of_memory(const struct cgroups *g, const char *name)
{
	char path[CGROUP_PATH_BYTES + CGROUP_NAME_BYTES + 32], buffer[1024];
	struct span text, line, word;
	uint64_t count;

	if (!g->usable ||
	    text_format(path, sizeof(path), "%s/%s%s/memory.events", g->parent,
			g->prefix, name) != ERR_OK ||
	    file_read(path, buffer, sizeof(buffer), &text) != ERR_OK)
		return false;
	while (next_line(&text, &line))
		if (next_word(&line, &word) && span_is(word, "oom_kill"))
			return text_parse_u64(line, 1, UINT64_MAX, &count) ==
			       ERR_OK;
	return false;
}
