/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_conf.c - any bytes as a TOML file
 *
 * Runs in: make fuzz.
 * Trusts:  nothing.
 * Never:   accepts a failure without a sentence.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

static void read_all(struct conf_node *node, struct conf_error *error)
{
	if (conf_kind(node) == CONF_TABLE) {
		(void)conf_get_text(node, "id", NULL, error);
		(void)conf_get_texts(node, "name", error);
		(void)conf_get_integer(node, "port", 1, 65535, 1, error);
	}
	if (conf_kind(node) != CONF_TABLE && conf_kind(node) != CONF_ARRAY)
		return;
	for (size_t i = 0; i < conf_count(node); i++)
		read_all(conf_at(node, i), error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct conf_error error;
	struct conf *conf = NULL;
	enum err e;

	conf_error_init(&error);
	e = conf_parse(span_of(data, len_bytes), "f", &error, &conf);
	if (e != ERR_OK) {
		assert(error.text[0]);
		return 0;
	}
	read_all(conf_root(conf), &error);
	e = conf_check_unread(conf, &error);
	assert(e == error.status);
	conf_free(conf);
	return 0;
}

/* sources: engine/base/conf.cc engine/base/conf_get.c engine/base/buf.c */
/* sources: engine/base/text.c engine/base/err.c */
