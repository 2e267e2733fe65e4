/* SPDX-License-Identifier: Apache-2.0 */
/* receipt.h - the proof that a guest read its hello */
#ifndef KENAZ_GATE_RECEIPT_H
#define KENAZ_GATE_RECEIPT_H

#include "engine/base/digest.h"

void receipt_make(struct span nonce, struct span entropy, uint64_t wall_us,
		  uint8_t ret_receipt[DIGEST_BYTES]);

#endif
