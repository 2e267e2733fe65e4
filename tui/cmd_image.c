/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_image.c - kenaz image list, show and verify
 *
 * Runs in: kenaz.
 * Trusts:  as app.c.
 * Never:   reads an image: the engine's launchers do.
 */
#include <string.h>

#include "tui/cmd_common.h"
#include "tui/command.h"

static const struct column columns[] = {
	{"IMAGE", "image", CELL_ANY},
	{"STATE", "state", CELL_ANY},
	{"AGE", "age_s", CELL_AGE},
	{"SIZE", "bytes", CELL_BYTES},
	{"PACKAGES", "packages", CELL_ANY},
	{"KERNEL", "kernel_version", CELL_ANY},
	{"CPU", "cpu", CELL_ANY},
	{"DISK", "disk", CELL_YES},
	{"SIGNED BY", "key", CELL_ANY},
	{"KEY", "key_id", CELL_ANY},
	{"DEFAULT", "default", CELL_YES},
};

static const struct column package_columns[] = {
	{"PACKAGE", "name", CELL_ANY},
	{"VERSION", "version", CELL_ANY},
};

/* Why those that cannot be started cannot; how many there are. */
static int say_refused(const struct app *app, const cJSON *images)
{
	const struct column name = {"", "image", CELL_ANY};
	const struct column why = {"", "reason", CELL_ANY};
	char name_text[OUTPUT_CELL_MAX_BYTES], text[OUTPUT_CELL_MAX_BYTES];
	const cJSON *image;
	int count = 0;

	cJSON_ArrayForEach(image, images)
	{
		if (strcmp(app_text(image, "state"), "refused") != 0)
			continue;
		count++;
		output_cell(image, &name, name_text, sizeof(name_text));
		output_cell(image, &why, text, sizeof(text));
		(void)app_fail(app, EXIT_CODE_FAILED, "image %s: %s", name_text,
			       text);
	}
	return count;
}

static int ask(struct app *app, const struct args *args, const char *method,
	       cJSON **ret_result, const cJSON **ret_images)
{
	cJSON *params = app_params();
	int code;

	if (args->rest_count)
		app_add_text(params, "image", args->rest[0]);
	code = app_call_slow(app, method, params, ret_result);
	if (code == 0)
		*ret_images =
			cJSON_GetObjectItemCaseSensitive(*ret_result, "images");
	return code;
}

static int print_images(struct app *app, const cJSON *images)
{
	if (app->quiet)
		return app_written(app, output_names(images, "image"));
	if (app->format == OUTPUT_TABLE && cJSON_GetArraySize(images) == 0) {
		app_note(app, "no images; 'kenaz image build' makes one");
		return 0;
	}
	return app_written(app, output_list(app->format, images, columns,
					    ARRAY_SIZE(columns)));
}

static int cmd_list_images(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	const cJSON *images;
	int code = ask(app, args, "image.list", &result, &images);

	if (code != 0)
		return code;
	code = print_images(app, images);
	if (code == 0 && app->format == OUTPUT_TABLE && !app->quiet)
		(void)say_refused(app, images);
	cJSON_Delete(result);
	return code;
}

const struct command command_image_list = {
	.name = "image list",
	.arguments = "",
	.summary = "List images, who signed them and whether they may start",
	.text = "Signatures are checked, and sizes of files; 'kenaz image "
		"verify' reads every byte.",
	.options = cmd_no_options,
	.run = cmd_list_images,
};

static int cmd_verify(struct app *app, struct args *args)
{
	cJSON *result = NULL;
	const cJSON *images;
	int code = ask(app, args, "image.verify", &result, &images);

	if (code != 0)
		return code;
	code = print_images(app, images);
	if (say_refused(app, images) > 0 && code == 0)
		code = EXIT_CODE_FAILED;
	cJSON_Delete(result);
	return code;
}

const struct command command_image_verify = {
	.name = "image verify",
	.arguments = "[NAME]",
	.summary = "Check signature and every byte of one image, or of all",
	.text = "Reads each file, compares its SHA-256 with the signed "
		"manifest, and computes the\nroot hash of a root file system "
		"anew. The exit code is 1 when one does not fit.",
	.options = cmd_no_options,
	.args_max = 1,
	.run = cmd_verify,
};

static int cmd_show(struct app *app, struct args *args)
{
	cJSON *result = NULL, *packages;
	const cJSON *images;
	struct buf out;
	cJSON *image;
	enum err e;
	int code = ask(app, args, "image.show", &result, &images);

	if (code != 0)
		return code;
	image = cJSON_GetArrayItem(images, 0);
	if (strcmp(app_text(image, "state"), "refused") == 0) {
		(void)say_refused(app, images);
		code = EXIT_CODE_FAILED;
		goto out;
	}
	if (app->format != OUTPUT_TABLE) {
		code = app_written(app, output_object(app->format, image));
		goto out;
	}
	packages =
		cJSON_DetachItemFromObjectCaseSensitive(image, "package_list");
	buf_init(&out, OUTPUT_MAX_BYTES);
	e = output_fields(image, &out);
	if (e == ERR_OK && cJSON_GetArraySize(packages) > 0)
		e = buf_put_text(&out, "\n");
	if (e == ERR_OK && cJSON_GetArraySize(packages) > 0)
		e = output_table(packages, package_columns,
				 ARRAY_SIZE(package_columns), &out);
	if (e == ERR_OK)
		e = output_flush(&out);
	code = app_written(app, e);
	buf_fini(&out);
	cJSON_Delete(packages);
out:
	cJSON_Delete(result);
	return code;
}

const struct command command_image_show = {
	.name = "image show",
	.arguments = "NAME",
	.summary = "Show what an image is and the packages in it",
	.options = cmd_no_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_show,
};
