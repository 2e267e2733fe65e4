/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.c - notice the vsock device that the host plugs into a template
 *
 * Runs in: kenaz-guestd as PID 1.
 * Trusts:  the host and the kernel.
 * Never:   keeps /sys writable: the two files are opened before it is mounted
 *	    for everybody, and closed when the host has been reached.
 *
 * Theory of operation. A template has an empty PCI Express port; a clone
 * finds a device in it when it goes on. The kernel's own driver waits for
 * the link as a real one needs it, 120 ms (PCI Express Base 6.6.1). There is
 * no link here: guestd looks at the slot's "presence detect" bit (7.5.3.11)
 * and has the bus behind the port scanned. The kernel's driver comes later
 * and finds the device there.
 */
#include "guest/plug.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"

#define DEVICES_PATH     "/sys/bus/pci/devices"
#define PATH_BYTES       512
#define DEVICES_MAX      256 /* looked at */
#define CAPABILITY_STEPS 48  /* more do not fit into the space */

/* PCI Local Bus 3.0, 6.1 and 6.7; PCI Express Base 7.5.3. */
#define PCI_STATUS          0x06u
#define PCI_STATUS_LIST     0x10u
#define PCI_CAPABILITIES    0x34u
#define PCI_ID_EXPRESS      0x10u
#define EXPRESS_FLAGS       0x02u
#define EXPRESS_FLAGS_SLOT  0x100u
#define EXPRESS_SLOT_STATUS 0x1au
#define SLOT_STATUS_PRESENT 0x40u

static int config_fd = -1; /* of the port */
static int rescan_fd = -1; /* of the bus behind it */
static unsigned status_at;

static unsigned get16(struct span s, size_t at)
{
	if (at + 2 > s.len_bytes)
		return 0;
	return (unsigned)(s.data[at] | s.data[at + 1] << 8);
}

static unsigned get8(struct span s, size_t at)
{
	return at < s.len_bytes ? s.data[at] : 0;
}

/**
 * plug_find_status() - Find the slot status register of a port
 * @config:	Its configuration space, possibly cut
 *
 * Return: its offset; 0 when there is none.
 */
unsigned plug_find_status(struct span config)
{
	unsigned at, i;

	if (!(get16(config, PCI_STATUS) & PCI_STATUS_LIST))
		return 0;
	at = get8(config, PCI_CAPABILITIES) & ~3u;
	for (i = 0; at && i < CAPABILITY_STEPS; i++) {
		if (get8(config, at) == PCI_ID_EXPRESS &&
		    get16(config, at + EXPRESS_FLAGS) & EXPRESS_FLAGS_SLOT &&
		    at + EXPRESS_SLOT_STATUS + 2 <= config.len_bytes)
			return at + EXPRESS_SLOT_STATUS;
		at = get8(config, at + 1) & ~3u;
	}
	return 0;
}

/* The name of the one bus behind a bridge; false for any other device. */
static bool bus_behind(const char *device, char *ret_path)
{
	char folder[PATH_BYTES];
	struct dirent *entry;
	bool found = false;
	DIR *dir;
	int n = snprintf(folder, sizeof(folder), DEVICES_PATH "/%s/pci_bus",
			 device);

	if (n < 0 || n >= PATH_BYTES)
		return false;
	dir = opendir(folder);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		n = snprintf(ret_path, PATH_BYTES,
			     DEVICES_PATH "/%s/pci_bus/%s/rescan", device,
			     entry->d_name);
		found = n > 0 && n < PATH_BYTES;
	}
	(void)closedir(dir);
	return found;
}

static bool open_port(const char *device)
{
	char config[PATH_BYTES], rescan[PATH_BYTES];
	uint8_t space[PLUG_CONFIG_BYTES];
	ssize_t got;
	int n = snprintf(config, sizeof(config), DEVICES_PATH "/%s/config",
			 device);

	if (n < 0 || n >= PATH_BYTES || !bus_behind(device, rescan))
		return false;
	config_fd = open(config, O_RDONLY | O_CLOEXEC);
	if (config_fd < 0)
		return false;
	got = pread(config_fd, space, sizeof(space), 0);
	status_at = got > 0 ? plug_find_status(span_of(space, (size_t)got)) : 0;
	if (status_at)
		rescan_fd = open(rescan, O_WRONLY | O_CLOEXEC);
	if (rescan_fd >= 0)
		return true;
	plug_close();
	return false;
}

/**
 * plug_open() - Find the port, before /sys is mounted for everybody
 *
 * Without one plug_look() finds nothing, and the kernel's driver is waited
 * for.
 */
void plug_open(void)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir;
	int i;

	(void)mkdir("/sys", 0755);
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "") != 0)
		return;
	dir = opendir(DEVICES_PATH);
	for (i = 0; dir && !found && i < DEVICES_MAX; i++) {
		entry = readdir(dir);
		if (!entry)
			break;
		if (entry->d_name[0] != '.')
			found = open_port(entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
	/* The two descriptors keep what they need. */
	if (umount2("/sys", MNT_DETACH) != 0)
		log_error("cannot unmount /sys: %s", strerror(errno));
}

/**
 * plug_look() - Whether a device came into the port; it works on return
 *
 * Return: true once: the bus was scanned and the drivers have seen it.
 */
bool plug_look(void)
{
	uint8_t status[2];

	if (rescan_fd < 0 ||
	    pread(config_fd, status, sizeof(status), (off_t)status_at) !=
		    (ssize_t)sizeof(status) ||
	    !(status[0] & SLOT_STATUS_PRESENT))
		return false;
	if (write(rescan_fd, "1", 1) != 1)
		log_warn("cannot scan the bus: %s", strerror(errno));
	plug_close();
	return true;
}

/** plug_close() - There is nothing to look for any more */
void plug_close(void)
{
	if (config_fd >= 0)
		(void)close(config_fd);
	if (rescan_fd >= 0)
		(void)close(rescan_fd);
	config_fd = -1;
	rescan_fd = -1;
}
