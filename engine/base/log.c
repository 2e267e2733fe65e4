/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - diagnostics on stderr, escaped, by level and trace topic
 *
 * Runs in: every program.
 * Trusts:  nothing: the finished line is escaped before it is written, so
 *	    hostile text cannot reach an operator's terminal through a log.
 * Never:   prints a secret (secrets have no print helper), blocks on a file.
 */
#include "engine/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"

#define LOG_LINE_MAX_BYTES 2048

static const char *log_program = "kenaz";
static enum log_level log_ceiling = LOG_WARN;
static unsigned log_topics;

static const struct {
	const char *name;
	enum trace_topic topic;
} topic_table[] = {
	{"msg", TRACE_MSG},
	{"vsock", TRACE_VSOCK},
	{"qmp", TRACE_QMP},
	{"policy", TRACE_POLICY},
};

/**
 * log_init() - Name the program in its lines
 * @program:	Static text
 *
 * The level comes from KENAZ_LOG (error, warn, info, debug) until
 * log_set_level(), the topics from KENAZ_TRACE until log_set_trace().
 */
void log_init(const char *program)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	const char *level = getenv("KENAZ_LOG");
	const char *topics = getenv("KENAZ_TRACE");
	size_t i;

	log_program = program;
	for (i = 0; level && i < ARRAY_SIZE(names); i++)
		if (strcmp(level, names[i]) == 0)
			log_ceiling = (enum log_level)i;
	if (topics && log_set_trace(topics) != ERR_OK)
		log_warn("KENAZ_TRACE: unknown topic in '%s'; the topics are "
			 "msg, vsock, qmp, policy",
			 topics);
}

/** log_set_level() - Print messages up to this level */
void log_set_level(enum log_level level)
{
	log_ceiling = level;
}

/**
 * log_set_trace() - Switch trace topics on
 * @topics:	Comma-separated names: msg, vsock, qmp, policy
 *
 * Return: ERR_OK; ERR_FORMAT for an unknown name, nothing is switched then.
 */
enum err log_set_trace(const char *topics)
{
	unsigned found = 0;
	const char *at = topics;

	while (*at) {
		size_t len = strcspn(at, ",");
		size_t i;

		for (i = 0; i < ARRAY_SIZE(topic_table); i++)
			if (strlen(topic_table[i].name) == len &&
			    memcmp(topic_table[i].name, at, len) == 0)
				break;
		if (i == ARRAY_SIZE(topic_table))
			return ERR_FORMAT;
		found |= (unsigned)topic_table[i].topic;
		at += len;
		if (*at == ',')
			at++;
	}
	log_topics = found;
	return ERR_OK;
}

/** log_traces() - Whether a topic is switched on */
bool log_traces(enum trace_topic topic)
{
	return (log_topics & (unsigned)topic) != 0;
}

static void emit(const char *tag, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static void emit(const char *tag, const char *format, va_list args)
{
	char raw[LOG_LINE_MAX_BYTES];
	char line[LOG_LINE_MAX_BYTES * 2];
	size_t len;
	int head;

	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		return;
	head = snprintf(line, sizeof(line), "%s: %s", log_program, tag);
	if (head < 0)
		return;
	len = (size_t)head;
	len += text_escape_line(span_text(raw), line + len,
				sizeof(line) - len - 1);
	line[len++] = '\n';
	/* A log that cannot be written has nobody left to tell. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

/**
 * log_at() - Print one line
 * @level:	Dropped when above the set level
 * @format:	As printf(3); the finished line is escaped
 */
void log_at(enum log_level level, const char *format, ...)
{
	static const char *const tags[] = {"error: ", "warning: ", "",
					   "debug: "};
	va_list args;

	if (level > log_ceiling)
		return;
	va_start(args, format);
	emit(tags[level], format, args);
	va_end(args);
}

/**
 * log_trace() - Print one trace line when its topic is on
 * @topic:	One topic
 * @format:	As printf(3)
 */
void log_trace(enum trace_topic topic, const char *format, ...)
{
	va_list args;

	if (!log_traces(topic))
		return;
	va_start(args, format);
	emit("trace: ", format, args);
	va_end(args);
}

/**
 * die() - Say why and end with exit code 1; only before a loop starts
 * @format:	As printf(3)
 */
void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	emit("error: ", format, args);
	va_end(args);
	exit(1);
}
