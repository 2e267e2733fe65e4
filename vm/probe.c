/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c - does a guest really boot under KVM here?
 *
 * Runs in: kenaz-launch, started for this alone.
 * Trusts:  a mark on the serial console that only a booted guest prints.
 * Never:   takes the presence of /dev/kvm for an answer: nested hosts offer
 *	    it and then hang, and the deadline is for them.
 *
 * The probe boots the image's own kernel and initramfs with one more word on
 * the kernel's command line; guestd then prints the mark and powers off.
 */
#include "vm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm/machine.h"

struct probe {
	uv_timer_t timer;
	struct machine *machine;
	struct memory memory;
	uint64_t begin_ns;
	uint64_t deadline_ns;
	bool told;
	char command_line[IMAGE_COMMAND_LINE_BYTES + 32];
	probe_done done;
	void *arg;
};

static void tell(struct probe *p, bool kvm, const char *reason)
{
	if (p->told)
		return;
	p->told = true;
	(void)uv_timer_stop(&p->timer);
	if (p->machine)
		machine_kill(p->machine);
	p->done(p->arg, kvm, reason, uv_hrtime() - p->begin_ns);
}

static void on_spawned(void *arg, pid_t pid)
{
	(void)arg;
	(void)pid;
}

static void on_qmp(void *arg, const char *version)
{
	(void)arg;
	(void)version;
}

static void on_console(void *arg)
{
	struct probe *p = arg;

	if (machine_console(p->machine)->found)
		tell(p, true, "a guest booted under KVM");
}

static void on_ended(void *arg, enum err e, const char *text)
{
	struct probe *p = arg;
	char reason[REASON_MAX_BYTES];

	(void)e;
	(void)snprintf(reason, sizeof(reason),
		       "KVM is there but its guest did not boot: %s", text);
	tell(p, false, reason);
}

static const struct machine_events events = {.spawned = on_spawned,
					     .qmp_ready = on_qmp,
					     .console = on_console,
					     .ended = on_ended};

static void on_deadline(uv_timer_t *timer)
{
	struct probe *p = timer->data;
	char reason[128];

	(void)snprintf(reason, sizeof(reason),
		       "KVM is there but its guest did not boot within %llu ms",
		       (unsigned long long)(p->deadline_ns / 1000000));
	tell(p, false, reason);
}

/* Without this the wait would be for nothing. */
static bool can_open_kvm(char *ret_reason, size_t cap_bytes)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return true;
	}
	(void)snprintf(ret_reason, cap_bytes, "/dev/kvm cannot be opened: %s",
		       strerror(errno));
	return false;
}

static enum err boot(struct probe *p, uv_loop_t *loop,
		     const struct image *image)
{
	struct qemu_config config = {
		.kvm = true,
		.memory_mib = image->min_memory_mib > QEMU_PROBE_MEMORY_MIB
				      ? image->min_memory_mib
				      : QEMU_PROBE_MEMORY_MIB,
		.vcpus = 1,
		.cpu = image->cpu,
		.command_line = p->command_line,
	};
	int len = snprintf(p->command_line, sizeof(p->command_line), "%s %s",
			   image->command_line, PROBE_OPTION);
	enum err e;

	if (len < 0 || (size_t)len >= sizeof(p->command_line))
		return ERR_LIMIT;
	e = memory_new(config.memory_mib, &p->memory);
	if (e == ERR_OK)
		e = machine_start(loop, &config, image, &p->memory, -1, -1,
				  &events, p, &p->machine);
	if (e == ERR_OK)
		machine_console(p->machine)->mark = PROBE_MARK;
	return e;
}

/**
 * probe_start() - Begin; done() is called once, possibly from here
 * @loop:		The process's loop
 * @image:		Verified, borrowed for the call
 * @deadline_ns:	At most PROBE_DEADLINE_MAX_NS
 * @done:		Told the verdict
 * @arg:		For it
 * @ret_probe:		probe_free() when done
 *
 * Return: ERR_OK; ERR_RANGE; ERR_MEMORY.
 */
enum err probe_start(uv_loop_t *loop, const struct image *image,
		     uint64_t deadline_ns, probe_done done, void *arg,
		     struct probe **ret_probe)
{
	char reason[256];
	struct probe *p;
	enum err e;

	if (deadline_ns == 0 || deadline_ns > PROBE_DEADLINE_MAX_NS)
		return ERR_RANGE;
	p = calloc(1, sizeof(*p));
	if (!p)
		return ERR_MEMORY;
	p->memory.fd = -1;
	p->done = done;
	p->arg = arg;
	p->deadline_ns = deadline_ns;
	p->begin_ns = uv_hrtime();
	(void)uv_timer_init(loop, &p->timer);
	p->timer.data = p;
	*ret_probe = p;
	if (!can_open_kvm(reason, sizeof(reason))) {
		tell(p, false, reason);
		return ERR_OK;
	}
	e = boot(p, loop, image);
	if (e != ERR_OK) {
		(void)snprintf(reason, sizeof(reason),
			       "the KVM probe cannot be started: %s",
			       err_text(e));
		tell(p, false, reason);
		return ERR_OK;
	}
	(void)uv_timer_start(&p->timer, on_deadline, deadline_ns / 1000000, 0);
	return ERR_OK;
}

static void on_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	memory_free(&p->memory);
	free(p);
}

/** probe_free() - End what is left of it; NULL is accepted */
void probe_free(struct probe *p)
{
	if (!p)
		return;
	machine_free(p->machine);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
