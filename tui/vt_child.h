/* SPDX-License-Identifier: Apache-2.0 */
/* vt_child.h - a kenaz-vt child between a guest's output and the terminal */
#ifndef KENAZ_TUI_VT_CHILD_H
#define KENAZ_TUI_VT_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define VT_CHILD_CHUNK_MAX_BYTES 4096u
#define VT_CHILD_OUT_MAX_BYTES   (VT_CHILD_CHUNK_MAX_BYTES * 4 + 512u)
#define VT_CHILD_CPU_MAX_NS      250000000ull  /* for one chunk */
#define VT_CHILD_WALL_MAX_NS     5000000000ull /* the same, busy machine */

struct vt_child;

MUST_CHECK enum err vt_child_new(struct vt_child **ret_child);
void vt_child_free(struct vt_child *child);
int vt_child_fd(const struct vt_child *child);
bool vt_child_busy(const struct vt_child *child);
MUST_CHECK enum err vt_child_push(struct vt_child *child, struct span chunk);
MUST_CHECK enum err vt_child_pull(struct vt_child *child, struct buf *out);
bool vt_child_hangs(const struct vt_child *child);
void vt_child_end(struct vt_child *child);

#endif
