/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init.c - what PID 1 sets up before anything else, and how the VM ends
 *
 * Runs in: kenaz-guestd as PID 1.
 * Trusts:  the image and the kernel command line, both the host's.
 * Never:   runs in the development mock.
 */
#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"

#define INIT_CMDLINE_MAX_BYTES 4096

static const struct {
	const char *type;
	const char *at;
	unsigned long flags;
	const char *options;
} mount_table[] = {
	{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	 "hidepid=invisible"},
	{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, ""},
	{"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
	{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
	 "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
};

static const struct {
	const char *target;
	const char *path;
} link_table[] = {
	{"/proc/self/fd", "/dev/fd"},       {"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	{"pts/ptmx", "/dev/ptmx"},
};

/* The kernel gives PID 1 its console only if /dev/console was there. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	(void)dup2(fd, 0);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	if (fd > 2)
		(void)close(fd);
}

/**
 * init_mount() - Mount the kernel's file systems and the scratch ones
 *
 * Return: ERR_OK; ERR_SYS when one could not be mounted (the rest is).
 */
enum err init_mount(void)
{
	enum err e = ERR_OK;
	size_t i;

	/* The kernel makes the root of an initramfs writable for everybody. */
	if (chmod("/", 0755) != 0)
		e = ERR_SYS;
	for (i = 0; i < ARRAY_SIZE(mount_table); i++) {
		(void)mkdir(mount_table[i].at, 0755);
		if (mount(mount_table[i].type, mount_table[i].at,
			  mount_table[i].type, mount_table[i].flags,
			  mount_table[i].options) == 0)
			continue;
		log_error("cannot mount %s: %s", mount_table[i].at,
			  strerror(errno));
		e = ERR_SYS;
	}
	open_console();
	for (i = 0; i < ARRAY_SIZE(link_table); i++) {
		(void)unlink(link_table[i].path);
		if (symlink(link_table[i].target, link_table[i].path) != 0)
			e = ERR_SYS;
	}
	return e;
}

/**
 * init_loopback() - Bring the loopback interface up, the only one there is
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err init_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	enum err e = ERR_SYS;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return ERR_SYS;
	if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
		goto out;
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &request) == 0)
		e = ERR_OK;
out:
	(void)close(fd);
	return e;
}

/**
 * init_get_option() - Find a word of the kernel command line by its beginning
 * @name:	For example "kenaz.root="
 * @ret_value:	What follows in that word, NUL-terminated
 * @cap_bytes:	Room for it
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_LIMIT when it does not fit; ERR_SYS.
 */
enum err init_get_option(const char *name, char *ret_value, size_t cap_bytes)
{
	char line[INIT_CMDLINE_MAX_BYTES];
	size_t len = strlen(name);
	const char *at;
	ssize_t n;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYS;
	n = read(fd, line, sizeof(line) - 1);
	(void)close(fd);
	if (n <= 0)
		return ERR_SYS;
	line[n] = '\0';
	for (at = line; *at; at += strspn(at, " \n")) {
		size_t word = strcspn(at, " \n");

		if (word >= len && memcmp(at, name, len) == 0)
			return span_copy_text(span_of(at + len, word - len),
					      ret_value, cap_bytes);
		at += word;
	}
	return ERR_NOT_FOUND;
}

/**
 * init_has_option() - Whether the kernel command line holds a word
 * @option:	For example "kenaz.probe=1"
 */
bool init_has_option(const char *option)
{
	char rest[1];

	return init_get_option(option, rest, sizeof(rest)) == ERR_OK;
}

/** init_power_off() - End the VM now */
void init_power_off(void)
{
	sync();
	(void)reboot(RB_POWER_OFF);
	(void)reboot((int)RB_HALT_SYSTEM);
	for (;;)
		(void)pause();
}
