/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - diagnostics on stderr, escaped, by level and trace topic */
#ifndef KENAZ_BASE_LOG_H
#define KENAZ_BASE_LOG_H

#include <stdbool.h>

#include "engine/base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum trace_topic {
	TRACE_MSG = 1 << 0,
	TRACE_VSOCK = 1 << 1,
	TRACE_QMP = 1 << 2,
	TRACE_POLICY = 1 << 3,
};

void log_init(const char *program);
void log_set_level(enum log_level level);
MUST_CHECK enum err log_set_trace(const char *topics);
bool log_traces(enum trace_topic topic);
void log_at(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void log_trace(enum trace_topic topic, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void die(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
