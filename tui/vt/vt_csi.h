/* SPDX-License-Identifier: Apache-2.0 */
/* vt_csi.h - which control sequences pass, and the one form they pass in */
#ifndef KENAZ_TUI_VT_VT_CSI_H
#define KENAZ_TUI_VT_VT_CSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VT_PARAMS_MAX    32   /* numbers in one control sequence */
#define VT_PARAM_MAX     9999 /* greatest number; more is clamped */
#define VT_PARAM_DEFAULT (-1) /* an empty place between separators */
#define VT_SEQ_MAX_BYTES 256  /* longest canonical sequence */

/* One control sequence as parsed: CSI private params intermediate final. */
struct vt_csi {
	int value[VT_PARAMS_MAX];
	bool sub[VT_PARAMS_MAX]; /* joined to the one before by a colon */
	size_t count;
	bool truncated; /* more numbers than VT_PARAMS_MAX */
	uint8_t private_marker;
	uint8_t intermediate;
	uint8_t final;
};

/* What the terminal has been told and has to be taken back at the end. */
struct vt_modes {
	bool alternate_screen;
	bool cursor_hidden;
	bool styled;
};

struct vt_seq {
	char text[VT_SEQ_MAX_BYTES];
	size_t len_bytes;
};

enum vt_verdict { VT_PASSED, VT_REDUCED, VT_UNKNOWN, VT_BAD_SGR, VT_BAD_MODE };

enum vt_verdict vt_csi_render(const struct vt_csi *csi, struct vt_modes *modes,
			      struct vt_seq *ret_seq);
void vt_modes_restore(struct vt_modes *modes, struct vt_seq *ret_seq);

#endif
