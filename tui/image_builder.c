/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_builder.c - run the script that builds an image, sign, put in place
 *
 * Runs in: kenaz.
 * Trusts:  the script that was installed with it; the checked definition.
 * Never:   leaves half an image under its name: the finished one takes the
 *	    place of the old one in one step.
 */
#include "tui/image_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "tui/image_key.h"

#define SCRIPT "image-debian"

static const char *const image_files[] = {
	"vmlinux",      "initrd.cpio",   "root.squashfs",
	"packages.txt", "manifest.json", "manifest.sig",
};

static int fail_path(const struct app *app, const char *path, const char *what)
{
	return app_fail(app, EXIT_CODE_FAILED, "%s: %s: %s", path, what,
			strerror(errno));
}

/* Installed: scripts beside the programs. Built: build/bin and scripts. */
static bool find_script(char ret_script[IMAGE_BUILDER_PATH_BYTES],
			char ret_programs[IMAGE_BUILDER_PATH_BYTES])
{
	static const char *const places[] = {"scripts/" SCRIPT,
					     "../../scripts/" SCRIPT};
	char self[IMAGE_BUILDER_PATH_BYTES];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	if (n <= 0)
		return false;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = '\0';
	(void)snprintf(ret_programs, IMAGE_BUILDER_PATH_BYTES, "%s", self);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (paths_join(self, places[i], ret_script,
			       IMAGE_BUILDER_PATH_BYTES) == ERR_OK &&
		    access(ret_script, X_OK) == 0)
			return true;
	}
	return false;
}

/* Where downloads are kept and work is done. */
static bool find_cache(char ret_path[IMAGE_BUILDER_PATH_BYTES])
{
	const char *asked = getenv("KENAZ_IMAGE_CACHE");
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int n = -1;

	if (asked && asked[0] == '/')
		n = snprintf(ret_path, IMAGE_BUILDER_PATH_BYTES, "%s", asked);
	else if (cache && cache[0] == '/')
		n = snprintf(ret_path, IMAGE_BUILDER_PATH_BYTES, "%s/kenaz",
			     cache);
	else if (home && home[0] == '/')
		n = snprintf(ret_path, IMAGE_BUILDER_PATH_BYTES,
			     "%s/.cache/kenaz", home);
	return n > 0 && (size_t)n < IMAGE_BUILDER_PATH_BYTES;
}

static bool set_environment(const struct image_definition *d, const char *cache,
			    const char *programs)
{
	char memory[16];

	(void)snprintf(memory, sizeof(memory), "%u", d->memory_min_mib);
	return setenv("B", cache, 1) == 0 &&
	       setenv("KENAZ_PROGRAMS", programs, 1) == 0 &&
	       setenv("KENAZ_IMAGE_PACKAGES", d->packages, 1) == 0 &&
	       setenv("KENAZ_IMAGE_NPM", d->npm, 1) == 0 &&
	       setenv("KENAZ_IMAGE_CPU", d->cpu, 1) == 0 &&
	       setenv("KENAZ_IMAGE_MEMORY", memory, 1) == 0;
}

/* What it says goes to standard error: standard output is for answers. */
static int run_script(const struct app *app, const char *script,
		      const char *name, const char *folder)
{
	char *const argv[] = {(char *)(uintptr_t)script,
			      (char *)(uintptr_t)name,
			      (char *)(uintptr_t)folder, NULL};
	posix_spawn_file_actions_t files;
	int status, rc;
	pid_t pid;

	if (posix_spawn_file_actions_init(&files) != 0)
		return app_fail(app, EXIT_CODE_FAILED, "out of memory");
	rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY,
					      0);
	if (rc == 0 && app->quiet)
		rc = posix_spawn_file_actions_addopen(&files, 1, "/dev/null",
						      O_WRONLY, 0);
	else if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&files, 2, 1);
	if (rc == 0)
		rc = posix_spawn(&pid, script, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (rc != 0)
		return app_fail(app, EXIT_CODE_FAILED, "%s: %s", script,
				strerror(rc));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail_path(app, script, "was lost");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return app_fail(app, EXIT_CODE_FAILED,
			"image %s was not built; what was there before is "
			"unchanged",
			name);
}

static void remove_image(const char *folder)
{
	char path[IMAGE_BUILDER_PATH_BYTES + 32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(image_files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder,
			       image_files[i]);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

static int put_in_place(const struct app *app, const char *from, const char *to)
{
	if (rename(from, to) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return fail_path(app, to, "cannot be made");
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) < 0)
		return fail_path(app, to, "cannot be replaced");
	remove_image(from);
	return 0;
}

/** image_builder_make_folder() - Make a folder and those above; exit code */
int image_builder_make_folder(const struct app *app, const char *path,
			      mode_t mode)
{
	char part[IMAGE_BUILDER_PATH_BYTES];
	size_t i;

	for (i = 1; i < sizeof(part); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return fail_path(app, part, "cannot be made");
		if (path[i] == '\0')
			return 0;
	}
	return app_fail(app, EXIT_CODE_FAILED, "%s: too long", path);
}

/**
 * image_builder_run() - Build an image
 * @app:	For what is said
 * @d:		Checked definition
 * @folder:	Absolute path of the folder that gets a folder for the image
 * @key:	Signing key
 *
 * Return: exit code.
 */
int image_builder_run(const struct app *app, const struct image_definition *d,
		      const char *folder, const char *key)
{
	char script[IMAGE_BUILDER_PATH_BYTES], cache[IMAGE_BUILDER_PATH_BYTES];
	char programs[IMAGE_BUILDER_PATH_BYTES];
	char unfinished[IMAGE_BUILDER_PATH_BYTES];
	char image[IMAGE_BUILDER_PATH_BYTES], new_name[NAME_MAX_BYTES + 32];
	int code;

	(void)snprintf(new_name, sizeof(new_name), ".new-%s.%ld", d->name,
		       (long)getpid());
	if (paths_join(folder, new_name, unfinished, sizeof(unfinished)) !=
		    ERR_OK ||
	    paths_join(folder, d->name, image, sizeof(image)) != ERR_OK)
		return app_fail(app, EXIT_CODE_FAILED, "%s: too long", folder);
	if (!find_script(script, programs))
		return app_fail(app, EXIT_CODE_FAILED,
				"the script " SCRIPT
				" is not beside kenaz; install Kenaz again");
	if (!find_cache(cache))
		return app_fail(app, EXIT_CODE_FAILED,
				"HOME is not set; KENAZ_IMAGE_CACHE can name a "
				"folder for downloads instead");
	if (!set_environment(d, cache, programs))
		return app_fail(app, EXIT_CODE_FAILED, "out of memory");
	code = image_builder_make_folder(app, cache, 0755);
	if (code == 0)
		code = image_builder_make_folder(app, unfinished, 0755);
	if (code != 0)
		return code;
	code = run_script(app, script, d->name, unfinished);
	if (code == 0)
		code = image_key_sign(app, key, unfinished);
	if (code == 0)
		code = put_in_place(app, unfinished, image);
	if (code != 0)
		remove_image(unfinished);
	else
		app_note(app, "image %s is in %s", d->name, image);
	return code;
}
