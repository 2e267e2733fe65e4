/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_load.c - policy.toml and policy.d/ from folders
 *
 * Runs in: kenazd.
 * Trusts:  files that their owner alone can write.
 * Never:   replaces a policy by one that does not load.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "engine/core/policy_rule.h"

#define FILE_SUFFIX ".toml"

/* The files of both layers while they are read. */
struct file_list {
	size_t count;
	struct policy_text texts[LAYER_COUNT * POLICY_FILES_MAX];
	struct buf bytes[LAYER_COUNT * POLICY_FILES_MAX];
	char names[LAYER_COUNT * POLICY_FILES_MAX][PATHS_MAX_BYTES];
};

static enum err add_file(struct file_list *list, const char *path, bool own,
			 bool root_only, struct conf_error *error)
{
	size_t at = list->count;
	enum err e;

	if (at == ARRAY_SIZE(list->texts))
		return conf_fail_at(error, path, 0, "more than %zu files",
				    ARRAY_SIZE(list->texts));
	e = span_copy_text(span_text(path), list->names[at], PATHS_MAX_BYTES);
	if (e != ERR_OK)
		return conf_fail_at(error, path, 0, "the path is too long");
	buf_init(&list->bytes[at], 0);
	e = conf_read(path, root_only, error, &list->bytes[at]);
	if (e == ERR_NOT_FOUND) {
		buf_fini(&list->bytes[at]);
		return ERR_OK;
	}
	list->texts[at] = (struct policy_text){
		.file = list->names[at],
		.text = buf_span(&list->bytes[at]),
		.own = own,
	};
	list->count++;
	return e;
}

static int is_policy_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	size_t suffix = strlen(FILE_SUFFIX);

	return entry->d_name[0] != '.' && len > suffix &&
	       strcmp(entry->d_name + len - suffix, FILE_SUFFIX) == 0;
}

/* By bytes, so that no locale changes the order. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err add_folder(struct file_list *list, const char *folder, bool own,
			   bool root_only, struct conf_error *error)
{
	char path[PATHS_MAX_BYTES];
	struct dirent **entries = NULL;
	enum err e = ERR_OK;
	int count = scandir(folder, &entries, is_policy_file, compare_names);

	if (count < 0 && (errno == ENOENT || errno == ENOTDIR))
		return ERR_OK;
	if (count < 0)
		return conf_fail_at(error, folder, 0, "cannot be read: %s",
				    strerror(errno));
	if ((unsigned int)count >= POLICY_FILES_MAX)
		e = conf_fail_at(error, folder, 0,
				 "holds %d files, more than %u", count,
				 POLICY_FILES_MAX - 1);
	for (int i = 0; i < count; i++) {
		if (e == ERR_OK && paths_join(folder, entries[i]->d_name, path,
					      sizeof(path)) != ERR_OK)
			e = conf_fail_at(error, folder, 0,
					 "a path in it is too long");
		if (e == ERR_OK)
			e = add_file(list, path, own, root_only, error);
		free(entries[i]);
	}
	free(entries);
	return e;
}

static enum err add_layer(struct file_list *list, const char *folder, bool own,
			  bool root_only, struct conf_error *error)
{
	char path[PATHS_MAX_BYTES];
	enum err e;

	if (!folder)
		return ERR_OK;
	e = paths_join(folder, POLICY_FILE_NAME, path, sizeof(path));
	if (e == ERR_OK)
		e = add_file(list, path, own, root_only, error);
	if (e == ERR_OK)
		e = paths_join(folder, POLICY_FOLDER_NAME, path, sizeof(path));
	if (e == ERR_OK)
		e = add_folder(list, path, own, root_only, error);
	if (e == ERR_LIMIT)
		e = conf_fail_at(error, folder, 0, "the path is too long");
	return e;
}

/* What cannot be looked at counts: reading it then says why not. */
static bool has_policy(const char *folder)
{
	static const char *const names[] = {POLICY_FILE_NAME,
					    POLICY_FOLDER_NAME};
	char path[PATHS_MAX_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (paths_join(folder, names[i], path, sizeof(path)) !=
			    ERR_OK ||
		    access(path, F_OK) == 0 ||
		    (errno != ENOENT && errno != ENOTDIR))
			return true;
	return false;
}

/**
 * policy_sources_choose() - Which folders make which layer
 * @system_dir:		The system's, PATHS_SYSTEM_CONFIG but in tests
 * @config_dir:		The engine's own; borrowed like @system_dir
 * @system:		Whether this is the system's engine
 * @ret_sources:	Always written
 *
 * Where the system has a policy, a user's own one only tightens it.
 */
void policy_sources_choose(const char *system_dir, const char *config_dir,
			   bool system, struct policy_sources *ret_sources)
{
	*ret_sources = (struct policy_sources){.base_dir = config_dir,
					       .base_is_system = system};
	if (system || strcmp(system_dir, config_dir) == 0 ||
	    !has_policy(system_dir))
		return;
	*ret_sources = (struct policy_sources){.base_dir = system_dir,
					       .own_dir = config_dir,
					       .base_is_system = true};
}

/**
 * policy_load() - Read the policy of both layers
 * @sources:	Folders; a file or folder that does not exist is empty
 * @error:	Receives one sentence with file and line
 * @ret_policy:	The policy; free with policy_free()
 *
 * Return: ERR_OK; ERR_CONFIG; ERR_MEMORY; ERR_CRYPTO.
 */
enum err policy_load(const struct policy_sources *sources,
		     struct conf_error *error, struct policy **ret_policy)
{
	struct file_list *list = calloc(1, sizeof(*list));
	enum err e = error->status;

	if (!list) {
		(void)conf_fail_at(error, NULL, 0, "out of memory");
		return ERR_MEMORY;
	}
	if (e == ERR_OK)
		e = add_layer(list, sources->base_dir, false,
			      sources->base_is_system, error);
	if (e == ERR_OK)
		e = add_layer(list, sources->own_dir, true, false, error);
	if (e == ERR_OK)
		e = policy_parse(list->texts, list->count, error, ret_policy);
	for (size_t i = 0; i < ARRAY_SIZE(list->bytes); i++)
		buf_fini(&list->bytes[i]);
	free(list);
	return e;
}

/**
 * policy_reload() - Read the policy again and replace the old one
 * @policy:	Owned pointer; unchanged on failure. Decisions of the old policy
 *		must not be used after a success
 * @sources:	As for policy_load()
 * @error:	Receives one sentence with file and line
 *
 * Return: as policy_load().
 */
enum err policy_reload(struct policy **policy,
		       const struct policy_sources *sources,
		       struct conf_error *error)
{
	struct policy *fresh = NULL;
	enum err e = policy_load(sources, error, &fresh);

	if (e != ERR_OK)
		return e;
	policy_free(*policy);
	*policy = fresh;
	return ERR_OK;
}
