/* SPDX-License-Identifier: Apache-2.0 */
/* tables.h - the tables that provider.c lists; for engine/providers only */
#ifndef KENAZ_PROVIDERS_TABLES_H
#define KENAZ_PROVIDERS_TABLES_H

#include "engine/providers/provider.h"

extern const struct provider_kind provider_anthropic;
extern const struct provider_kind provider_bedrock;
extern const struct provider_kind provider_bento;
extern const struct provider_kind provider_byo;
extern const struct provider_kind provider_openai;
extern const struct provider_kind provider_openrouter;
extern const struct provider_kind provider_scripted;

/* Shared by every provider that speaks Anthropic Messages. */
#define ANTHROPIC_BODY_HEADERS_COUNT 6
#define ANTHROPIC_LIST_HEADERS_COUNT 5

extern const struct provider_header anthropic_body_headers[];
extern const struct provider_header anthropic_list_headers[];
extern const char *const anthropic_body_queries[];
extern const char *const anthropic_list_queries[];
extern const char *const anthropic_response_headers[];

/* Shared by every provider that speaks OpenAI's dialects. */
#define OPENAI_BODY_HEADERS_COUNT 5
#define OPENAI_LIST_HEADERS_COUNT 3

extern const struct provider_header openai_body_headers[];
extern const struct provider_header openai_list_headers[];
extern const char *const openai_list_queries[];
extern const char *const no_queries[];

#endif
