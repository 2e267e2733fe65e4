/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_qmp.c - a captured QEMU that says anything on its monitor
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vm/qmp.h"

static void on_ready(void *arg, const char *version)
{
	struct qmp **q = arg;

	if (!version[0])
		abort();
	if (qmp_send(*q, "query-status", NULL) != ERR_OK)
		abort();
}

static void on_event(void *arg, const char *name)
{
	(void)arg;
	for (; *name; name++)
		if ((unsigned char)*name < '0' || (unsigned char)*name > '_')
			abort();
}

static void on_answer(void *arg, uint64_t id, enum err e, struct span text)
{
	struct qmp **q = arg;

	(void)text;
	if (e != ERR_OK && e != ERR_STATE)
		abort();
	if (id == 0)
		abort();
	if (qmp_send(*q, "query-status", NULL) != ERR_OK)
		return;
}

static const struct qmp_events events = {on_ready, on_event, on_answer};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum err e = ERR_OK;
	struct qmp *q;
	size_t at = 0;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (qmp_new(pair[1], &events, &q, &q) != ERR_OK)
		abort();
	while (at < size && e == ERR_OK) {
		size_t n = size - at < 512 ? size - at : 512;

		if (send(pair[0], data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			abort();
		at += n;
		e = qmp_turn(q);
	}
	if (e == ERR_FORMAT && !qmp_fault(q))
		abort();
	qmp_free(q);
	close(pair[0]);
	return 0;
}

/* sources: engine/base/buf.c engine/base/err.c engine/base/log.c
 * engine/base/text.c engine/base/json.c engine/base/json_text.c vm/qmp.c */
