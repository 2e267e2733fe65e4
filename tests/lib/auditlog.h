/* SPDX-License-Identifier: Apache-2.0 */
/* auditlog.h - a log in a temporary directory, for tests of the store */
#ifndef KENAZ_TESTS_AUDITLOG_H
#define KENAZ_TESTS_AUDITLOG_H

#include "engine/audit/store.h"
#include "engine/audit/verify.h"

#define AUDITLOG_RESERVE_BYTES (256u * 1024)

/* Three directories under one temporary one, and the open store. */
struct auditlog {
	char dir[64];
	int log_fd, key_fd, anchor_fd;
	struct store *store;
	char why[1024];
	bool new_origin;
	uint64_t wal_max_bytes;
};

void auditlog_make(struct auditlog *l);
void auditlog_make_in(struct auditlog *l, const char *parent);
void auditlog_remove(struct auditlog *l);
enum err auditlog_open(struct auditlog *l);
void auditlog_close(struct auditlog *l);
enum err auditlog_append(struct auditlog *l, enum kind kind,
			 const char *session, const char *key,
			 const char *value);
void auditlog_add(struct auditlog *l, unsigned int events,
		  unsigned int per_commit);
void auditlog_event(struct auditlog *l, uint64_t seq, struct buf *ret_bytes);
enum err auditlog_verify(struct auditlog *l, struct verify_report *ret_report);
void auditlog_sql(struct auditlog *l, const char *sql);
void auditlog_copy(struct auditlog *l, const char *from, const char *to);

#endif
