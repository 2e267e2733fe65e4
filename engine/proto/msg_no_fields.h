/* SPDX-License-Identifier: Apache-2.0 */
/* msg_no_fields.h - read msg.def for its messages only; no guard */
#define U8(f)
#define U16(f)
#define U32(f)
#define U64(f)
#define I32(f)
#define TEXT(f, max)
#define BYTES(f, max)
#define DIGEST(f)
#define END(name)
