/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm_guest.c - the other end of bench_vm.py, process 1 of a guest
 *
 * Runs in: a benchmark's guest, statically linked.
 * Trusts:  bench_vm.py.
 * Never:   ends.
 *
 * Loads the modules in /m in the order of /m/order, then serves whichever
 * transports it finds: a virtio-serial port, TCP to 10.0.2.2 (the host in
 * QEMU's user-mode network; the kernel hands bench_port of its command line to
 * us as a variable), and up to two vsock streams to host port 1024. A
 * command is one line: S<MiB> send, R<MiB> receive and answer K, P<count>
 * echo so many single bytes.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK_BYTES       (256u * 1024u)
#define VSOCK_PORT        1024u
#define VSOCK_STREAMS     2
#define STREAM_ROOM_BYTES (512u * 1024u)
#define TRIES             200
#define TRY_US            20000

static char chunk[CHUNK_BYTES];

static void load_modules(void)
{
	FILE *order = fopen("/m/order", "r");
	char name[64], path[128];

	while (order && fgets(name, sizeof(name), order)) {
		int fd;

		name[strcspn(name, "\n")] = '\0';
		(void)snprintf(path, sizeof(path), "/m/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			perror(path);
		if (fd >= 0)
			close(fd);
	}
	if (order)
		(void)fclose(order);
}

static int send_mib(int fd, long mib)
{
	long left = mib << 20;

	while (left > 0) {
		size_t want =
			left < (long)CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
		ssize_t n = write(fd, chunk, want);

		if (n <= 0)
			return -1;
		left -= n;
	}
	return 0;
}

static int receive_mib(int fd, long mib)
{
	long left = mib << 20;

	while (left > 0) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n <= 0)
			return -1;
		left -= n;
	}
	return write(fd, "K", 1) == 1 ? 0 : -1;
}

static int echo_bytes(int fd, long count)
{
	char c;

	while (count-- > 0)
		if (read(fd, &c, 1) != 1 || write(fd, &c, 1) != 1)
			return -1;
	return 0;
}

static int serve_one(int fd)
{
	char line[16];
	size_t len = 0;
	long count;

	while (len < sizeof(line) - 1) {
		if (read(fd, line + len, 1) != 1)
			return -1;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	count = strtol(line + 1, NULL, 10);
	switch (line[0]) {
	case 'S':
		return send_mib(fd, count);
	case 'R':
		return receive_mib(fd, count);
	case 'P':
		return echo_bytes(fd, count);
	default:
		return -1;
	}
}

static void serve_in_child(int fd)
{
	if (fork() == 0) {
		while (serve_one(fd) == 0)
			continue;
		_exit(0);
	}
	close(fd);
}

static void find_serial(void)
{
	char path[32];
	int card, fd;

	for (card = 0; card < 4; card++) {
		(void)snprintf(path, sizeof(path), "/dev/vport%dp1", card);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			serve_in_child(fd);
	}
}

static void set_address(struct ifreq *r, const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	(void)inet_pton(AF_INET, text, &in.sin_addr);
	memcpy(&r->ifr_addr, &in, sizeof(in));
}

/* The address that QEMU's user-mode network expects. */
static int network_up(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq r = {.ifr_name = "eth0"};
	int bad;

	set_address(&r, "10.0.2.15");
	bad = ioctl(s, SIOCSIFADDR, &r);
	set_address(&r, "255.255.255.0");
	bad |= ioctl(s, SIOCSIFNETMASK, &r);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	bad |= ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
	return bad;
}

static void find_network(void)
{
	const char *port = getenv("bench_port");
	struct sockaddr_in to = {.sin_family = AF_INET};
	int s, i;

	if (!port || network_up() != 0)
		return;
	to.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	(void)inet_pton(AF_INET, "10.0.2.2", &to.sin_addr);
	for (i = 0; i < TRIES; i++) {
		s = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(s, (struct sockaddr *)&to, sizeof(to)) == 0) {
			serve_in_child(s);
			return;
		}
		close(s);
		usleep(TRY_US);
	}
}

static void find_vsock(void)
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_HOST,
				 .svm_port = VSOCK_PORT};
	unsigned long long room = STREAM_ROOM_BYTES;
	int s, i, made = 0;

	for (i = 0; i < TRIES && made < VSOCK_STREAMS; i++) {
		s = socket(AF_VSOCK, SOCK_STREAM, 0);
		if (s < 0)
			return;
		/* As kenaz-guestd does for its streams (guest/transport.c). */
		(void)setsockopt(s, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE,
				 &room, sizeof(room));
		(void)setsockopt(s, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room,
				 sizeof(room));
		if (connect(s, (struct sockaddr *)&to, sizeof(to)) == 0) {
			serve_in_child(s);
			made++;
			continue;
		}
		close(s);
		usleep(TRY_US);
	}
}

int main(void)
{
	(void)mount("dev", "/dev", "devtmpfs", 0, "");
	load_modules();
	find_serial();
	find_network();
	find_vsock();
	for (;;)
		pause();
}
