/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_find.c - which engine to talk to, and starting the user's own
 *
 * Runs in: kenaz.
 * Trusts:  root, and a socket whose listener runs as this user or as root.
 * Never:   talks to a socket in a folder that others may write to.
 *
 * Order: --socket or KENAZ_SOCKET and nothing else; the user's engine, where
 * engine/base/paths.h or the lock of its state says; the system's; else the
 * user's is started, and ends by itself once nobody needs it. Nothing is
 * started in the place of a service engine that is being restarted: it has
 * left its socket, or sessions that wait for it.
 */
#include "tui/engine_find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "tui/program.h"

#define POLL_MS        20u
#define PROGRESS_MS    500u
#define LOG_TAIL_BYTES 600u
#define CONNECT_TRIES  50

extern char **environ;

static void set_error(struct engine_found *found, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void set_error(struct engine_found *found, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(found->error, sizeof(found->error), format, args);
	va_end(args);
}

/* A full backlog answers EAGAIN at once, also to blocking sockets. */
static int connect_patiently(int fd, const struct sockaddr_un *address)
{
	int tries;

	for (tries = 0; tries < CONNECT_TRIES; tries++) {
		if (connect(fd, (const struct sockaddr *)address,
			    sizeof(*address)) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -1;
		if (poll(NULL, 0, (int)POLL_MS) < 0 && errno != EINTR)
			return -1;
	}
	return -1;
}

static enum err connect_to(const char *path, bool own,
			   struct engine_found *found)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	size_t path_len = strlen(path);
	int fd;

	if (path_len >= sizeof(address.sun_path)) {
		set_error(found,
			  "the socket's path is longer than %zu bytes: "
			  "%s",
			  sizeof(address.sun_path) - 1, path);
		return ERR_LIMIT;
	}
	memcpy(address.sun_path, path, path_len + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_SYS;
	if (connect_patiently(fd, &address) != 0) {
		int failed = errno;

		close(fd);
		found->refused = failed == ECONNREFUSED;
		set_error(found, "cannot connect to the engine at %s: %s", path,
			  strerror(failed));
		return failed == ENOENT || failed == ECONNREFUSED
			       ? ERR_NOT_FOUND
		       : failed == EACCES ? ERR_PERMISSION
					  : ERR_SYS;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		close(fd);
		return ERR_SYS;
	}
	if (own && peer.uid != getuid() && peer.uid != 0) {
		close(fd);
		set_error(found,
			  "the engine at %s runs as user %lu, not as "
			  "you",
			  path, (unsigned long)peer.uid);
		return ERR_PERMISSION;
	}
	found->fd = fd;
	(void)snprintf(found->path, sizeof(found->path), "%s", path);
	return ERR_OK;
}

/* The folder of a user's socket: absent, or this user's alone. */
static enum err check_folder(const char *socket_path,
			     struct engine_found *found)
{
	char folder[ENGINE_PATH_MAX_BYTES];
	const char *slash = strrchr(socket_path, '/');
	size_t len = slash ? (size_t)(slash - socket_path) : 0;
	struct stat st;

	memcpy(folder, socket_path, len);
	folder[len] = '\0';
	if (lstat(folder, &st) != 0) {
		if (errno == ENOENT)
			return ERR_OK;
		set_error(found, "cannot look at %s: %s", folder,
			  strerror(errno));
		return ERR_SYS;
	}
	if (S_ISDIR(st.st_mode) && st.st_uid == getuid() &&
	    (st.st_mode & 022) == 0)
		return ERR_OK;
	set_error(found,
		  "%s must be a folder that belongs to you and that "
		  "nobody else may write to; remove it or give another "
		  "--socket",
		  folder);
	return ERR_PERMISSION;
}

/* Where an engine that nobody watches writes its diagnostics. */
static int open_log(const struct paths *paths, char *ret_path, size_t cap_bytes,
		    struct engine_found *found)
{
	struct conf_error error = {0};
	int fd;

	if (paths_make_private(paths->state.path, &error) != ERR_OK ||
	    paths_join(paths->state.path, "kenazd.log", ret_path, cap_bytes) !=
		    ERR_OK) {
		set_error(found, "%s", error.text);
		return -1;
	}
	fd = open(ret_path,
		  O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		set_error(found, "cannot open the engine's log %s: %s",
			  ret_path, strerror(errno));
	return fd;
}

static enum err spawn_engine(const char *program, int log_fd, pid_t *ret_pid)
{
	char *const argv[] = {(char[]){"kenazd"}, (char[]){"--idle-exit"},
			      NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	enum err e = ERR_SYS;

	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&files) != 0)
		return ERR_SYS;
	if (posix_spawnattr_init(&attributes) != 0)
		goto out_files;
	if (posix_spawnattr_setflags(&attributes,
				     POSIX_SPAWN_SETSID |
					     POSIX_SPAWN_SETSIGMASK) != 0 ||
	    posix_spawnattr_setsigmask(&attributes, &none) != 0 ||
	    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY,
					     0) != 0 ||
	    posix_spawn_file_actions_adddup2(&files, log_fd, 1) != 0 ||
	    posix_spawn_file_actions_adddup2(&files, log_fd, 2) != 0 ||
	    posix_spawn_file_actions_addchdir_np(&files, "/") != 0)
		goto out;
	if (posix_spawn(ret_pid, program, &files, &attributes, argv, environ) ==
	    0)
		e = ERR_OK;
out:
	posix_spawnattr_destroy(&attributes);
out_files:
	posix_spawn_file_actions_destroy(&files);
	return e;
}

/* The last line that a failed engine wrote, as the reason. */
static void last_words(int log_fd, off_t start, struct engine_found *found,
		       const char *log_path)
{
	char raw[LOG_TAIL_BYTES + 1];
	char *line = raw, *next;
	off_t end = lseek(log_fd, 0, SEEK_END), from;
	ssize_t n;

	from = end - (off_t)LOG_TAIL_BYTES > start ? end - (off_t)LOG_TAIL_BYTES
						   : start;
	n = pread(log_fd, raw, LOG_TAIL_BYTES, from);
	if (n <= 0) {
		set_error(found, "the engine ended at once without a reason; "
				 "try 'kenaz serve'");
		return;
	}
	if (raw[n - 1] == '\n')
		n--;
	raw[n] = '\0';
	while ((next = strchr(line, '\n')) != NULL)
		line = next + 1;
	set_error(found, "the engine did not start: %s (log: %s)", line,
		  log_path);
}

static enum err wait_for_socket(const char *path, pid_t pid,
				engine_progress_fn progress, void *user,
				struct engine_found *found)
{
	unsigned waited_ms = 0;
	enum err e;

	for (;;) {
		int status;

		e = connect_to(path, true, found);
		if (e != ERR_NOT_FOUND)
			return e;
		if (waitpid(pid, &status, WNOHANG) == pid) {
			/* It may have given way to one started meanwhile. */
			e = connect_to(path, true, found);
			return e == ERR_NOT_FOUND ? ERR_CLOSED : e;
		}
		if (waited_ms >= ENGINE_START_MAX_MS) {
			set_error(found,
				  "the engine was started but did not "
				  "open %s within %u s",
				  path, ENGINE_START_MAX_MS / 1000);
			return ERR_TIMEOUT;
		}
		if (poll(NULL, 0, (int)POLL_MS) < 0 && errno != EINTR)
			return ERR_SYS;
		waited_ms += POLL_MS;
		if (progress && waited_ms % PROGRESS_MS == 0)
			progress(user, waited_ms);
	}
}

static enum err start(const struct paths *paths, engine_progress_fn progress,
		      void *user, struct engine_found *found)
{
	char program[PROGRAM_PATH_MAX_BYTES], log_path[PROGRAM_PATH_MAX_BYTES];
	int log_fd = -1;
	off_t log_start;
	pid_t pid;
	enum err e = program_find("kenazd", program, sizeof(program));

	if (e != ERR_OK) {
		set_error(found,
			  "no engine is running, and kenazd is neither "
			  "beside kenaz nor in %s",
			  KENAZ_LIBEXECDIR);
		return e;
	}
	if (progress)
		progress(user, 0);
	log_fd = open_log(paths, log_path, sizeof(log_path), found);
	if (log_fd < 0)
		return ERR_SYS;
	log_start = lseek(log_fd, 0, SEEK_END);
	e = spawn_engine(program, log_fd, &pid);
	if (e != ERR_OK) {
		set_error(found, "cannot start %s", program);
	} else {
		e = wait_for_socket(paths->socket, pid, progress, user, found);
		if (e == ERR_CLOSED)
			last_words(log_fd, log_start, found, log_path);
		found->started = e == ERR_OK;
	}
	close(log_fd);
	return e;
}

/* The user's engine may answer elsewhere: started with or without an
 * XDG_RUNTIME_DIR that this program lacks or has. Its lock names its socket. */
static enum err connect_to_holder(const struct paths *paths,
				  struct engine_found *found)
{
	char lock[PATHS_MAX_BYTES], path[PATHS_SOCKET_MAX_BYTES];
	struct stat st;
	ssize_t n;
	int fd;

	if (paths_join(paths->state.path, PATHS_LOCK_NAME, lock,
		       sizeof(lock)) != ERR_OK)
		return ERR_NOT_FOUND;
	fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return ERR_NOT_FOUND;
	n = fstat(fd, &st) == 0 && st.st_uid == getuid()
		    ? read(fd, path, sizeof(path) - 1)
		    : 0;
	close(fd);
	path[n > 0 ? n : 0] = '\0';
	if (path[0] != '/' || check_folder(path, found) != ERR_OK)
		return ERR_NOT_FOUND;
	return connect_to(path, true, found);
}

/* Records of sessions that outlive their engine: engine/core/keeping.c. */
static bool has_kept_sessions(const struct paths *paths)
{
	static const char suffix[] = ".json";
	char path[PATHS_MAX_BYTES];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (paths_join(paths->state.path, "sessions", path, sizeof(path)) !=
	    ERR_OK)
		return false;
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		found = len > sizeof(suffix) - 1 &&
			strcmp(entry->d_name + len - (sizeof(suffix) - 1),
			       suffix) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* ERR_OK: no service engine has this place and is only away for now. */
static enum err check_absence(const struct paths *paths, bool system_refused,
			      struct engine_found *found)
{
	if (system_refused) {
		set_error(found,
			  "the host's engine at " ENGINE_SYSTEM_SOCKET
			  " does not answer; it may be restarting: try again");
		return ERR_NOT_FOUND;
	}
	if (has_kept_sessions(paths)) {
		set_error(found,
			  "your engine is a service that is not running, and "
			  "sessions wait for it in %s/sessions: start it, for "
			  "example with 'kenaz serve'",
			  paths->state.path);
		return ERR_NOT_FOUND;
	}
	return ERR_OK;
}

/**
 * engine_find() - Connect to the engine
 * @socket_path:	The one the user asked for, or NULL
 * @may_start:		Start the user's engine when none answers
 * @progress:		Told while an engine is being started, or NULL
 * @user:		For @progress
 * @ret_found:		Always written: the connection, owned by the caller, or
 *			a sentence in its error
 *
 * Return: ERR_OK; any other error with the sentence.
 */
enum err engine_find(const char *socket_path, bool may_start,
		     engine_progress_fn progress, void *user,
		     struct engine_found *ret_found)
{
	const struct paths_options options = {0};
	struct paths_environment environment;
	struct conf_error error = {0};
	struct paths paths;
	enum err e;

	*ret_found = (struct engine_found){.fd = -1};
	set_error(ret_found, "cannot reach the engine");
	if (!socket_path || !socket_path[0])
		socket_path = getenv("KENAZ_SOCKET");
	if (socket_path && socket_path[0]) {
		e = connect_to(socket_path, false, ret_found);
		if (e == ERR_NOT_FOUND)
			set_error(ret_found,
				  "no engine listens at %s; start one with "
				  "'kenaz --socket %s serve'",
				  socket_path, socket_path);
		return e;
	}
	paths_environment_read(&environment);
	e = paths_resolve(&options, &environment, &error, &paths);
	if (e != ERR_OK) {
		set_error(ret_found, "%s", error.text);
		return e;
	}
	e = check_folder(paths.socket, ret_found);
	if (e != ERR_OK)
		return e;
	e = connect_to(paths.socket, true, ret_found);
	ret_found->fallback = !environment.runtime_dir && e == ERR_OK;
	if (e != ERR_NOT_FOUND)
		return e;
	e = connect_to_holder(&paths, ret_found);
	if (e == ERR_OK)
		return e;
	ret_found->refused = false;
	e = connect_to(ENGINE_SYSTEM_SOCKET, false, ret_found);
	if (e == ERR_OK || e == ERR_PERMISSION)
		return e;
	e = check_absence(&paths, ret_found->refused, ret_found);
	if (e != ERR_OK)
		return e;
	if (!may_start) {
		set_error(ret_found, "no engine is running");
		return ERR_NOT_FOUND;
	}
	e = start(&paths, progress, user, ret_found);
	ret_found->fallback = !environment.runtime_dir && e == ERR_OK;
	return e;
}
