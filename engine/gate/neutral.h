/* SPDX-License-Identifier: Apache-2.0 */
/* neutral.h - requests and responses in no dialect, between two of them */
#ifndef KENAZ_GATE_NEUTRAL_H
#define KENAZ_GATE_NEUTRAL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/proto/msg.h"

#define NEUTRAL_MESSAGES_MAX 16384u
#define NEUTRAL_PARTS_MAX    65536u
#define NEUTRAL_TOOLS_MAX    1024u
#define NEUTRAL_STOPS_MAX    16u
#define NEUTRAL_DROPPED_MAX  32u
#define NEUTRAL_KEPT_BYTES   (48u << 20) /* memory of one request's texts */

enum neutral_role { NEUTRAL_SYSTEM, NEUTRAL_USER, NEUTRAL_ASSISTANT };

enum neutral_part_kind {
	NEUTRAL_TEXT,        /* text */
	NEUTRAL_IMAGE,       /* media_type and data (base64), or url */
	NEUTRAL_DOCUMENT,    /* the same, or text; name is its title */
	NEUTRAL_TOOL_CALL,   /* id, name, json: arguments, one object */
	NEUTRAL_TOOL_RESULT, /* id, is_error; its parts follow: `nested` */
	NEUTRAL_THINKING,    /* text, signature */
	NEUTRAL_REDACTED,    /* data: opaque reasoning */
	NEUTRAL_REFUSAL,     /* text: the model's words of refusal */
};

enum neutral_cache { NEUTRAL_CACHE_NONE, NEUTRAL_CACHE_5M, NEUTRAL_CACHE_1H };

/* A span without data is absent. Texts are decoded UTF-8, json is raw. */
struct neutral_part {
	enum neutral_part_kind kind;
	struct span text, id, name, json, media_type, data, url;
	struct span signature;
	enum dialect signer; /* whose model understands signature and data */
	bool is_error;
	enum neutral_cache cache; /* the prompt is cached up to here */
	uint32_t nested;          /* parts right behind that belong to it */
};

struct neutral_message {
	enum neutral_role role;
	uint32_t first_part, part_count;
};

struct neutral_tool {
	struct span name, description, schema; /* schema: raw JSON object */
	bool strict;
	enum neutral_cache cache;
};

enum neutral_choice {
	NEUTRAL_CHOICE_UNSET,
	NEUTRAL_CHOICE_AUTO,
	NEUTRAL_CHOICE_ANY,
	NEUTRAL_CHOICE_NONE,
	NEUTRAL_CHOICE_NAMED, /* choice_name */
};

enum neutral_thinking {
	NEUTRAL_THINKING_UNSET,
	NEUTRAL_THINKING_OFF,
	NEUTRAL_THINKING_BUDGET, /* thinking_tokens */
	NEUTRAL_THINKING_EFFORT, /* effort: low, medium, high... */
	NEUTRAL_THINKING_ADAPTIVE,
};

enum neutral_format {
	NEUTRAL_FORMAT_TEXT,
	NEUTRAL_FORMAT_JSON,   /* any JSON object */
	NEUTRAL_FORMAT_SCHEMA, /* format_name, format_schema, format_strict */
};

/* Numbers are kept as they were written. Zeroed memory is not a request. */
struct neutral_request {
	struct span model;
	bool stream, want_usage; /* the client asked for usage in the stream */
	struct neutral_message *messages; /* system ones first or in between */
	struct neutral_part *parts;
	struct neutral_tool *tools;
	uint32_t message_count, part_count, tool_count;
	enum neutral_choice choice;
	struct span choice_name;
	int parallel; /* parallel calls: -1 unset, 0 no, 1 yes */
	struct span max_tokens, temperature, top_p, top_k, seed;
	struct span frequency_penalty, presence_penalty;
	struct span stops[NEUTRAL_STOPS_MAX]; /* decoded */
	uint32_t stop_count;
	enum neutral_thinking thinking;
	uint64_t thinking_tokens;
	struct span effort, user;
	struct span service_tier; /* in OpenAI's words: auto, default... */
	enum neutral_format format;
	struct span format_name, format_schema;
	bool format_strict;
	/* Names of fields that were left out without changing the meaning. */
	char dropped[NEUTRAL_DROPPED_MAX][64];
	uint32_t dropped_count;
	char error_text[256]; /* what cannot be translated: names the field */
	struct neutral_names *names; /* tools that had to be renamed */
	struct neutral_store *store; /* memory behind the spans */
};

enum neutral_stop {
	NEUTRAL_STOP_NONE,
	NEUTRAL_STOP_END,
	NEUTRAL_STOP_LENGTH,
	NEUTRAL_STOP_CONTEXT, /* the context window is full */
	NEUTRAL_STOP_SEQUENCE,
	NEUTRAL_STOP_TOOL,
	NEUTRAL_STOP_REFUSAL, /* content filter, guardrail, refusal */
	NEUTRAL_STOP_PAUSE,
	/* A word nobody knows: TOOL if calls remain, else LENGTH. */
	NEUTRAL_STOP_OTHER,
};

