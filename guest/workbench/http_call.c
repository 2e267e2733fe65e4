/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_call.c - send one request to the gate and read its response
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing that comes back.
 * Never:   retries, follows a redirect, keeps a connection.
 */
#include "guest/workbench/http_call.h"

#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/text.h"

#define READ_BYTES 16384

/**
 * http_place_parse() - Read a base URL
 * @url:	http://ADDRESS[:PORT][/PATH]; ADDRESS is IPv4 or localhost
 * @ret_place:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_UNSUPPORTED for another scheme
 *	   or a host that would have to be resolved: a guest has no resolver.
 */
enum err http_place_parse(struct span url, struct http_place *ret_place)
{
	struct http_place p = {.port = 80};
	struct span host, port = {0}, path;
	struct in_addr address;
	uint64_t value;
	size_t i;

	if (url.len_bytes < 7 || memcmp(url.data, "http://", 7) != 0)
		return ERR_UNSUPPORTED;
	host = span_of(url.data + 7, url.len_bytes - 7);
	for (i = 0; i < host.len_bytes && host.data[i] != '/'; i++)
		;
	path = span_of(host.data + i, host.len_bytes - i);
	host.len_bytes = i;
	for (i = 0; i < host.len_bytes && host.data[i] != ':'; i++)
		;
	if (i < host.len_bytes) {
		port = span_of(host.data + i + 1, host.len_bytes - i - 1);
		host.len_bytes = i;
		if (text_parse_u64(port, 1, UINT16_MAX, &value) != ERR_OK)
			return ERR_FORMAT;
		p.port = (uint16_t)value;
	}
	while (path.len_bytes && path.data[path.len_bytes - 1] == '/')
		path.len_bytes--;
	for (i = 0; i < path.len_bytes; i++)
		if (path.data[i] <= ' ' || path.data[i] >= 0x7f)
			return ERR_FORMAT;
	if (span_is(host, "localhost"))
		host = span_text("127.0.0.1");
	if (span_copy_text(host, p.host, sizeof(p.host)) != ERR_OK ||
	    span_copy_text(path, p.path, sizeof(p.path)) != ERR_OK)
		return ERR_LIMIT;
	if (inet_pton(AF_INET, p.host, &address) != 1)
		return ERR_UNSUPPORTED;
	*ret_place = p;
	return ERR_OK;
}

static enum err wait_for(const struct http_call *call, int fd, short events,
			 int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int rc;

	for (;;) {
		if (call->is_cancelled && call->is_cancelled())
			return ERR_CANCELLED;
		rc = poll(&p, 1, timeout_ms);
		if (rc > 0)
			return ERR_OK;
		if (rc == 0)
			return ERR_TIMEOUT;
		if (errno != EINTR)
			return ERR_SYS;
	}
}

static enum err begin_connect(const struct http_call *call, int fd)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(call->place->port)};
	int error = 0;
	socklen_t len = sizeof(error);
	enum err e;

	if (inet_pton(AF_INET, call->place->host, &address.sin_addr) != 1)
		return ERR_INTERNAL;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) ==
	    0)
		return ERR_OK;
	if (errno != EINPROGRESS)
		return ERR_SYS;
	e = wait_for(call, fd, POLLOUT, HTTP_CALL_CONNECT_MS);
	if (e != ERR_OK)
		return e;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		return ERR_SYS;
	errno = error;
	return error ? ERR_SYS : ERR_OK;
}

static enum err send_all(const struct http_call *call, int fd, struct span s)
{
	enum err e = ERR_OK;

	while (s.len_bytes) {
		ssize_t n = send(fd, s.data, s.len_bytes, MSG_NOSIGNAL);

		if (n > 0) {
			s = span_of(s.data + n, s.len_bytes - (size_t)n);
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return ERR_SYS;
		e = wait_for(call, fd, POLLOUT, HTTP_CALL_IDLE_MS);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err send_request(const struct http_call *call, int fd)
{
	struct buf head;
	enum err e;

	buf_init(&head, HTTP_CALL_HEAD_MAX);
	e = buf_printf(&head,
		       "POST %s%s HTTP/1.1\r\nHost: %s:%u\r\n"
		       "Content-Type: application/json\r\n"
		       "Content-Length: %zu\r\nConnection: close\r\n%s\r\n",
		       call->place->path, call->route, call->place->host,
		       call->place->port, call->body.len_bytes, call->headers);
	if (e == ERR_OK)
		e = send_all(call, fd, buf_span(&head));
	buf_fini(&head);
	/* A refusal may come before the body was taken: it is read below. */
	if (e == ERR_OK && send_all(call, fd, call->body) == ERR_CANCELLED)
		e = ERR_CANCELLED;
	return e;
}

static enum err read_response(const struct http_call *call, int fd)
{
	uint8_t data[READ_BYTES];
	enum err e = ERR_OK;

	while (e == ERR_OK && call->reader->state != HTTP_READER_DONE) {
		ssize_t n;

		e = wait_for(call, fd, POLLIN, HTTP_CALL_IDLE_MS);
		if (e != ERR_OK)
			return e;
		n = read(fd, data, sizeof(data));
		if (n == 0)
			return http_reader_end(call->reader);
		if (n > 0)
			e = http_reader_feed(call->reader,
					     span_of(data, (size_t)n));
		else if (errno != EAGAIN && errno != EINTR)
			e = ERR_SYS;
	}
	return e;
}

/**
 * http_call_post() - One POST and its response
 * @call:	What and where; the reader's handlers see the response
 * @ret_step:	Static text: what was being done; written in every case
 *
 * Return: ERR_OK when the response is whole; ERR_SYS with errno; ERR_SHORT
 *	   when it ended early; ERR_TIMEOUT; ERR_CANCELLED; ERR_FORMAT;
 *	   ERR_LIMIT; what a handler returned.
 */
enum err http_call_post(const struct http_call *call, const char **ret_step)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	enum err e;

	*ret_step = "connecting to the gate";
	if (fd < 0)
		return ERR_SYS;
	e = begin_connect(call, fd);
	if (e == ERR_OK) {
		*ret_step = "sending the request";
		e = send_request(call, fd);
	}
	if (e == ERR_OK) {
		*ret_step = "reading the response";
		e = read_response(call, fd);
	}
	(void)close(fd);
	return e;
}
