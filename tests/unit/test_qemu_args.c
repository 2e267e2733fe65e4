/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_qemu_args.c - what QEMU and its jail are told, and the fingerprint
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/console.h"
#include "vm/disk.h"
#include "vm/fingerprint.h"
#include "vm/jail.h"
#include "vm/memory.h"
#include "vm/qemu_args.h"

static const struct qemu_config tcg = {
	.vsock = QEMU_VSOCK_DEVICE,
	.memory_mib = 512,
	.vcpus = 1,
	.cpu = "qemu64",
	.command_line = "console=ttyS0 quiet",
};

static bool has(const struct args *a, const char *text)
{
	size_t i;

	for (i = 0; i < a->count; i++)
		if (strstr(a->list[i], text))
			return true;
	return false;
}

static bool has_pair(const struct args *a, const char *first,
		     const char *second)
{
	size_t i;

	for (i = 0; i + 1 < a->count; i++)
		if (strcmp(a->list[i], first) == 0 &&
		    strcmp(a->list[i + 1], second) == 0)
			return true;
	return false;
}

static void qemu_gets_every_guard(void **state)
{
	struct args a = {0};

	(void)state;
	assert_int_equal(qemu_args_build(&tcg, &a), ERR_OK);
	assert_true(has_pair(&a, "-sandbox",
			     "on,obsolete=deny,elevateprivileges=deny,"
			     "spawn=deny,resourcecontrol=deny"));
	assert_true(has(&a, "-nodefaults"));
	assert_true(has(&a, "-no-user-config"));
	assert_true(has(&a, "-no-reboot"));
	assert_true(has(&a, "mem-merge=off"));
	assert_true(has_pair(&a, "-accel", "tcg,tb-size=32"));
	assert_true(has_pair(&a, "-cpu", "qemu64"));
	assert_true(has(&a, "share=on"));
	assert_true(has(&a, "vhost-user-vsock-pci"));
	/* No network card, no disk, no path of the user's. */
	assert_false(has(&a, "netdev"));
	assert_false(has(&a, "-drive"));
	assert_false(has(&a, "-blockdev"));
	assert_false(has(&a, "virtio-blk"));
	assert_false(has(&a, "/home"));
	args_fini(&a);
}

static void kvm_uses_the_hosts_cpu(void **state)
{
	struct qemu_config kvm = tcg;
	struct args a = {0};

	(void)state;
	kvm.kvm = true;
	assert_int_equal(qemu_args_build(&kvm, &a), ERR_OK);
	assert_true(has_pair(&a, "-accel", "kvm"));
	assert_true(has_pair(&a, "-cpu", "host"));
	args_fini(&a);
}

static void probe_has_no_vsock(void **state)
{
	struct qemu_config probe = tcg;
	struct args a = {0};

	(void)state;
	probe.vsock = QEMU_VSOCK_NONE;
	assert_int_equal(qemu_args_build(&probe, &a), ERR_OK);
	assert_false(has(&a, "vsock"));
	args_fini(&a);
}

static void disks_are_descriptors(void **state)
{
	struct qemu_config with = tcg;
	struct disk disk = {.size_mib = 4096};
	struct args a = {0};

	(void)state;
	with.root = true;
	assert_int_equal(qemu_args_build(&with, &a), ERR_OK);
	assert_true(has_pair(&a, "-add-fd", "fd=20,set=20"));
	assert_true(has(&a, "filename=/dev/fdset/20,read-only=on"));
	assert_false(has(&a, "luks"));
	args_fini(&a);
	with.disk = &disk;
	assert_int_equal(qemu_args_build(&with, &a), ERR_OK);
	assert_true(has_pair(&a, "-add-fd", "fd=21,set=21"));
	assert_true(has(&a, "driver=luks"));
	/* The key comes from a descriptor, too. */
	assert_true(has(&a, "secret,id=diskkey,format=raw,"
			    "file=/proc/self/fd/22"));
	assert_false(has(&a, "data="));
	/* A full or broken host is the guest's error; it goes on. */
	assert_true(has(&a, "rerror=report,werror=report"));
	args_fini(&a);
}

