/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - does a guest really boot under KVM here? */
#ifndef KENAZ_VM_PROBE_H
#define KENAZ_VM_PROBE_H

#include <uv.h>

#include "engine/base/err.h"
#include "vm/image.h"

#define PROBE_DEADLINE_MAX_NS (30ull * 1000000000ull)
#define PROBE_OPTION          "kenaz.probe=1"
#define PROBE_MARK            "KENAZ-PROBE-OK"

struct probe;

/* @kvm: a guest booted. @reason: a sentence, trusted or escaped. */
typedef void (*probe_done)(void *arg, bool kvm, const char *reason,
			   uint64_t took_ns);

MUST_CHECK enum err probe_start(uv_loop_t *loop, const struct image *image,
				uint64_t deadline_ns, probe_done done,
				void *arg, struct probe **ret_probe);
void probe_free(struct probe *p);

#endif
