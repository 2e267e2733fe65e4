/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment.c - what of its environment an engine keeps
 *
 * Runs in: kenazd, before it starts anything.
 * Trusts:  nobody: a shell that starts an engine may hold any key.
 * Never:   keeps a variable that is not in the table.
 *
 * A key in the environment of the shell would otherwise be in the engine's
 * memory, and in /proc/PID/environ, for as long as the engine runs. So the
 * bytes themselves are overwritten, not only forgotten.
 */
#include "engine/core/environment.h"

#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/err.h"

/* Folders, locale, diagnostics, what the vault's backends need. */
static const char *const kept[] = {
	"HOME",
	"PATH",
	"LANG",
	"LC_ALL",
	"TMPDIR",
	"XDG_CONFIG_HOME",
	"XDG_STATE_HOME",
	"XDG_RUNTIME_DIR",
	"DBUS_SESSION_BUS_ADDRESS",
	"CREDENTIALS_DIRECTORY",
	"KENAZ_IMAGE_DIR",
	"KENAZ_IMAGE_KEYS",
	"KENAZ_LOG",
	"KENAZ_TRACE",
	"ASAN_OPTIONS",
	"UBSAN_OPTIONS",
	"LSAN_OPTIONS",
};

/** environment_keeps() - Whether an entry "NAME=value" stays */
bool environment_keeps(const char *entry)
{
	size_t i, len;

	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		len = strlen(kept[i]);
		if (strncmp(entry, kept[i], len) == 0 && entry[len] == '=')
			return true;
	}
	return false;
}

/** environment_wipe() - Overwrite and drop what is not kept */
void environment_wipe(void)
{
	char **from = environ, **to = environ;

	for (; from && *from; from++) {
		if (environment_keeps(*from))
			*to++ = *from;
		else
			sodium_memzero(*from, strlen(*from));
	}
	if (to)
		*to = NULL;
}
