/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proto.c - messages, attributes and frames: round trips and rejections
 *
 * Runs in: the test machine.
 * Trusts:  nothing.
 * Never:   mocks a socket: channels are real socket pairs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/memfd.h"
#include "engine/proto/attrs.h"
#include "engine/proto/chan.h"
#include "engine/proto/frame.h"
#include "engine/proto/respframe.h"

static void message_round_trip(void **state)
{
	struct msg_hello in = {.version = 1, .role = ROLE_GATE, .pid = 7}, out;
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	assert_int_equal(msg_hello_put(&b, &in), ERR_OK);
	assert_int_equal(msg_hello_get(buf_span(&b), &out), ERR_OK);
	assert_int_equal(out.role, ROLE_GATE);
	assert_int_equal(out.pid, 7);
	/* One byte less, one byte more. */
	b.len_bytes--;
	assert_int_equal(msg_hello_get(buf_span(&b), &out), ERR_SHORT);
	b.len_bytes++;
	assert_int_equal(buf_put_u8(&b, 0), ERR_OK);
	assert_int_equal(msg_hello_get(buf_span(&b), &out), ERR_FORMAT);
	buf_fini(&b);
}

static void message_text_is_checked(void **state)
{
	struct msg_fatal in = {.error = ERR_SYS, .text = span_of("a\xff", 2)},
			 out;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(msg_fatal_put(&b, &in), ERR_FORMAT);
	assert_int_equal(b.len_bytes, 0);
	in.text = span_text("fine");
	assert_int_equal(msg_fatal_put(&b, &in), ERR_OK);
	b.data[b.len_bytes - 1] = 0;
	assert_int_equal(msg_fatal_get(buf_span(&b), &out), ERR_FORMAT);
	b.data[b.len_bytes - 1] = 0xc0;
	assert_int_equal(msg_fatal_get(buf_span(&b), &out), ERR_FORMAT);
	/* The length field says more than the limit. */
	b.data[4] = 0xff;
	b.data[5] = 0xff;
	assert_int_equal(msg_fatal_get(buf_span(&b), &out), ERR_LIMIT);
	buf_fini(&b);
}

struct peer {
	unsigned messages, closed;
	enum err reason;
	int fd;
	uv_loop_t *loop;
};

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *m)
{
	struct peer *p = context;

	(void)c;
	p->messages++;
	if (m->n_fds) {
		p->fd = m->fds[0];
		m->fds[0] = -1;
	}
	return ERR_OK;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	struct peer *p = context;

	(void)c;
	p->closed++;
	p->reason = reason;
	uv_stop(p->loop);
}

static const struct chan_handler handler = {on_message, on_closed};

