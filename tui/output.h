/* SPDX-License-Identifier: Apache-2.0 */
/* output.h - answers as tables, JSON or JSON lines, always escaped */
#ifndef KENAZ_TUI_OUTPUT_H
#define KENAZ_TUI_OUTPUT_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "engine/base/buf.h"

#define OUTPUT_MAX_BYTES      (64u << 20)
#define OUTPUT_COLUMNS_MAX    12u
#define OUTPUT_CELL_MAX_BYTES 1024u

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL };

/* How a cell's value is shown in a table. */
enum cell_kind { CELL_ANY, CELL_AGE, CELL_BYTES, CELL_YES };

struct column {
	const char *title;
	const char *key; /* member, or members joined by dots */
	enum cell_kind kind;
};

MUST_CHECK enum err output_format_find(const char *name,
				       enum output_format *ret_format);
void output_bytes(double bytes, char *ret_text, size_t cap_bytes);
void output_value(const cJSON *item, char *ret_text, size_t cap_bytes);
void output_cell(const cJSON *row, const struct column *column, char *ret_text,
		 size_t cap_bytes);
size_t output_width(const char *text);
MUST_CHECK enum err output_table(const cJSON *rows,
				 const struct column *columns, size_t count,
				 struct buf *out);
MUST_CHECK enum err output_table_fit(const cJSON *rows,
				     const struct column *columns, size_t count,
				     size_t width, struct buf *out);
MUST_CHECK enum err output_fields(const cJSON *object, struct buf *out);
MUST_CHECK enum err output_json(const cJSON *value, bool pretty,
				struct buf *out);
MUST_CHECK enum err output_list(enum output_format format, const cJSON *rows,
				const struct column *columns, size_t count);
MUST_CHECK enum err output_object(enum output_format format,
				  const cJSON *object);
MUST_CHECK enum err output_names(const cJSON *rows, const char *key);
MUST_CHECK enum err output_flush(struct buf *out);

#endif
