/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.c - where an engine keeps its configuration, state and socket
 *
 * Runs in: kenazd and kenaz.
 * Trusts:  the options and environment of the user who started it.
 * Never:   uses a folder that another user could have made.
 *
 * Follows the XDG Base Directory Specification 0.8; a relative path in its
 * variables is ignored, as it demands. Where XDG_RUNTIME_DIR is missing the
 * socket goes below the state folder, which is the user's own, not to /tmp.
 */
#include "engine/base/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One folder: where it may come from, in the order of precedence. */
struct folder_rule {
	const char *option_name;
	const char *option;
	const char *system_path;
	const char *xdg_name;
	const char *xdg;
	const char *home_path; /* below $HOME, or NULL */
};

/**
 * paths_environment_read() - Borrow what the environment says
 * @ret_environment:	NULL for what is not set
 */
void paths_environment_read(struct paths_environment *ret_environment)
{
	*ret_environment = (struct paths_environment){
		.home = getenv("HOME"),
		.config_home = getenv("XDG_CONFIG_HOME"),
		.state_home = getenv("XDG_STATE_HOME"),
		.runtime_dir = getenv("XDG_RUNTIME_DIR"),
	};
}

/**
 * paths_join() - Make "folder/name"
 * @folder:	Borrowed
 * @name:	Borrowed
 * @ret_path:	Array of @cap_bytes; written on success
 * @cap_bytes:	Its size
 *
 * Return: ERR_OK; ERR_LIMIT when it does not fit.
 */
enum err paths_join(const char *folder, const char *name, char *ret_path,
		    size_t cap_bytes)
{
	size_t folder_len = strlen(folder);
	size_t name_len = strlen(name);

	while (folder_len > 1 && folder[folder_len - 1] == '/')
		folder_len--;
	if (folder_len + 1 + name_len >= cap_bytes)
		return ERR_LIMIT;
	memmove(ret_path, folder, folder_len);
	ret_path[folder_len] = '/';
	memcpy(ret_path + folder_len + 1, name, name_len + 1);
	return ERR_OK;
}

static bool is_absolute(const char *path)
{
	return path && path[0] == '/';
}

static enum err set_folder(struct paths_folder *folder, const char *base,
			   const char *below, const char *source,
			   struct conf_error *error)
{
	enum err e;

	if (below)
		e = paths_join(base, below, folder->path, sizeof(folder->path));
	else
		e = span_copy_text(span_text(base), folder->path,
				   sizeof(folder->path));
	folder->source = source;
	if (e != ERR_OK)
		return conf_fail_at(error, NULL, 0,
				    "the path from %s is longer than %u bytes",
				    source, PATHS_MAX_BYTES - 1);
	return ERR_OK;
}

/* ERR_NOT_FOUND, without a sentence, when nothing names the folder. */
static enum err choose_folder(const struct folder_rule *rule, bool system,
			      struct paths_folder *folder,
			      struct conf_error *error)
{
	if (rule->option && !is_absolute(rule->option))
		return conf_fail_at(error, NULL, 0,
				    "%s must be an absolute path, not \"%s\"",
				    rule->option_name, rule->option);
	if (rule->option)
		return set_folder(folder, rule->option, NULL, rule->option_name,
				  error);
	if (system)
		return set_folder(folder, rule->system_path, NULL,
				  "the system engine's default", error);
	if (is_absolute(rule->xdg))
		return set_folder(folder, rule->xdg, "kenaz", rule->xdg_name,
				  error);
	return ERR_NOT_FOUND;
}

static enum err home_folder(const struct folder_rule *rule, const char *home,
			    struct paths_folder *folder,
			    struct conf_error *error)
{
	if (!is_absolute(home))
		return conf_fail_at(error, NULL, 0,
				    "no folder is known: set HOME or %s, or "
				    "pass %s",
				    rule->xdg_name, rule->option_name);
	return set_folder(folder, home, rule->home_path, "HOME", error);
}

static enum err set_socket(struct paths *paths, struct conf_error *error)
{
	enum err e = paths_join(paths->runtime.path, PATHS_SOCKET_NAME,
				paths->socket, sizeof(paths->socket));

