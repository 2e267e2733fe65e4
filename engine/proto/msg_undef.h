/* SPDX-License-Identifier: Apache-2.0 */
/* msg_undef.h - forget the macros of one reading of msg.def; no guard */
#undef BEGIN
#undef U8
#undef U16
#undef U32
#undef U64
#undef I32
#undef TEXT
#undef BYTES
#undef DIGEST
#undef END
