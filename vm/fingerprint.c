/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fingerprint.c - one digest over everything that makes a virtual machine
 *
 * Runs in: kenaz-launch.
 * Trusts:  the verified image, its own argument builders, QEMU's program file.
 * Never:   includes what differs between equal machines: descriptors have
 *	    fixed numbers, sessions, nonces and random contexts (CIDs) are not
 *	    in it.
 *
 * The document is canonical JSON: keys in the order below, no white space,
 * digests in lower-case hex.
 */
#include "vm/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "vm/disk.h"

/** fingerprint_start_name() - vm_fingerprint.start; never NULL */
const char *fingerprint_start_name(enum vm_start start)
{
	static const char *const names[] = {
		[VM_START_COLD] = "cold",
		[VM_START_MAKE] = "make",
		[VM_START_RESTORE] = "template",
	};

	return (size_t)start < ARRAY_SIZE(names) ? names[start] : "unknown";
}

/**
 * fingerprint_args() - Digest of an argument vector
 * @args:	Each argument is followed by a NUL in what is hashed
 * @ret_digest:	The digest
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err fingerprint_args(const struct args *args,
			  uint8_t ret_digest[DIGEST_BYTES])
{
	struct digest *d;
	enum err e = digest_new(&d);
	size_t i;

	if (e != ERR_OK)
		return e;
	for (i = 0; i < args->count; i++) {
		digest_update(d, span_text(args->list[i]));
		digest_update(d, span_of("", 1));
	}
	digest_finish(d, ret_digest);
	digest_free(d);
	return ERR_OK;
}

/* "QEMU emulator version 7.2.22 (Debian ...)\n" in the program's texts. */
static void find_version(struct span program,
			 char ret_version[QEMU_VERSION_BYTES])
{
	static const char head[] = "QEMU emulator version ";
	const char *at =
		memmem(program.data, program.len_bytes, head, sizeof(head) - 1);
	size_t left, i;

	(void)snprintf(ret_version, QEMU_VERSION_BYTES, "unknown");
	if (!at)
		return;
	at += sizeof(head) - 1;
	left = program.len_bytes - (size_t)(at - (const char *)program.data);
	for (i = 0; i < left && i < QEMU_VERSION_BYTES - 1; i++) {
		if (at[i] < ' ' || at[i] > '~')
			break;
		ret_version[i] = at[i];
	}
	ret_version[i] = '\0';
}

/**
 * fingerprint_qemu() - Digest of QEMU's program and the version in it
 * @path:	Trusted path
 * @f:		qemu and qemu_version are set
 *
 * The version is read from the program's texts: no process has to be started
 * for it.
 *
 * Return: ERR_OK; ERR_NOT_FOUND or ERR_SYS with errno.
 */
enum err fingerprint_qemu(const char *path, struct fingerprint *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	struct span program;
	void *map;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYS;
	if (fstat(fd, &st) < 0 || st.st_size <= 0) {
		close(fd);
		return ERR_SYS;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ,
		   MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return ERR_SYS;
	program = span_of(map, (size_t)st.st_size);
	digest_sha256(program, f->qemu);
	find_version(program, f->qemu_version);
	munmap(map, (size_t)st.st_size);
	return ERR_OK;
}

static void put_digest(struct jsonw *w, const char *key,
		       const uint8_t digest[DIGEST_BYTES])
{
	jsonw_key(w, key);
	jsonw_hex(w, span_of(digest, DIGEST_BYTES));
}

/**
 * fingerprint_document() - The text whose digest is the fingerprint
 * @f:		Digests of arguments and QEMU, and its version
 * @image:	Verified
 * @config:	As given to qemu_args_build()
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err fingerprint_document(const struct fingerprint *f,
			      const struct image *image,
			      const struct qemu_config *config, struct buf *out)
{
	struct jsonw w;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "v", 1);
	jsonw_put_cstr(&w, "image", image->name);
	put_digest(&w, "manifest", image->manifest_digest);
	put_digest(&w, "kernel", image->kernel.digest);
	put_digest(&w, "initrd", image->initrd.digest);
	put_digest(&w, "qemu", f->qemu);
	jsonw_put_cstr(&w, "qemu_version", f->qemu_version);
	put_digest(&w, "arguments", f->arguments);
	put_digest(&w, "jail", f->jail);
	if (config->root) {
		put_digest(&w, "root", image->root.verity.root_hash);
		jsonw_put_u64(&w, "disk_mib",
			      config->disk ? config->disk->size_mib : 0);
	}
	jsonw_put_u64(&w, "memory_mib", config->memory_mib);
	jsonw_put_u64(&w, "vcpus", config->vcpus);
	jsonw_put_cstr(&w, "accelerator", config->kvm ? "kvm" : "tcg");
	jsonw_put_cstr(&w, "cpu", qemu_cpu(config));
	jsonw_put_cstr(&w, "start", fingerprint_start_name(config->start));
	if (config->start == VM_START_RESTORE)
		put_digest(&w, "template", f->template);
	jsonw_put_cstr(&w, "vsock", qemu_vsock_text(config->vsock));
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}
