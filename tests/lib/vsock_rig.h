/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_rig.h - the vsock device between a test's guest and a test's host */
#ifndef KENAZ_TESTS_VSOCK_RIG_H
#define KENAZ_TESTS_VSOCK_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/fake_frontend.h"
#include "vm/vsock.h"

#define PORT       1024u /* as many streams as the device has */
#define SMALL_PORT 1025u /* two streams */
#define TURNS_MAX  20000u
#define SECOND_NS  1000000000ull

extern struct fake_frontend fake;
extern struct vsock *dev;

/* What the device told its owner. */
extern int accepted_fd; /* the last one */
extern unsigned accepted_count;
extern int all_fds[VSOCK_STREAMS_MAX + 8]; /* closed after the test */
extern size_t all_count;
extern int connected_fd;
extern unsigned connected_count;
extern uint32_t connected_port;
extern enum err connected_error;
extern uint64_t connected_cookie;
extern uint32_t connected_port;
extern const char *failed_why;

int vsock_rig_setup(void **state);
int vsock_rig_teardown(void **state);

/* Turn the device until its descriptor is quiet; returns how many turns. */
unsigned run(void);
bool device_is_quiet(void);
void close_host(int fd);
void send_op(uint16_t op, uint32_t guest_port, uint32_t host_port);
void send_flags(uint32_t flags, uint32_t guest_port);
void send_data(uint32_t guest_port, const void *data, size_t len_bytes);
struct vsock_header expect_op(uint16_t op);
void expect_silence(void);
/* A stream from the guest, answered; its host end is accepted_fd. */
void open_stream(uint32_t guest_port);
void expect_end(int fd);
/* Send blocks of 64 KiB, each filled with its own number. */
size_t stuff(uint32_t guest_port, size_t total);
size_t count_fds(void);

#define T(name)                                                \
	cmocka_unit_test_setup_teardown(name, vsock_rig_setup, \
					vsock_rig_teardown)

#endif
