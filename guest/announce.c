/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce.c - tell the host that this guest is up, until it says hello
 *
 * Runs in: kenaz-guestd.
 * Trusts:  nothing; the answer matters only by being a success or not.
 * Never:   gives up: a guest of a template meets its host only after the
 *	    restore, when the device appears.
 *
 * One HTTP/1.1 request to the gate's port: POST /kenaz/v1/announce.
 */
#include "guest/announce.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/base/log.h"
#include "engine/base/version.h"
#include "guest/stream.h"
#include "guest/transport.h"

#define ANNOUNCE_MAX_BYTES    2048u
#define ANNOUNCE_NO_DEVICE_NS (20 * LOOP_MS_NS)
#define ANNOUNCE_RETRY_NS     (200 * LOOP_MS_NS)
#define ANNOUNCE_ANSWER_NS    (5000 * LOOP_MS_NS)
#define ANNOUNCE_HELLO_NS     (10000 * LOOP_MS_NS)
#define BOOT_ID_BYTES         36u
#define SUCCESS_TEXT          "HTTP/1.1 2"

static struct stream stream;
static struct timer timer;
static bool is_open, is_stopped, has_warned;

static void begin(struct timer *unused);

static void close_stream(void)
{
	if (is_open)
		stream_fini(&stream);
	is_open = false;
}

static void retry(uint64_t delay_ns)
{
	close_stream();
	if (!is_stopped)
		timer_start(&timer, delay_ns, begin, NULL);
}

static void on_late(struct timer *unused)
{
	(void)unused;
	retry(ANNOUNCE_RETRY_NS);
}

static struct span read_boot_id(char text[BOOT_ID_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, BOOT_ID_BYTES);
		(void)close(fd);
	}
	return span_of(text, n > 0 ? (size_t)n : 0);
}

static enum err write_body(struct buf *out)
{
	struct utsname names = {0};
	char boot_id[BOOT_ID_BYTES];
	struct jsonw w;

	(void)uname(&names);
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "guestd", KENAZ_VERSION);
	jsonw_put_text(&w, "boot_id", read_boot_id(boot_id));
	jsonw_put_u64(&w, "uptime_ns", loop_now_ns());
	jsonw_put_cstr(&w, "kernel", names.release);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err write_request(struct buf *out)
{
	struct buf body;
	enum err e;

	buf_init(&body, ANNOUNCE_MAX_BYTES / 2);
	e = write_body(&body);
	if (e == ERR_OK)
		e = buf_printf(out,
			       "POST /kenaz/v1/announce HTTP/1.1\r\n"
			       "Host: kenaz\r\n"
			       "Content-Type: application/json\r\n"
			       "Content-Length: %zu\r\n"
			       "Connection: close\r\n\r\n",
			       body.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&body));
	buf_fini(&body);
	return e;
}

static void on_stream(struct stream *s)
{
	const size_t len = strlen(SUCCESS_TEXT);

	if (s->in.len_bytes >= len) {
		bool success = memcmp(s->in.data, SUCCESS_TEXT, len) == 0;

		/* The hello follows; without one, announce again. */
		retry(success ? ANNOUNCE_HELLO_NS : ANNOUNCE_RETRY_NS);
	} else if (s->status != ERR_OK) {
		retry(ANNOUNCE_RETRY_NS);
	} else {
		stream_update(s);
	}
}

static void begin(struct timer *unused)
{
	bool no_device;
	int fd;

	(void)unused;
	if (transport_connect(TRANSPORT_PORT_GATE, &fd) != ERR_OK) {
		no_device = errno == ENODEV || errno == ENETUNREACH;
		if (!has_warned)
			log_warn("cannot reach the host yet: %s",
				 strerror(errno));
		has_warned = true;
		retry(no_device ? ANNOUNCE_NO_DEVICE_NS : ANNOUNCE_RETRY_NS);
		return;
	}
	if (stream_init(&stream, fd, ANNOUNCE_MAX_BYTES, ANNOUNCE_MAX_BYTES,
			on_stream, NULL) != ERR_OK) {
		retry(ANNOUNCE_RETRY_NS);
		return;
	}
	is_open = true;
	stream.connecting = true;
	if (write_request(&stream.out) != ERR_OK) {
		retry(ANNOUNCE_RETRY_NS);
		return;
	}
	stream_update(&stream);
	timer_start(&timer, ANNOUNCE_ANSWER_NS, on_late, NULL);
}

/** announce_start() - Announce now, and again until announce_stop() */
void announce_start(void)
{
	is_stopped = false;
	begin(&timer);
}

/** announce_stop() - The host has said hello */
void announce_stop(void)
{
	is_stopped = true;
	timer_stop(&timer);
	close_stream();
}