enum neutral_error {
	NEUTRAL_ERROR_INVALID,
	NEUTRAL_ERROR_AUTHENTICATION,
	NEUTRAL_ERROR_BILLING,
	NEUTRAL_ERROR_PERMISSION,
	NEUTRAL_ERROR_NOT_FOUND,
	NEUTRAL_ERROR_TOO_LARGE,
	NEUTRAL_ERROR_CONTEXT,
	NEUTRAL_ERROR_RATE,
	NEUTRAL_ERROR_QUOTA,
	NEUTRAL_ERROR_TIMEOUT,
	NEUTRAL_ERROR_OVERLOADED,
	NEUTRAL_ERROR_API,
};

/* Unknown is not zero: `known` says which are meant. */
struct neutral_usage {
	bool input_known, output_known, cache_known, reasoning_known;
	uint64_t input; /* cached tokens included */
	uint64_t output, cache_read, cache_write, reasoning;
	bool cost_known;    /* the provider said what it charges */
	uint64_t cost_uusd; /* millionths of a US dollar */
};

enum neutral_event_kind {
	NEUTRAL_START,           /* id, model; the first event */
	NEUTRAL_BLOCK_START,     /* part; a call's id and name */
	NEUTRAL_BLOCK_TEXT,      /* text: piece of text, thinking, arguments */
	NEUTRAL_BLOCK_SIGNATURE, /* text: signature, or redacted data */
	NEUTRAL_BLOCK_STOP,
	NEUTRAL_USAGE, /* usage so far: overwrites, never adds */
	NEUTRAL_STOP,  /* stop, text: the stop sequence; the last event */
	NEUTRAL_ERROR, /* error, text: its message; the last event */
};

/*
 * One step of a response. Readers promise: START first; blocks one after the
 * other, never inside each other; whole code points in every text; exactly
 * one STOP or ERROR, last. Spans are valid during the call.
 */
struct neutral_event {
	enum neutral_event_kind kind;
	enum neutral_part_kind part;
	struct span id, name, model, text;
	enum dialect signer;
	struct neutral_usage usage;
	enum neutral_stop stop;
	struct span reason; /* STOP: in the wire's own word, if it has one */
	enum neutral_error error;
};

typedef enum err neutral_emit(void *context, const struct neutral_event *event);

/* Reads one response of a wire dialect. Head of the dialect's structure. */
struct neutral_reader {
	const struct neutral_reader_ops *ops;
	neutral_emit *emit;
	void *context;
	bool stopped;             /* STOP or ERROR was emitted */
	const char *error_text;   /* static; why feed or end failed */
	char upstream_error[256]; /* the provider's own words, escaped */
	char dropped[128];        /* kinds of parts left out: "a, b" */
};

struct neutral_reader_ops {
	/* Takes all of `in`. ERR_FORMAT or ERR_LIMIT: error_text. */
	enum err (*feed)(struct neutral_reader *r, struct span in);
	/* Clean end of the bytes. ERR_SHORT: no terminal event was there. */
	enum err (*end)(struct neutral_reader *r);
	void (*free)(struct neutral_reader *r);
};

/* Writes one response in a client's dialect. */
struct neutral_writer {
	const struct neutral_writer_ops *ops;
};

struct neutral_writer_ops {
	/*
	 * Appends what an event becomes. Plain writers keep everything until
	 * STOP. What STOP and ERROR append is the terminal part.
	 */
	enum err (*put)(struct neutral_writer *w, const struct neutral_event *e,
			struct buf *out);
	/* A keep-alive; NULL or nothing where there is none. */
	enum err (*ping)(struct neutral_writer *w, struct buf *out);
	void (*free)(struct neutral_writer *w);
};

/* What a writer must know of the request; it copies what it keeps. */
struct neutral_answer {
	struct span model; /* as the client named it */
	bool stream, want_usage;
	/* Tools' names on the wire to the client's; NULL: none differ. */
	const struct neutral_names *names;
};

void neutral_request_init(struct neutral_request *r);
void neutral_request_fini(struct neutral_request *r);
MUST_CHECK enum err neutral_keep(struct neutral_request *r, struct span bytes,
				 struct span *ret_kept);
MUST_CHECK enum err neutral_add_message(struct neutral_request *r,
					enum neutral_role role);
MUST_CHECK enum err neutral_add_part(struct neutral_request *r,
				     const struct neutral_part *part);
MUST_CHECK enum err neutral_add_nested(struct neutral_request *r,
				       const struct neutral_part *part);
MUST_CHECK enum err neutral_add_tool(struct neutral_request *r,
				     const struct neutral_tool *tool);
void neutral_drop(struct neutral_request *r, const char *field);
MUST_CHECK enum err neutral_refuse(struct neutral_request *r, const char *field,
				   const char *why);

#endif