/* The device is plugged after the load: it cannot be migrated. */
static void templates_have_a_port_and_no_device(void **state)
{
	struct qemu_config start = tcg;
	struct args a = {0};

	(void)state;
	start.start = VM_START_MAKE;
	assert_int_equal(qemu_args_build(&start, &a), ERR_OK);
	assert_true(has(&a, "pcie-root-port"));
	assert_false(has(&a, "vsock"));
	assert_false(has(&a, "-incoming"));
	args_fini(&a);
	start.start = VM_START_RESTORE;
	assert_int_equal(qemu_args_build(&start, &a), ERR_OK);
	assert_true(has(&a, "pcie-root-port"));
	assert_true(has_pair(&a, "-incoming", "defer"));
	assert_true(has(&a, "-S"));
	assert_true(has(&a, "socket,id=vsock"));
	assert_false(has(&a, "vhost-user-vsock-pci"));
	args_fini(&a);
}

/* The kernel's device and the boot document come as descriptors, too. */
static void kernel_vsock_is_passed(void **state)
{
	struct qemu_config kernel = tcg;
	struct args a = {0};

	(void)state;
	kernel.vsock = QEMU_VSOCK_KERNEL;
	kernel.guest_cid = 70000;
	assert_int_equal(qemu_args_build(&kernel, &a), ERR_OK);
	assert_true(has_pair(&a, "-device",
			     "vhost-vsock-pci,id=vsock0,vhostfd=15,"
			     "guest-cid=70000,bus=port0"));
	assert_true(has_pair(&a, "-fw_cfg",
			     "name=opt/kenaz/boot,file=/proc/self/fd/17"));
	assert_false(has(&a, "vhost-user"));
	args_fini(&a);
}

static void silly_sizes_are_refused(void **state)
{
	struct qemu_config bad = tcg;
	struct args a = {0};

	(void)state;
	bad.memory_mib = MEMORY_MIN_MIB - 1;
	assert_int_equal(qemu_args_build(&bad, &a), ERR_RANGE);
	bad = tcg;
	bad.vcpus = 0;
	assert_int_equal(qemu_args_build(&bad, &a), ERR_RANGE);
	bad.vcpus = QEMU_VCPUS_MAX + 1;
	assert_int_equal(qemu_args_build(&bad, &a), ERR_RANGE);
	args_fini(&a);
}

