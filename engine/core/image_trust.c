/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_trust.c - whose signatures of images this engine accepts
 *
 * Runs in: kenazd.
 * Trusts:  *.pub files of root or the engine's user that nobody else may
 *	    change, in folders of which the same is true.
 * Never:   takes a key from beside an image.
 *
 * Two folders: image-keys of what is installed (or of the build tree that the
 * engine runs from) and image-keys of the configuration. They are read anew
 * for each launcher: a key that was taken away counts no more from then on.
 */
#include "engine/core/image_trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"

#define FOLDER_ENTRIES_MAX 1024u

static void find_folder(struct engine *e, const char *option)
{
	const char *from_env = getenv("KENAZ_IMAGE_KEYS");
	char exe[PATHS_MAX_BYTES];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t cap = sizeof(e->image_keys_dir);
	struct stat st;
	char *slash;
	int i;

	if (option || from_env) {
		(void)snprintf(e->image_keys_dir, cap, "%s",
			       option ? option : from_env);
		return;
	}
	if (n > 0) {
		exe[n] = '\0';
		for (i = 0; i < 2; i++) {
			slash = strrchr(exe, '/');
			if (slash)
				*slash = '\0';
		}
		/* A build folder: build/bin beside build/image-keys. */
		if (paths_join(exe, IMAGE_TRUST_FOLDER, e->image_keys_dir,
			       cap) == ERR_OK &&
		    stat(e->image_keys_dir, &st) == 0)
			return;
	}
	(void)snprintf(e->image_keys_dir, cap, "%s/" IMAGE_TRUST_FOLDER,
		       KENAZ_DATADIR);
}

/* Why others than root and the engine's user could have put it there. */
static const char *not_ours(const struct stat *st, uid_t engine_uid)
{
	if (st->st_uid != 0 && st->st_uid != engine_uid)
		return "it belongs neither to root nor to the engine's user";
	if (st->st_mode & S_IWOTH)
		return "everybody may write to it";
	if ((st->st_mode & S_IWGRP) && st->st_gid != 0 &&
	    st->st_uid != engine_uid)
		return "its group may write to it";
	return NULL;
}

/* The name of the key, that of its file, or false when it is no key's. */
static bool key_name(const char *file, char *ret_name, size_t cap_bytes)
{
	size_t len = strlen(file), tail = strlen(IMAGE_TRUST_SUFFIX);
	struct span name;

	if (len <= tail || strcmp(file + len - tail, IMAGE_TRUST_SUFFIX) != 0)
		return false;
	name = span_of(file, len - tail);
	return text_is_name(name, MINISIGN_NAME_MAX_BYTES) &&
	       span_copy_text(name, ret_name, cap_bytes) == ERR_OK;
}

