/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - keep N HTTP connections busy and say how fast they were
 *
 * Runs in: make bench, started by bench_infer.py.
 * Trusts:  the servers that it measures to speak HTTP/1.1.
 * Never:   measures before every connection had its first answer.
 *
 * load ADDRESS CONNECTIONS SECONDS HEAD-FILE: ADDRESS is a path or a port of
 * 127.0.0.1; HEAD-FILE holds one whole request, which is sent again as soon
 * as its answer (by length or in chunks) is complete. Prints one JSON object;
 * fails when an answer is not 200 or a connection closes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/text.h"

#define CONNECTIONS_MAX    1024u
#define REQUEST_MAX_BYTES  65536u
#define RESPONSE_MAX_BYTES 262144u
#define SAMPLES_MAX        4000000u
#define EVENTS_PER_TURN    64
#define SILENCE_MS         10000 /* no answer at all: the server is stuck */
#define WARM_UP_NS         UINT64_C(20000000000) /* for every first answer */

struct connection {
	int fd;
	uint64_t sent_ns;
	size_t have_bytes;
	bool warm;
	char data[RESPONSE_MAX_BYTES];
};

static char request[REQUEST_MAX_BYTES];
static size_t request_bytes;
static uint32_t *samples_us_x10; /* tenths of a microsecond */
static size_t n_samples;
static unsigned cold;
static uint64_t end_ns;

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void __attribute__((noreturn)) fail(const char *what)
{
	(void)fprintf(stderr, "load: %s\n", what);
	exit(1);
}

static int open_connection(const char *address, uint64_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, one = 1;

	fd = socket(port ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		fail("no socket");
	if (port) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
				 sizeof(one));
		if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
			fail("cannot connect");
	} else {
		if (strlen(address) >= sizeof(un.sun_path))
			fail("the path is too long");
		memcpy(un.sun_path, address, strlen(address) + 1);
		while (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
			if (errno != EAGAIN && errno != EINTR)
				fail("cannot connect");
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void send_request(struct connection *c)
{
	ssize_t n;

	c->have_bytes = 0;
	c->sent_ns = now_ns();
	n = send(c->fd, request, request_bytes, MSG_NOSIGNAL);
	if (n != (ssize_t)request_bytes)
		fail("a request could not be sent at once");
}

/* Where a header's value starts, or NULL. @head ends with its blank line. */
static const char *header(const char *head, const char *name)
{
	const char *line = head;
	size_t len = strlen(name);

	while ((line = strstr(line, "\r\n")) != NULL) {
		line += 2;
		if (strncasecmp(line, name, len) == 0)
			return line + len + strspn(line + len, " ");
	}
	return NULL;
}

static bool is_complete(struct connection *c)
{
	const char *end, *value;
	size_t head_bytes;

	c->data[c->have_bytes] = '\0';
	end = strstr(c->data, "\r\n\r\n");
	if (!end)
		return false;
	if (strncmp(c->data, "HTTP/1.1 200", 12) != 0) {
		(void)fprintf(stderr, "%.800s\n", c->data);
		fail("an answer was not 200");
	}
	head_bytes = (size_t)(end - c->data) + 4;
	value = header(c->data, "content-length:");
	if (value && value < end) {
		size_t digits = strspn(value, "0123456789");
		uint64_t length;

		if (text_parse_u64(span_of(value, digits), 0,
				   RESPONSE_MAX_BYTES, &length) != ERR_OK)
			fail("a length is none");
		return c->have_bytes >= head_bytes + length;
	}
	return c->have_bytes >= head_bytes + 5 &&
	       memcmp(c->data + c->have_bytes - 5, "0\r\n\r\n", 5) == 0;
}

static void on_readable(struct connection *c)
{
	uint64_t now;
	ssize_t n;

	if (c->have_bytes + 1 >= sizeof(c->data))
		fail("an answer is too long");
	n = recv(c->fd, c->data + c->have_bytes,
		 sizeof(c->data) - 1 - c->have_bytes, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail("a connection was closed");
	c->have_bytes += (size_t)n;
	if (!is_complete(c))
		return;
	now = now_ns();
	if (!c->warm) {
		c->warm = true;
		cold--;
	} else if (end_ns && n_samples < SAMPLES_MAX) {
		samples_us_x10[n_samples++] =
			(uint32_t)((now - c->sent_ns) / 100u);
	}
	send_request(c);
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double at_ms(double part)
{
	size_t i = (size_t)((double)(n_samples - 1) * part);

	return (double)samples_us_x10[i] / 10000.0;
}

static void run(int epoll_fd, uint64_t seconds)
{
	struct epoll_event events[EVENTS_PER_TURN];
	uint64_t start_ns = 0, begin_ns = now_ns();
	int i, n;

	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, SILENCE_MS);
		if (n <= 0)
			fail("no answer for ten seconds");
		for (i = 0; i < n; i++)
			on_readable(events[i].data.ptr);
		if (!end_ns && cold == 0) {
			start_ns = now_ns();
			end_ns = start_ns + seconds * 1000000000u;
		}
		if (end_ns && now_ns() >= end_ns)
			break;
		if (!end_ns && now_ns() - begin_ns > WARM_UP_NS) {
			(void)fprintf(stderr,
				      "load: no answer on %u of the "
				      "connections\n",
				      cold);
			exit(1);
		}
	}
	if (n_samples == 0)
		fail("nothing was measured");
	qsort(samples_us_x10, n_samples, sizeof(*samples_us_x10), compare);
	(void)printf("{\"requests\": %zu, \"rps\": %.1f, \"p50_ms\": %.4f, "
		     "\"p99_ms\": %.4f}\n",
		     n_samples,
		     (double)n_samples * 1e9 / (double)(now_ns() - start_ns),
		     at_ms(0.5), at_ms(0.99));
}

int main(int argc, char **argv)
{
	uint64_t port = 0, count, seconds;
	struct epoll_event event = {.events = EPOLLIN};
	struct connection *c;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	FILE *f;

	if (argc != 5 ||
	    text_parse_u64(span_text(argv[2]), 1, CONNECTIONS_MAX, &count) !=
		    ERR_OK ||
	    text_parse_u64(span_text(argv[3]), 1, 600, &seconds) != ERR_OK)
		fail("usage: load PATH|PORT CONNECTIONS SECONDS REQUEST-FILE");
	if (argv[1][0] != '/' &&
	    text_parse_u64(span_text(argv[1]), 1, 65535, &port) != ERR_OK)
		fail("the address is neither a path nor a port");
	f = fopen(argv[4], "re");
	if (!f)
		fail("the request cannot be read");
	request_bytes = fread(request, 1, sizeof(request), f);
	(void)fclose(f);
	samples_us_x10 = calloc(SAMPLES_MAX, sizeof(*samples_us_x10));
	c = calloc(count, sizeof(*c));
	if (!samples_us_x10 || !c || epoll_fd < 0)
		fail("no memory");
	cold = (unsigned)count;
	for (uint64_t i = 0; i < count; i++) {
		c[i].fd = open_connection(argv[1], port);
		event.data.ptr = &c[i];
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c[i].fd, &event) < 0)
			fail("epoll");
		send_request(&c[i]);
	}
	run(epoll_fd, seconds);
	free(samples_us_x10);
	free(c);
	(void)close(epoll_fd);
	return 0;
}
