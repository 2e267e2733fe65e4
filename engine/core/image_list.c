/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_list.c - which images there are, and where
 *
 * Runs in: kenazd.
 * Trusts:  the configuration; names of folders only as far as they are names.
 * Never:   opens a file of an image.
 *
 * A name is looked up in this order: [[image]] of the configuration, images
 * of the state folder (`kenaz image build`), the folder that was installed.
 */
#include "engine/core/image_list.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX 4096u /* looked at in one folder */

/**
 * image_list_folder() - Where images that users build go
 * @e:		Engine
 * @ret_path:	Written on success
 *
 * Return: ERR_OK; ERR_LIMIT.
 */
enum err image_list_folder(const struct engine *e,
			   char ret_path[PATHS_MAX_BYTES])
{
	return paths_join(e->paths.state.path, IMAGE_LIST_FOLDER, ret_path,
			  PATHS_MAX_BYTES);
}

static bool is_image(const char *path)
{
	char manifest[PATHS_MAX_BYTES];
	struct stat st;

	return paths_join(path, "manifest.json", manifest, sizeof(manifest)) ==
		       ERR_OK &&
	       stat(manifest, &st) == 0;
}

/**
 * image_list_path() - Find an image's folder by the image's name
 * @e:		Engine
 * @name:	Perhaps not a name at all
 * @ret_path:	Written on success; need not exist
 *
 * Return: ERR_OK; ERR_FORMAT for what is no name; ERR_LIMIT.
 */
enum err image_list_path(const struct engine *e, const char *name,
			 char ret_path[PATHS_MAX_BYTES])
{
	const struct config_image *image = config_find_image(e->config, name);
	char folder[PATHS_MAX_BYTES];

	if (!text_is_name(span_text(name), NAME_MAX_BYTES) || name[0] == '.')
		return ERR_FORMAT;
	if (image && image->path) {
		(void)snprintf(ret_path, PATHS_MAX_BYTES, "%s", image->path);
		return ERR_OK;
	}
	if (image_list_folder(e, folder) == ERR_OK &&
	    paths_join(folder, name, ret_path, PATHS_MAX_BYTES) == ERR_OK &&
	    is_image(ret_path))
		return ERR_OK;
	return paths_join(e->image_dir, name, ret_path, PATHS_MAX_BYTES);
}

static void add_name(struct image_list *list, const char *name)
{
	size_t i;

	if (!text_is_name(span_text(name), NAME_MAX_BYTES) || name[0] == '.')
		return;
	for (i = 0; i < list->count; i++)
		if (strcmp(list->names[i], name) == 0)
			return;
	if (list->count < IMAGE_LIST_MAX)
		(void)snprintf(list->names[list->count++],
			       sizeof(list->names[0]), "%s", name);
}

static void add_folder(struct image_list *list, const char *folder)
{
	char path[PATHS_MAX_BYTES];
	const struct dirent *entry;
	DIR *dir = opendir(folder);
	size_t seen = 0;

	while (dir && seen++ < ENTRIES_MAX && (entry = readdir(dir)))
		if (paths_join(folder, entry->d_name, path, sizeof(path)) ==
			    ERR_OK &&
		    is_image(path))
			add_name(list, entry->d_name);
	if (dir)
		closedir(dir);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/**
 * image_list_read() - Name every image that a session could ask for
 * @e:		Engine
 * @ret_list:	Sorted; cut at IMAGE_LIST_MAX
 */
void image_list_read(const struct engine *e, struct image_list *ret_list)
{
	char folder[PATHS_MAX_BYTES];
	size_t i;

	ret_list->count = 0;
	for (i = 0; i < e->config->image_count; i++)
		add_name(ret_list, e->config->images[i].name);
	if (image_list_folder(e, folder) == ERR_OK)
		add_folder(ret_list, folder);
	add_folder(ret_list, e->image_dir);
	qsort(ret_list->names, ret_list->count, sizeof(ret_list->names[0]),
	      compare);
}
