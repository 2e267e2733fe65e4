/* SPDX-License-Identifier: Apache-2.0 */
/* config_edit.h - add entries to kenaz.toml and take them out again */
#ifndef KENAZ_CORE_CONFIG_EDIT_H
#define KENAZ_CORE_CONFIG_EDIT_H

#include "engine/core/config.h"

enum config_entry { CONFIG_ENTRY_PROVIDER, CONFIG_ENTRY_ALIAS };

MUST_CHECK enum err config_edit_put_quoted(struct buf *out, const char *text);
MUST_CHECK enum err config_edit_put_text(struct buf *out, const char *key,
					 const char *value);
MUST_CHECK enum err config_edit_add(const char *path, enum config_entry what,
				    const char *name, struct span block,
				    bool write, struct conf_error *error);
MUST_CHECK enum err config_edit_remove(const char *path, enum config_entry what,
				       const char *name,
				       struct conf_error *error);

MUST_CHECK enum err config_edit_set_backend(const char *path,
					    const char *backend, bool write,
					    struct conf_error *error);

#endif