static void channel_carries_messages_and_descriptors(void **state)
{
	struct peer core = {.fd = -1}, child = {.fd = -1};
	struct chan *a, *b;
	uv_loop_t loop;
	int fds[2], pipe_fds[2], i;
	char byte;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	core.loop = child.loop = &loop;
	assert_int_equal(chan_pair(fds), ERR_OK);
	assert_int_equal(chan_new(&loop, fds[0], ROLE_CORE, ROLE_LAUNCH,
				  &handler, &core, &a),
			 ERR_OK);
	assert_int_equal(chan_new(&loop, fds[1], ROLE_LAUNCH, ROLE_CORE,
				  &handler, &child, &b),
			 ERR_OK);
	assert_int_equal(chan_send_hello(b, &(struct msg_hello){.version = 1},
					 NULL, 0),
			 ERR_OK);
	for (i = 0; i < 200; i++)
		assert_int_equal(chan_send_vm_stage(
					 b, &(struct msg_vm_stage){.stage = 1},
					 NULL, 0),
				 ERR_OK);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(chan_send_stream_egress(b,
						 &(struct msg_stream_egress){0},
						 &pipe_fds[1], 1),
			 ERR_OK);
	while (core.messages < 202)
		uv_run(&loop, UV_RUN_ONCE);
	assert_true(core.fd >= 0);
	assert_int_equal(write(core.fd, "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	close(core.fd);
	close(pipe_fds[0]);
	/* The other side goes: on_closed runs once. */
	chan_free(b);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(core.closed, 1);
	assert_int_equal(core.reason, ERR_CLOSED);
	assert_int_equal(chan_send_vm_spawn(a, &(struct msg_vm_spawn){0}, NULL,
					    0),
			 ERR_CLOSED);
	chan_free(a);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void send_with_fd(int socket_fd, const uint8_t *packet, size_t len,
			 int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	uint8_t copy[16];
	struct iovec iov = {.iov_base = copy, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};

	assert_true(len <= sizeof(copy));
	memcpy(copy, packet, len);
	control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
					 .cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket_fd, &m, 0), (ssize_t)len);
}

/* A descriptor that came with it must be closed, too. */
static void channel_refuses(const uint8_t *packet, size_t len, bool with_fd,
			    enum err want)
{
	struct peer core = {.fd = -1};
	struct chan *a;
	uv_loop_t loop;
	int fds[2], pipe_fds[2];
	char byte;

	assert_int_equal(uv_loop_init(&loop), 0);
	core.loop = &loop;
	assert_int_equal(chan_pair(fds), ERR_OK);
	assert_int_equal(chan_new(&loop, fds[0], ROLE_CORE, ROLE_LAUNCH,
				  &handler, &core, &a),
			 ERR_OK);
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
	if (with_fd)
		send_with_fd(fds[1], packet, len, pipe_fds[1]);
	else
		assert_int_equal(send(fds[1], packet, len, 0), (ssize_t)len);
	close(pipe_fds[1]);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	close(pipe_fds[0]);
	assert_int_equal(core.messages, 0);
	assert_int_equal(core.closed, 1);
	assert_int_equal(core.reason, want);
	chan_free(a);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(fds[1]);
}

/* A message out of its state, from the wrong side, or of no type at all. */
static void channel_refuses_bad_packets(void **state)
{
	/* vm_spawn goes from core to launch, never back */
	const uint8_t wrong_way[] = {0, 0, 0, 0, 64, 0, 0, 0};
	const uint8_t unknown[] = {0, 0, 0, 0, 254, 0, 0, 0};
	const uint8_t longer[] = {9, 0, 0, 0, 1, 0, 0, 0, 1};
	const uint8_t short_head[] = {0, 0, 0};
	const uint8_t phantom_fd[] = {0, 0, 0, 0, 69, 0, 1, 0};

	(void)state;
	channel_refuses(wrong_way, sizeof(wrong_way), false, ERR_STATE);
	channel_refuses(wrong_way, sizeof(wrong_way), true, ERR_STATE);
	channel_refuses(unknown, sizeof(unknown), true, ERR_FORMAT);
	channel_refuses(longer, sizeof(longer), true, ERR_FORMAT);
	channel_refuses(short_head, sizeof(short_head), true, ERR_FORMAT);
	channel_refuses(phantom_fd, sizeof(phantom_fd), false, ERR_FORMAT);
}

/* @unread: what we sent lies unread with the peer; else it is not sent yet. */
static void last_word_arrives(bool unread)
{
	const uint8_t dismiss[] = {0, 0, 0, 0, MSG_DISMISS, 0, 0, 0};
	struct peer child = {.fd = -1};
	uv_loop_t loop;
	struct chan *b;
	int fds[2];

	assert_int_equal(uv_loop_init(&loop), 0);
	child.loop = &loop;
	assert_int_equal(chan_pair(fds), ERR_OK);
	assert_int_equal(chan_new(&loop, fds[1], ROLE_LAUNCH, ROLE_CORE,
				  &handler, &child, &b),
			 ERR_OK);
	assert_int_equal(chan_send_hello(b, &(struct msg_hello){.version = 1},
					 NULL, 0),
			 ERR_OK);
	if (unread)
		assert_int_equal(chan_flush(b), ERR_OK);
	assert_int_equal(send(fds[0], dismiss, sizeof(dismiss), 0),
			 sizeof(dismiss));
	close(fds[0]);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(child.messages, 1);
	assert_int_equal(child.closed, 1);
	assert_int_equal(child.reason, ERR_CLOSED);
	chan_free(b);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* What a peer said before it left counts, whatever we still say to it. */
static void the_last_word_of_a_peer_arrives(void **state)
{
	(void)state;
	last_word_arrives(true);
	last_word_arrives(false);
}

static void attributes_round_trip(void **state)
{
	struct span items[2] = {span_text("one"), span_text("two")}, s;
	struct reader r, list;
	struct attr a;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(attrs_put_text(&b, "k", span_text("v")), ERR_OK);
	assert_int_equal(attrs_put_u64(&b, "n", 42), ERR_OK);
	assert_int_equal(attrs_put_bool(&b, "t", true), ERR_OK);
	assert_int_equal(attrs_put_list(&b, "l", items, 2), ERR_OK);
	assert_true(attrs_find(buf_span(&b), "n", &a));
	assert_int_equal(a.number, 42);
	assert_true(attrs_find(buf_span(&b), "l", &a));
	reader_init(&list, a.items);
	assert_true(attrs_list_next(&list, &s));
	assert_true(attrs_list_next(&list, &s));
	assert_true(span_is(s, "two"));
	assert_false(attrs_list_next(&list, &s));
	b.data[0] = 99;
	reader_init(&r, buf_span(&b));
	assert_false(attrs_next(&r, &a));
	assert_int_equal(r.status, ERR_FORMAT);
	buf_fini(&b);
}

static void frames_reject(void **state)
{
	const uint8_t bad_type[] = {9, 0, 0, 0, 0, 0, 0, 0};
	const uint8_t bad_stream[] = {1, 3, 0, 0, 1, 0, 0, 0, 'x'};
	const uint8_t reserved[] = {1, 0, 1, 0, 1, 0, 0, 0, 'x'};
	const uint8_t too_long[] = {1, 0, 0, 0, 1, 64, 0, 0};
	const uint8_t empty[] = {1, 0, 0, 0, 0, 0, 0, 0};
	const uint8_t short_exit[] = {5, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0};
	struct frame f;
	size_t taken;

	(void)state;
#define GET(x) frame_get(span_of(x, sizeof(x)), &f, &taken)
	assert_int_equal(GET(bad_type), ERR_FORMAT);
	assert_int_equal(GET(bad_stream), ERR_FORMAT);
	assert_int_equal(GET(reserved), ERR_FORMAT);
	assert_int_equal(GET(too_long), ERR_LIMIT);
	assert_int_equal(GET(empty), ERR_LIMIT);
	assert_int_equal(GET(short_exit), ERR_LIMIT);
#undef GET
}

static void frames_round_trip_in_pieces(void **state)
{
	struct frame f;
	struct buf b;
	size_t taken, i;
	int32_t code;
	uint8_t signalled;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(frame_put(&b, FRAME_DATA, 1, span_text("hello")),
			 ERR_OK);
	assert_int_equal(frame_put_exit(&b, -3, 1), ERR_OK);
	for (i = 0; i < FRAME_HEAD_BYTES + 5; i++)
		assert_int_equal(frame_get(span_of(b.data, i), &f, &taken),
				 ERR_AGAIN);
	assert_int_equal(frame_get(buf_span(&b), &f, &taken), ERR_OK);
	assert_true(span_is(f.data, "hello"));
	buf_consume(&b, taken);
	assert_int_equal(frame_get(buf_span(&b), &f, &taken), ERR_OK);
	assert_int_equal(frame_get_exit(&f, &code, &signalled), ERR_OK);
	assert_int_equal(code, -3);
	assert_int_equal(signalled, 1);
	buf_fini(&b);
}

static void response_frames_round_trip(void **state)
{
	struct respframe f;
	struct buf b;
	size_t taken;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(respframe_put_head(&b, 200, span_of(NULL, 0)), ERR_OK);
	assert_int_equal(respframe_put_data(&b, span_text("body")), ERR_OK);
	assert_int_equal(respframe_put_end(&b, ERR_UPSTREAM, span_text("cut")),
			 ERR_OK);
	assert_int_equal(respframe_get(buf_span(&b), &f, &taken), ERR_OK);
	assert_int_equal(f.status, 200);
	buf_consume(&b, taken);
	assert_int_equal(respframe_get(buf_span(&b), &f, &taken), ERR_OK);
	assert_true(span_is(f.data, "body"));
	buf_consume(&b, taken);
	assert_int_equal(respframe_get(span_of(b.data, 6), &f, &taken),
			 ERR_AGAIN);
	assert_int_equal(respframe_get(buf_span(&b), &f, &taken), ERR_OK);
	assert_int_equal(f.error, ERR_UPSTREAM);
	assert_true(span_is(f.text, "cut"));
	b.data[0] = 7;
	assert_int_equal(respframe_get(buf_span(&b), &f, &taken), ERR_FORMAT);
	buf_fini(&b);
}

static void bodies_must_be_sealed(void **state)
{
	struct body body;
	int fd, loose[2];
	size_t size;

	(void)state;
	assert_int_equal(memfd_from_span("t", span_text("abc"), &fd), ERR_OK);
	assert_int_equal(memfd_check(fd, 3, &size), ERR_OK);
	assert_int_equal(memfd_check(fd, 2, &size), ERR_LIMIT);
	assert_int_equal(body_open((struct span){0}, fd, 3, 9, &body), ERR_OK);
	assert_true(span_is(body.bytes, "abc"));
	body_close(&body);
	assert_int_equal(body_open((struct span){0}, fd, 4, 9, &body),
			 ERR_FORMAT);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	close(fd);
	assert_int_equal(pipe(loose), 0);
	assert_int_equal(body_open((struct span){0}, loose[0], 3, 9, &body),
			 ERR_INTEGRITY);
	close(loose[0]);
	close(loose[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_round_trip),
		cmocka_unit_test(message_text_is_checked),
		cmocka_unit_test(channel_carries_messages_and_descriptors),
		cmocka_unit_test(channel_refuses_bad_packets),
		cmocka_unit_test(the_last_word_of_a_peer_arrives),
		cmocka_unit_test(attributes_round_trip),
		cmocka_unit_test(frames_reject),
		cmocka_unit_test(frames_round_trip_in_pieces),
		cmocka_unit_test(response_frames_round_trip),
		cmocka_unit_test(bodies_must_be_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