static void jail_gives_everything_up(void **state)
{
	static const char *const wanted[] = {
		"--unshare-user",   "--unshare-net",     "--unshare-ipc",
		"--unshare-uts",    "--unshare-pid",     "--unshare-cgroup-try",
		"--new-session",    "--die-with-parent", "--clearenv",
		"--disable-userns",
	};
	struct args command = {0}, a = {0};
	size_t i;

	(void)state;
	args_add(&command, "/usr/bin/true");
	assert_int_equal(jail_args_build(&command, false, &a), ERR_OK);
	for (i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_true(has(&a, wanted[i]));
	assert_true(has_pair(&a, "--cap-drop", "ALL"));
	assert_false(has(&a, "--bind"));
	assert_false(has(&a, "/dev"));
	assert_string_equal(a.list[a.count - 1], "/usr/bin/true");
	assert_string_equal(a.list[a.count - 2], "--");
	args_fini(&a);
	assert_int_equal(jail_args_build(&command, true, &a), ERR_OK);
	assert_true(has_pair(&a, "/dev/kvm", "/dev/kvm"));
	args_fini(&a);
	args_fini(&command);
}

static void report(struct jail_report *r, const char *text, enum err want)
{
	assert_int_equal(jail_report_parse(r, text, strlen(text)), want);
}

static void jail_reports_are_understood(void **state)
{
	struct jail_report r = {0};

	(void)state;
	report(&r, "{ \"child-pid\": 123, \"cgroup-namespace\": 1 }", ERR_OK);
	assert_int_equal(r.status, JAIL_RUNNING);
	assert_int_equal(r.child_pid, 123);
	report(&r, "{ \"exit-code\": 137 }", ERR_OK);
	assert_int_equal(r.status, JAIL_EXITED);
	assert_int_equal(r.exit_code, 137);
	report(&r, "{}", ERR_FORMAT);
	report(&r, "{ \"child-pid\": -1 }", ERR_FORMAT);
	report(&r, "{ \"child-pid\": 0 }", ERR_FORMAT);
	report(&r, "bwrap: no", ERR_FORMAT);
}

static void vectors_have_ceilings(void **state)
{
	static char text[ARG_MAX_BYTES + 1];
	struct args a = {0};
	unsigned i;

	(void)state;
	memset(text, 'x', ARG_MAX_BYTES);
	args_add(&a, text);
	assert_int_equal(a.status, ERR_LIMIT);
	args_add(&a, "short");
	assert_int_equal(a.count, 0);
	args_fini(&a);
	for (i = 0; i <= ARGS_MAX; i++)
		args_add(&a, "x");
	assert_int_equal(a.status, ERR_LIMIT);
	args_fini(&a);
}

static void fingerprint_of(const struct qemu_config *config,
			   const struct image *image, uint8_t *ret_digest)
{
	struct fingerprint f = {.qemu_version = "7.2.22"};
	struct args a = {0};
	struct buf document;

	buf_init(&document, 16384);
	assert_int_equal(qemu_args_build(config, &a), ERR_OK);
	assert_int_equal(fingerprint_args(&a, f.arguments), ERR_OK);
	assert_int_equal(fingerprint_document(&f, image, config, &document),
			 ERR_OK);
	digest_sha256(buf_span(&document), ret_digest);
	buf_fini(&document);
	args_fini(&a);
}

static void fingerprint_tells_machines_apart(void **state)
{
	struct image image = {.name = "mini"};
	uint8_t first[DIGEST_BYTES], again[DIGEST_BYTES], other[DIGEST_BYTES];
	struct qemu_config changed = tcg;

	(void)state;
	assert_int_equal(digest_init(), ERR_OK);
	fingerprint_of(&tcg, &image, first);
	fingerprint_of(&tcg, &image, again);
	assert_memory_equal(first, again, DIGEST_BYTES);
	changed.memory_mib = 513;
	fingerprint_of(&changed, &image, other);
	assert_memory_not_equal(first, other, DIGEST_BYTES);
	changed = tcg;
	changed.command_line = "console=ttyS0";
	fingerprint_of(&changed, &image, other);
	assert_memory_not_equal(first, other, DIGEST_BYTES);
	image.initrd.digest[0] = 1;
	fingerprint_of(&tcg, &image, other);
	assert_memory_not_equal(first, other, DIGEST_BYTES);
}

static void console_keeps_an_escaped_tail(void **state)
{
	static uint8_t noise[CONSOLE_TAIL_BYTES];
	struct console c = {0};
	const char *text;
	struct buf out;

	(void)state;
	buf_init(&out, 8192);
	memset(noise, 'a', sizeof(noise));
	console_put(&c, span_of(noise, sizeof(noise)));
	console_put(&c, span_text("Kernel panic\n\x1b[2J"));
	assert_int_equal(console_tail(&c, &out), ERR_OK);
	assert_int_equal(buf_terminate(&out, &text), ERR_OK);
	assert_non_null(strstr(text, "Kernel panic\n"));
	assert_null(strchr(text, '\x1b'));
	/* Bytes that all need escaping still leave their end. */
	buf_reset(&out);
	memset(noise, 1, sizeof(noise));
	console_put(&c, span_of(noise, sizeof(noise)));
	assert_int_equal(console_tail(&c, &out), ERR_OK);
	assert_true(out.len_bytes > 1000);
	buf_fini(&out);
}

static void console_finds_its_mark(void **state)
{
	struct console c = {.mark = "PROBE-OK"};

	(void)state;
	console_put(&c, span_text("PROBE-O"));
	assert_false(c.found);
	console_put(&c, span_text("PPROBE-"));
	assert_false(c.found);
	console_put(&c, span_text("OK\n"));
	assert_true(c.found);
}

static void memory_cannot_be_resized(void **state)
{
	struct memory m;

	(void)state;
	assert_int_equal(memory_new(MEMORY_MIN_MIB - 1, &m), ERR_RANGE);
	assert_int_equal(memory_new(MEMORY_MIN_MIB, &m), ERR_OK);
	assert_int_equal(ftruncate(m.fd, 4096), -1);
	assert_int_equal(ftruncate(m.fd, 1 << 30), -1);
	m.at[m.size_bytes - 1] = 1;
	memory_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_gets_every_guard),
		cmocka_unit_test(kvm_uses_the_hosts_cpu),
		cmocka_unit_test(probe_has_no_vsock),
		cmocka_unit_test(templates_have_a_port_and_no_device),
		cmocka_unit_test(kernel_vsock_is_passed),
		cmocka_unit_test(silly_sizes_are_refused),
		cmocka_unit_test(disks_are_descriptors),
		cmocka_unit_test(jail_gives_everything_up),
		cmocka_unit_test(jail_reports_are_understood),
		cmocka_unit_test(vectors_have_ceilings),
		cmocka_unit_test(fingerprint_tells_machines_apart),
		cmocka_unit_test(console_keeps_an_escaped_tail),
		cmocka_unit_test(console_finds_its_mark),
		cmocka_unit_test(memory_cannot_be_resized),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
