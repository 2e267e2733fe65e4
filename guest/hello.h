/* SPDX-License-Identifier: Apache-2.0 */
/* hello.h - what the host gives a guest once, and the receipt for it */
#ifndef KENAZ_GUEST_HELLO_H
#define KENAZ_GUEST_HELLO_H

#include "guest/host_request.h"

#define HELLO_RECEIPT_BYTES 32u

void hello_receipt(const struct host_request *r,
		   uint8_t ret_receipt[HELLO_RECEIPT_BYTES]);
MUST_CHECK enum err hello_seed(const struct host_request *r);
MUST_CHECK enum err hello_identify(const struct host_request *r);
MUST_CHECK enum err hello_answer(const struct host_request *r, struct buf *out);

#endif
