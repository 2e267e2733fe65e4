/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_probe.c - speak AF_VSOCK from a shell script
 *
 * Runs in: the outer guest of scripts/check-vhost, guests inside it, and
 *	    guests of scenarios; static, so that it runs in any image.
 * Trusts:  nothing.
 * Never:   waits longer than PATIENCE_MS for a peer.
 *
 * vsock_probe connect CID PORT [TEXT]	send TEXT and an end of line, print all
 *					that comes back; the last line says
 *					how it ended
 * vsock_probe flood CID PORT COUNT	how many of COUNT streams stay open
 * vsock_probe echo PORT COUNT		listen; answer COUNT streams with what
 *					they send, until they end
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PATIENCE_MS 20000
#define FLOOD_MAX   1024

static unsigned number(const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || value > UINT32_MAX) {
		fprintf(stderr, "vsock_probe: %s is no number\n", text);
		exit(2);
	}
	return (unsigned)value;
}

static int dial(unsigned cid, unsigned port)
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK,
				 .svm_cid = cid,
				 .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool is_readable(int fd, int patience_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, patience_ms) > 0;
}

static int run_connect(unsigned cid, unsigned port, const char *text)
{
	int fd = dial(cid, port);
	size_t total = 0;
	char data[4096];
	ssize_t n = 1;

	if (fd < 0) {
		printf("refused: %s\n", strerror(errno));
		return 1;
	}
	if (text && (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 ||
		     send(fd, "\n", 1, MSG_NOSIGNAL) < 0))
		printf("not sent: %s\n", strerror(errno));
	while (is_readable(fd, PATIENCE_MS)) {
		n = read(fd, data, sizeof(data));
		if (n <= 0)
			break;
		fwrite(data, 1, (size_t)n, stdout);
		total += (size_t)n;
	}
	printf("%s after %zu bytes\n",
	       n > 0    ? "still open"
	       : n == 0 ? "closed"
			: "reset",
	       total);
	close(fd);
	return 0;
}

static int run_flood(unsigned cid, unsigned port, unsigned count)
{
	static int fds[FLOOD_MAX];
	unsigned i, open = 0;

	if (count > FLOOD_MAX)
		return 2;
	for (i = 0; i < count; i++)
		fds[i] = dial(cid, port);
	/* One that was closed for the limit is readable: its end. */
	for (i = 0; i < count; i++)
		if (fds[i] >= 0 && !is_readable(fds[i], i ? 50 : 2000))
			open++;
	printf("%u of %u stay open\n", open, count);
	return 0;
}

static int run_echo(unsigned port, unsigned count)
{
	struct sockaddr_vm at = {.svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_ANY,
				 .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char data[4096];

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(fd, 8) < 0) {
		perror("vsock_probe");
		return 1;
	}
	printf("listening\n");
	fflush(stdout);
	while (count--) {
		int stream = accept(fd, NULL, NULL);
		ssize_t n;

		if (stream < 0)
			return 1;
		while ((n = read(stream, data, sizeof(data))) > 0)
			if (send(stream, data, (size_t)n, MSG_NOSIGNAL) != n)
				break;
		close(stream);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "connect") == 0)
		return run_connect(number(argv[2]), number(argv[3]), argv[4]);
	if (argc == 5 && strcmp(argv[1], "flood") == 0)
		return run_flood(number(argv[2]), number(argv[3]),
				 number(argv[4]));
	if (argc == 4 && strcmp(argv[1], "echo") == 0)
		return run_echo(number(argv[2]), number(argv[3]));
	fprintf(stderr, "usage: vsock_probe connect|flood|echo ...\n");
	return 2;
}
