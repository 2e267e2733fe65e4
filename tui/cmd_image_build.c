/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_image_build.c - kenaz image build: a user's own image
 *
 * Runs in: kenaz, without its jail: the builder needs user namespaces and the
 *	    set-uid helpers that map them.
 * Trusts:  the user's definition for what goes into the image, but not for
 *	    what is run: see image_definition.c.
 * Never:   installs a package on this host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/paths.h"
#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/image_builder.h"
#include "tui/image_key.h"

#define OWN_KEY    "image-key"
#define OWN_PUBLIC "own.pub"

static const struct option_row options[] = {
	{"into", 0, "DIR", "folder that gets the image's folder"},
	{"key", 0, "FILE", "key that signs it"},
	{0},
};

static int read_definition(const struct app *app, const char *path,
			   struct image_definition *ret_definition)
{
	struct conf_error error;
	struct buf text;
	int code = 0;
	enum err e;

	conf_error_init(&error);
	buf_init(&text, CONF_TEXT_MAX_BYTES);
	e = conf_read(path, false, &error, &text);
	if (e == ERR_OK)
		e = image_definition_parse(buf_span(&text), path, &error,
					   ret_definition);
	if (e == ERR_NOT_FOUND && !error.text[0])
		code = app_fail(app, EXIT_CODE_NOT_FOUND, "no such file: %s",
				path);
	else if (e != ERR_OK)
		code = app_fail(app, EXIT_CODE_FAILED, "%s",
				error.text[0] ? error.text : err_text(e));
	buf_fini(&text);
	return code;
}

static bool join(const char *folder, const char *name,
		 char ret_path[IMAGE_BUILDER_PATH_BYTES])
{
	return paths_join(folder, name, ret_path, IMAGE_BUILDER_PATH_BYTES) ==
	       ERR_OK;
}

/* The key of this engine's user, made and made known at the first build. */
static int own_key(const struct app *app, const char *keys_folder,
		   char ret_key[IMAGE_BUILDER_PATH_BYTES])
{
	char config[IMAGE_BUILDER_PATH_BYTES], path[IMAGE_BUILDER_PATH_BYTES];
	struct stat st;
	char *slash;
	int code;

	(void)snprintf(config, sizeof(config), "%s", keys_folder);
	slash = strrchr(config, '/');
	if (!slash)
		return app_fail(app, EXIT_CODE_FAILED,
				"the engine did not say where keys belong");
	*slash = '\0';
	if (!join(config, OWN_KEY, ret_key) ||
	    !join(keys_folder, OWN_PUBLIC, path))
		return app_fail(app, EXIT_CODE_FAILED, "%s: too long",
				keys_folder);
	if (stat(ret_key, &st) == 0 && stat(path, &st) == 0)
		return 0;
	app_note(app,
		 "first build: your signing key is %s; its public half is put "
		 "into %s, so this engine starts what the key signs",
		 ret_key, path);
	code = image_builder_make_folder(app, config, 0700);
	if (code == 0)
		code = image_builder_make_folder(app, keys_folder, 0755);
	if (code != 0)
		return code;
	if (stat(ret_key, &st) == 0)
		return image_key_write_public(app, ret_key, path);
	return image_key_make(app, ret_key, path);
}

/* An image that others installed is not hidden by one of the same name. */
static int check_name(const struct app *app, const cJSON *result,
		      const char *name, const char *folder)
{
	const cJSON *images =
		cJSON_GetObjectItemCaseSensitive(result, "images");
	const char *path = app_text(cJSON_GetArrayItem(images, 0), "path");
	char manifest[IMAGE_BUILDER_PATH_BYTES];
	size_t len = strlen(folder);
	struct stat st;

	if ((strncmp(path, folder, len) == 0 && path[len] == '/') ||
	    !join(path, "manifest.json", manifest) || stat(manifest, &st) < 0)
		return 0;
	return app_fail(app, EXIT_CODE_FAILED,
			"there is an image %s in %s already; give yours "
			"another name",
			name, path);
}

static int build_for_engine(struct app *app, const struct image_definition *d)
{
	cJSON *params = app_params(), *result = NULL;
	char key[IMAGE_BUILDER_PATH_BYTES];
	const char *folder;
	int code;

	app_add_text(params, "image", d->name);
	code = app_call_slow(app, "image.list", params, &result);
	if (code != 0)
		return code;
	folder = app_text(result, "folder");
	code = check_name(app, result, d->name, folder);
	if (code == 0)
		code = own_key(app, app_text(result, "keys_folder"), key);
	if (code == 0)
		code = image_builder_run(app, d, folder, key);
	if (code == 0)
		app_note(app, "start it: kenaz run --image %s", d->name);
	cJSON_Delete(result);
	return code;
}

static int cmd_build(struct app *app, struct args *args)
{
	const char *into = args_value(args, "into");
	const char *key = args_value(args, "key");
	const struct rlimit no_core = {0, 0};
	struct image_definition *d;
	char *folder;
	int code;

	if (!into != !key)
		return app_fail(app, EXIT_CODE_USAGE,
				"--into and --key go together");
	(void)setrlimit(RLIMIT_CORE, &no_core);
	d = calloc(1, sizeof(*d));
	if (!d)
		return app_fail(app, EXIT_CODE_FAILED, "out of memory");
	code = read_definition(app, args->rest[0], d);
	if (code == 0 && into) {
		folder = realpath(into, NULL);
		code = folder ? image_builder_run(app, d, folder, key)
			      : app_fail(app, EXIT_CODE_NOT_FOUND,
					 "no such folder: %s", into);
		free(folder);
	} else if (code == 0) {
		code = build_for_engine(app, d);
	}
	free(d);
	return code;
}

const struct command command_image_build = {
	.name = "image build",
	.arguments = "FILE",
	.summary = "Build a signed image of Debian and npm packages",
	.text = "FILE is TOML: name, base = \"debian\", packages, npm, cpu, "
		"memory_min_mib.\nThe image goes to the engine's own folder, "
		"signed with your key, or to --into,\nsigned with --key. "
		"Nothing is installed on this host.",
	.options = options,
	.unjailed = true,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_build,
};
