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
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/base/log.h"
#include "engine/base/version.h"
#include "guest/plug.h"
#include "guest/stream.h"
#include "guest/transport.h"

#define ANNOUNCE_MAX_BYTES    2048u
#define ANNOUNCE_LOOK_NS      (2 * LOOP_MS_NS)
#define ANNOUNCE_LOOKS        10u /* between two tries to connect */
#define ANNOUNCE_LOOK_SLOW_NS (50 * LOOP_MS_NS)
#define ANNOUNCE_LOOK_FAST_NS (10000 * LOOP_MS_NS) /* then slowly */
#define ANNOUNCE_WAITS_TEXT   "KENAZ-GUEST-WAITS\n"
#define ANNOUNCE_RETRY_NS     (200 * LOOP_MS_NS)
#define ANNOUNCE_ANSWER_NS    (5000 * LOOP_MS_NS) /* doubled each time */
#define ANNOUNCE_PATIENT_NS   (80000 * LOOP_MS_NS)
#define ANNOUNCE_HELLO_NS     (10000 * LOOP_MS_NS)
#define SUCCESS_TEXT          "HTTP/1.1 2"

static struct stream stream;
static struct timer timer;
static bool is_open, is_stopped, has_warned;
static uint64_t answer_ns = ANNOUNCE_ANSWER_NS;
static uint64_t waiting_since_ns; /* for the device; 0 is not */

static void begin(struct timer *unused);
static void look_later(void);

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

static enum err write_body(struct buf *out)
{
	struct utsname names = {0};
	struct jsonw w;

	(void)uname(&names);
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "guestd", KENAZ_VERSION);
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

/*
 * A guest that is to become a template has no device; it is stopped here, and
 * its clones find one when they go on. So it looks often at first.
 */
static void wait_for_device(struct timer *unused)
{
	static unsigned looks;

	(void)unused;
	/* The kernel may also have found it by itself. */
	if (plug_look() || ++looks % ANNOUNCE_LOOKS == 0)
		begin(&timer);
	else
		look_later();
}

static void look_later(void)
{
	bool is_new = loop_now_ns() - waiting_since_ns < ANNOUNCE_LOOK_FAST_NS;

	timer_start(&timer, is_new ? ANNOUNCE_LOOK_NS : ANNOUNCE_LOOK_SLOW_NS,
		    wait_for_device, NULL);
}

static void no_device(void)
{
	if (waiting_since_ns == 0) {
		waiting_since_ns = loop_now_ns();
		/* The host makes its template after this line. */
		(void)!write(STDOUT_FILENO, ANNOUNCE_WAITS_TEXT,
			     strlen(ANNOUNCE_WAITS_TEXT));
	}
	look_later();
}

static void begin(struct timer *unused)
{
	int fd;

	(void)unused;
	if (transport_connect(TRANSPORT_PORT_GATE, &fd) != ERR_OK) {
		if (errno == ENODEV || errno == ENETUNREACH) {
			no_device();
			return;
		}
		if (!has_warned)
			log_warn("cannot reach the host yet: %s",
				 strerror(errno));
		has_warned = true;
		retry(ANNOUNCE_RETRY_NS);
		return;
	}
	plug_close();
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
	/* A guest that waits for its session may wait for hours. */
	timer_start(&timer, answer_ns, on_late, NULL);
	if (answer_ns < ANNOUNCE_PATIENT_NS)
		answer_ns *= 2;
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