static const char *read_key(int dir_fd, const char *file, uid_t engine_uid,
			    struct minisign_key *ret_key)
{
	char text[MINISIGN_FILE_MAX_BYTES];
	struct stat st;
	const char *why = NULL;
	ssize_t n;
	int fd = openat(dir_fd, file,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return strerror(errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		why = "it is not a file";
	else
		why = not_ours(&st, engine_uid);
	if (!why) {
		n = read(fd, text, sizeof(text));
		if (n < 0)
			why = strerror(errno);
		else if (minisign_key_read(span_of(text, (size_t)n), ret_key) !=
			 ERR_OK)
			why = "it is no public key of minisign";
	}
	close(fd);
	return why;
}

static void read_entries(DIR *dir, const char *folder, uid_t engine_uid,
			 image_trust_note_fn note, void *context,
			 struct image_keys *keys)
{
	char path[PATHS_MAX_BYTES + NAME_MAX_BYTES];
	const struct dirent *entry;
	size_t seen = 0;

	while (seen++ < FOLDER_ENTRIES_MAX && (entry = readdir(dir))) {
		char name[MINISIGN_NAME_MAX_BYTES + 1];
		struct minisign_key key;
		const char *why;

		if (!key_name(entry->d_name, name, sizeof(name)))
			continue;
		why = keys->count == IMAGE_KEYS_MAX
			      ? "there are too many keys already"
			      : read_key(dirfd(dir), entry->d_name, engine_uid,
					 &key);
		if (why) {
			(void)snprintf(path, sizeof(path), "%s/%s", folder,
				       entry->d_name);
			note(context, path, why);
			continue;
		}
		memcpy(key.name, name, sizeof(name));
		keys->list[keys->count++] = key;
	}
}

/**
 * image_trust_read() - Add the keys of a folder
 * @folder:	Path
 * @engine_uid:	Whose files count, beside root's
 * @note:	Called for each file, or the folder, that is passed over
 * @context:	For @note
 * @keys:	Added to
 *
 * Return: ERR_OK; ERR_NOT_FOUND without that folder; ERR_PERMISSION for one
 *	   that others may change; ERR_SYS.
 */
enum err image_trust_read(const char *folder, uid_t engine_uid,
			  image_trust_note_fn note, void *context,
			  struct image_keys *keys)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	const char *why;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	why = fstat(fd, &st) < 0 ? strerror(errno) : not_ours(&st, engine_uid);
	if (why) {
		note(context, folder, why);
		close(fd);
		return ERR_PERMISSION;
	}
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return ERR_SYS;
	}
	read_entries(dir, folder, engine_uid, note, context, keys);
	closedir(dir);
	return ERR_OK;
}

/**
 * image_trust_load() - Read all keys that this engine accepts
 * @e:		Engine
 * @note:	As for image_trust_read()
 * @context:	For @note
 * @ret_keys:	Perhaps none: then no image is started
 */
void image_trust_load(const struct engine *e, image_trust_note_fn note,
		      void *context, struct image_keys *ret_keys)
{
	char folder[PATHS_MAX_BYTES];
	enum err err;

	err = ERR_OK;
	ret_keys->count = 0;
	if (e->installed_keys)
		*ret_keys = *e->installed_keys;
	else
		err = image_trust_read(e->image_keys_dir, e->uid, note, context,
				       ret_keys);
	if (err == ERR_SYS)
		note(context, e->image_keys_dir, strerror(errno));
	if (paths_join(e->paths.config.path, IMAGE_TRUST_FOLDER, folder,
		       sizeof(folder)) != ERR_OK)
		return;
	err = image_trust_read(folder, e->uid, note, context, ret_keys);
	if (err == ERR_SYS)
		note(context, folder, strerror(errno));
}

static void warn(void *context, const char *path, const char *why)
{
	(void)context;
	log_warn("%s is not trusted: %s", path, why);
}

/**
 * image_trust_find() - Decide which folder holds the installed keys
 * @e:		Engine, before its jail
 * @option:	--image-keys, or NULL
 *
 * The jail of an engine that is not root's is a user namespace in which root's
 * files look like anybody's: what is installed is read here, once.
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err image_trust_find(struct engine *e, const char *option)
{
	find_folder(e, option);
	if (e->uid == 0)
		return ERR_OK;
	e->installed_keys = calloc(1, sizeof(*e->installed_keys));
	if (!e->installed_keys)
		return ERR_MEMORY;
	if (image_trust_read(e->image_keys_dir, e->uid, warn, NULL,
			     e->installed_keys) == ERR_SYS)
		warn(NULL, e->image_keys_dir, strerror(errno));
	return ERR_OK;
}

/**
 * image_trust_send() - Tell a launcher whose images it may start
 * @e:		Engine
 * @chan:	The launcher's channel, before any start message
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; ERR_CLOSED.
 */
enum err image_trust_send(const struct engine *e, struct chan *chan)
{
	struct msg_image_keys m = {0};
	struct image_keys keys;
	struct buf b;
	enum err err;

	image_trust_load(e, warn, NULL, &keys);
	buf_init(&b, IMAGE_KEYS_MAX_BYTES);
	err = image_keys_put(&keys, &b);
	m.keys = buf_span(&b);
	if (err == ERR_OK)
		err = chan_send_image_keys(chan, &m, NULL, 0);
	buf_fini(&b);
	return err;
}
