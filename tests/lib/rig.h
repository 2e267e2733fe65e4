/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - start real programs from a unit test that plays their peers */
#ifndef KENAZ_TESTS_RIG_H
#define KENAZ_TESTS_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "engine/base/buf.h"
#include "engine/proto/chan.h"

#define RIG_DEADLINE_MS 20000u

/* A fake provider (tests/lib/fake_provider.py). */
struct rig_provider {
	pid_t pid;
	int stdin_fd;
	uint16_t port;
	char record[256];
};

bool rig_wait(uv_loop_t *loop, bool (*done)(void *context), void *context);
pid_t rig_spawn(const char *program, const char *const *arguments,
		const int *fds, size_t n_fds);
int rig_program_path(const char *program, char *ret_path, size_t cap_bytes);
void rig_kill(pid_t pid);
int rig_temp_dir(char *ret_path, size_t cap_bytes);
void rig_remove_dir(const char *path);
bool rig_provider_start(struct rig_provider *p, const char *dir,
			const char *behave, const char *tls_pem);
bool rig_server_start(struct rig_provider *p, const char *dir,
		      const char *const *arguments);
void rig_provider_stop(struct rig_provider *p);
size_t rig_count_in_file(const char *path, const char *text);

#endif
