/* SPDX-License-Identifier: Apache-2.0 */
/* conf.h - TOML files as a read-only tree with the line of every node */
#ifndef KENAZ_BASE_CONF_H
#define KENAZ_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONF_TEXT_MAX_BYTES  (1u << 20)
#define CONF_VALUE_MAX_BYTES 4096u  /* one string value */
#define CONF_NODES_MAX       65536u /* tables, arrays and values of a file */
#define CONF_LIST_MAX        256u   /* elements of one list of texts */
#define CONF_KEYS_MAX        48u    /* keys a reader asks one table for */
#define CONF_DEPTH_MAX       32u
#define CONF_ERROR_BYTES     512u
#define CONF_LIST_BYTES      256u /* valid choices in a message */

enum conf_kind {
	CONF_TABLE,
	CONF_ARRAY,
	CONF_TEXT,
	CONF_INTEGER,
	CONF_FLOAT,
	CONF_BOOLEAN,
	CONF_DATE,
};

struct conf;
struct conf_node;

/* The first failure of a load, one sentence; later ones are ignored. */
struct conf_error {
	enum err status;
	char text[CONF_ERROR_BYTES];
};

void conf_error_init(struct conf_error *error);
enum err conf_fail(struct conf_error *error, const struct conf_node *node,
		   const char *format, ...)
	__attribute__((format(printf, 3, 4)));
enum err conf_fail_at(struct conf_error *error, const char *file,
		      unsigned int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void conf_list_word(char list[CONF_LIST_BYTES], const char *word);

MUST_CHECK enum err conf_parse(struct span text, const char *file,
			       struct conf_error *error,
			       struct conf **ret_conf);
MUST_CHECK enum err conf_read(const char *path, bool root_only,
			      struct conf_error *error, struct buf *ret_text);
void conf_free(struct conf *conf);
struct conf_node *conf_root(struct conf *conf);

const char *conf_file(const struct conf_node *node);
unsigned int conf_line(const struct conf_node *node);
const char *conf_key(const struct conf_node *node);
enum conf_kind conf_kind(const struct conf_node *node);
const char *conf_kind_text(enum conf_kind kind);
size_t conf_count(const struct conf_node *node);
struct conf_node *conf_at(const struct conf_node *node, size_t index);
const char *conf_value_text(const struct conf_node *node);
int64_t conf_value_integer(const struct conf_node *node);
double conf_value_float(const struct conf_node *node);
bool conf_value_boolean(const struct conf_node *node);

/* Reads of one key of a table; a failed error makes them do nothing. */
struct conf_node *conf_find(struct conf_node *table, const char *key);
struct conf_node *conf_get_table(struct conf_node *table, const char *key,
				 struct conf_error *error);
struct conf_node *conf_get_array(struct conf_node *table, const char *key,
				 enum conf_kind element,
				 struct conf_error *error);
struct conf_node *conf_get_texts(struct conf_node *table, const char *key,
				 struct conf_error *error);
const char *conf_get_text(struct conf_node *table, const char *key,
			  const char *fallback, struct conf_error *error);
int64_t conf_get_integer(struct conf_node *table, const char *key, int64_t min,
			 int64_t max, int64_t fallback,
			 struct conf_error *error);
bool conf_get_boolean(struct conf_node *table, const char *key, bool fallback,
		      struct conf_error *error);
int conf_get_choice(struct conf_node *table, const char *key,
		    const char *const *choices, int fallback,
		    struct conf_error *error);
MUST_CHECK enum err conf_check_unread(struct conf *conf,
				      struct conf_error *error);

#ifdef __cplusplus
}
#endif

#endif