	if (e != ERR_OK)
		return conf_fail_at(error, NULL, 0,
				    "the socket's path %s/%s is longer than "
				    "the %u bytes of a unix socket; pass a "
				    "shorter --runtime-dir",
				    paths->runtime.path, PATHS_SOCKET_NAME,
				    PATHS_SOCKET_MAX_BYTES - 1);
	return ERR_OK;
}

/**
 * paths_resolve() - Decide on all folders and the socket
 * @options:		What the command line says
 * @environment:	What the environment says
 * @error:		Receives one sentence
 * @ret_paths:		Written on success
 *
 * Touches no file. Each folder names the thing that decided on it.
 *
 * Return: ERR_OK; ERR_CONFIG with the sentence.
 */
enum err paths_resolve(const struct paths_options *options,
		       const struct paths_environment *environment,
		       struct conf_error *error, struct paths *ret_paths)
{
	const struct folder_rule config = {"--config-dir",
					   options->config_dir,
					   PATHS_SYSTEM_CONFIG,
					   "XDG_CONFIG_HOME",
					   environment->config_home,
					   ".config/kenaz"};
	const struct folder_rule state = {"--state-dir",
					  options->state_dir,
					  PATHS_SYSTEM_STATE,
					  "XDG_STATE_HOME",
					  environment->state_home,
					  ".local/state/kenaz"};
	const struct folder_rule runtime = {"--runtime-dir",
					    options->runtime_dir,
					    PATHS_SYSTEM_RUNTIME,
					    "XDG_RUNTIME_DIR",
					    environment->runtime_dir,
					    NULL};
	struct paths paths = {.system = options->system};
	enum err e;

	e = choose_folder(&config, paths.system, &paths.config, error);
	if (e == ERR_NOT_FOUND)
		e = home_folder(&config, environment->home, &paths.config,
				error);
	if (e != ERR_OK)
		return e;
	e = choose_folder(&state, paths.system, &paths.state, error);
	if (e == ERR_NOT_FOUND)
		e = home_folder(&state, environment->home, &paths.state, error);
	if (e != ERR_OK)
		return e;
	e = choose_folder(&runtime, paths.system, &paths.runtime, error);
	if (e == ERR_NOT_FOUND)
		e = set_folder(&paths.runtime, paths.state.path, "run",
			       "the state folder, as XDG_RUNTIME_DIR is not "
			       "set",
			       error);
	if (e == ERR_OK)
		e = set_socket(&paths, error);
	if (e == ERR_OK)
		*ret_paths = paths;
	return e;
}

static enum err make_parents(const char *folder, struct conf_error *error)
{
	char path[PATHS_MAX_BYTES];
	enum err e = span_copy_text(span_text(folder), path, sizeof(path));
	char *slash;

	if (e != ERR_OK)
		return conf_fail_at(error, NULL, 0, "%s is too long", folder);
	for (slash = strchr(path + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return conf_fail_at(error, path, 0,
					    "cannot be made: %s",
					    strerror(errno));
		*slash = '/';
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return conf_fail_at(error, path, 0, "cannot be made: %s",
				    strerror(errno));
	return ERR_OK;
}

/**
 * paths_make_private() - Make a folder, and those above it, and check it
 * @folder:	Absolute path
 * @error:	Receives one sentence
 *
 * New folders get mode 0700. One that exists must be a folder of this
 * process's user that nobody else can write to.
 *
 * Return: ERR_OK; ERR_CONFIG with the sentence.
 */
enum err paths_make_private(const char *folder, struct conf_error *error)
{
	struct stat st;
	enum err e = make_parents(folder, error);

	if (e != ERR_OK)
		return e;
	if (stat(folder, &st) != 0)
		return conf_fail_at(error, folder, 0, "cannot be used: %s",
				    strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return conf_fail_at(error, folder, 0, "is not a folder");
	if (st.st_uid != geteuid())
		return conf_fail_at(error, folder, 0,
				    "belongs to uid %u, not to uid %u",
				    st.st_uid, geteuid());
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return conf_fail_at(error, folder, 0,
				    "can be written by others; use chmod "
				    "go-w %s",
				    folder);
	return ERR_OK;
}
