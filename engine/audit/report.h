/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - a verification's result, for people and for programs */
#ifndef KENAZ_AUDIT_REPORT_H
#define KENAZ_AUDIT_REPORT_H

#include <stdbool.h>

#include "engine/audit/verify.h"

#define REPORT_MAX_BYTES 8192u

MUST_CHECK enum err report_text(const struct verify_report *r, bool color,
				struct buf *out);
MUST_CHECK enum err report_json(const struct verify_report *r, struct buf *out);

#endif
