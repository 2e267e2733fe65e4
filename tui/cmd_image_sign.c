/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_image_sign.c - kenaz image key and sign
 *
 * Runs in: kenaz, without an engine.
 * Trusts:  as image_key.c.
 * Never:   makes anybody trust a key: copying the public half does.
 */
#include <stdio.h>

#include "tui/cmd_common.h"
#include "tui/command.h"
#include "tui/image_key.h"

static const struct option_row key_options[] = {
	{"public", 0, "FILE", "where its public half goes (FILE.pub)"},
	{"existing", 0, NULL, "only write the public half of the key in FILE"},
	{0},
};

static int cmd_key(struct app *app, struct args *args)
{
	const char *public_path = args_value(args, "public");
	char beside[4096];
	int n = snprintf(beside, sizeof(beside), "%s.pub", args->rest[0]);
	int code;

	if (n < 0 || (size_t)n >= sizeof(beside))
		return app_fail(app, EXIT_CODE_USAGE, "the name is too long");
	if (!public_path)
		public_path = beside;
	if (args_has(args, "existing"))
		return image_key_write_public(app, args->rest[0], public_path);
	code = image_key_make(app, args->rest[0], public_path);
	if (code == 0)
		app_note(app,
			 "signing key %s (keep it), public half %s: engines "
			 "that have that file in image-keys of their "
			 "configuration start what it signs",
			 args->rest[0], public_path);
	return code;
}

const struct command command_image_key = {
	.name = "image key",
	.arguments = "FILE",
	.summary = "Make a key that signs images",
	.text = "FILE is in minisign's format, without a password, mode 0600.",
	.options = key_options,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_key,
};

static const struct option_row sign_options[] = {
	{"key", 0, "FILE", "the signing key"},
	{0},
};

static int cmd_sign(struct app *app, struct args *args)
{
	const char *key = args_value(args, "key");
	size_t i;
	int code = 0;

	if (!key)
		return app_fail(app, EXIT_CODE_USAGE,
				"--key FILE is missing; 'kenaz image key' "
				"makes a key");
	for (i = 0; code == 0 && i < args->rest_count; i++) {
		code = image_key_sign(app, key, args->rest[i]);
		if (code == 0)
			app_note(app, "signed %s/manifest.json", args->rest[i]);
	}
	return code;
}

const struct command command_image_sign = {
	.name = "image sign",
	.arguments = "FOLDER...",
	.summary = "Sign the manifest of an image",
	.text = "Writes manifest.sig beside manifest.json: a signature in "
		"minisign's format.",
	.options = sign_options,
	.args_min = 1,
	.args_max = COMMAND_ANY_ARGS,
	.run = cmd_sign,
};
