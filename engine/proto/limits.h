/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - ceilings that more than one process relies on, with units */
#ifndef KENAZ_PROTO_LIMITS_H
#define KENAZ_PROTO_LIMITS_H

/* Channels between processes (SOCK_SEQPACKET). */
#define PROTO_VERSION              1u
#define PACKET_MAX_BYTES           (64u * 1024)
#define PACKET_MAX_FDS             16u
#define MESSAGE_MAX_BYTES          (60u * 1024)
#define CHAN_QUEUE_MAX_PACKETS     1024u
#define CHAN_READ_PACKETS_PER_TURN 32u
#define CHAN_READ_PACKETS_AT_END   4096u

/* Bodies: up to this inline in a message, above it a sealed memfd. */
#define BODY_INLINE_MAX_BYTES    16384u
#define BODY_MAX_BYTES           (32u * 1024 * 1024)
#define RESPONSE_MAX_BYTES       (64u * 1024 * 1024)
#define RESPFRAME_DATA_MAX_BYTES 65536u

/* Audit (design section 6). */
#define EVENT_MAX_BYTES        65535u
#define EVENT_FIELDS_MAX_BYTES (48u * 1024)

/* Names and texts. */
#define SESSION_ID_BYTES      12u
#define NAME_MAX_BYTES        64u
#define MODEL_MAX_BYTES       256u
#define MODEL_NAMES_MAX_BYTES (48u * 1024) /* a list of them, with keys */
#define RULE_MAX_BYTES        128u
#define REASON_MAX_BYTES      1024u
#define HOST_MAX_BYTES        255u
#define CALL_ID_MAX_BYTES     128u
#define PATH_MAX_BYTES        4096u
#define KIND_MAX_BYTES        48u
#define ACTOR_MAX_BYTES       64u

/* Host <-> guest frames (engine/proto/frame.h). */
#define FRAME_DATA_MAX_BYTES 16384u
#define GUEST_LINE_MAX_BYTES 65536u

/* A guest's memory. */
#define MEMORY_MIN_MIB 96u
#define MEMORY_MAX_MIB 65536u

/* Fingerprints: what vm.start and queries by image carry. */
#define ARGV_TEXT_MAX_BYTES    16384u /* a command's vector, one a line */
#define IMAGE_FILTER_MAX_BYTES 64u    /* a name, or a digest in hex */

/* vsock ports (design section 3). */
#define PORT_HOST_GATE   1024u
#define PORT_HOST_EGRESS 1025u
#define PORT_GUEST_HOST  1024u

#endif
