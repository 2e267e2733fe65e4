/* SPDX-License-Identifier: Apache-2.0 */
/* bootdoc.h - what the host tells a guest before any stream exists */
#ifndef KENAZ_PROTO_BOOTDOC_H
#define KENAZ_PROTO_BOOTDOC_H

#include "engine/base/buf.h"

#define BOOTDOC_SECRET_BYTES 32u
#define BOOTDOC_MAX_BYTES    256u
/* Of a stream's first line, its end included. */
#define BOOTDOC_LINE_BYTES (2u * BOOTDOC_SECRET_BYTES + 1u)
/* QEMU's name for it (fw_cfg), and the kernel option that announces it. */
#define BOOTDOC_NAME   "opt/kenaz/boot"
#define BOOTDOC_OPTION "kenaz.vsock=kernel"

struct bootdoc {
	uint32_t gate_port, egress_port; /* on the host */
	uint8_t secret[BOOTDOC_SECRET_BYTES];
};

MUST_CHECK enum err bootdoc_write(const struct bootdoc *d, struct buf *out);
MUST_CHECK enum err bootdoc_parse(struct span text, struct bootdoc *ret_doc);
void bootdoc_line(const struct bootdoc *d, char ret_line[BOOTDOC_LINE_BYTES]);
bool bootdoc_line_matches(const struct bootdoc *d, struct span line);

#endif
