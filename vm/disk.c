/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a session's own disk: a file without a name, encrypted
 *
 * Runs in: kenaz-launch, before QEMU is started.
 * Trusts:  core, which opened the file; the kernel, to give its blocks back
 *	    when the last descriptor is closed, however that comes about.
 * Never:   writes the key to a file, shows it in an argument, or keeps it
 *	    after QEMU has read it.
 *
 * Theory of operation. The file was opened with O_TMPFILE: no folder ever
 * lists it, and it is gone with the processes that hold it. What its blocks
 * still say afterwards is encrypted: QEMU's LUKS driver encrypts on the host,
 * so the guest cannot leave anything in the clear, and uses AES instructions
 * even where the guest is emulated. The key is 256 random bits in a locked
 * memfd. QEMU reads it when it starts; then it is wiped here.
 */
#include "vm/disk.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/text.h"
#include "vm/luks.h"

#define KEY_BYTES      32u
#define KEY_TEXT_BYTES (2 * KEY_BYTES) /* QEMU wants valid UTF-8 */

/** disk_init() - There is no disk yet */
void disk_init(struct disk *d)
{
	*d = (struct disk){.fd = -1, .key_fd = -1};
}

/* Pages of a memfd stay out of the swap while a locked mapping is there. */
static enum err make_key(struct disk *d)
{
	struct {
		char text[KEY_TEXT_BYTES + 1];
		uint8_t key[KEY_BYTES];
	} secret;
	void *at;
	enum err e = ERR_SYS;

	d->key_fd = memfd_create("kenaz-disk-key", MFD_CLOEXEC);
	if (d->key_fd < 0 || ftruncate(d->key_fd, KEY_TEXT_BYTES) < 0)
		return ERR_SYS;
	at = mmap(NULL, KEY_TEXT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		  d->key_fd, 0);
	if (at == MAP_FAILED)
		return ERR_SYS;
	d->key = at;
	(void)madvise(at, KEY_TEXT_BYTES, MADV_DONTDUMP);
	if (sodium_mlock(&secret, sizeof(secret)) == 0 &&
	    mlock(at, KEY_TEXT_BYTES) == 0) {
		randombytes_buf(secret.key, sizeof(secret.key));
		text_hex(secret.key, sizeof(secret.key), secret.text);
		memcpy(at, secret.text, KEY_TEXT_BYTES);
		e = ERR_OK;
	}
	(void)sodium_munlock(&secret, sizeof(secret)); /* wipes, too */
	return e;
}

/**
 * disk_make() - Make an empty encrypted disk of an empty file
 * @d:		disk_init()ialised; disk_close() when done, also on failure
 * @fd:		File without a name, owned from here on
 * @size_mib:	What the guest may write at most
 * @reason:	One sentence when it fails; initialised by the caller
 *
 * The file is sparse: its blocks are taken when the guest writes them.
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_CRYPTO; ERR_SYS; ERR_MEMORY.
 */
enum err disk_make(struct disk *d, int fd, uint32_t size_mib,
		   struct buf *reason)
{
	struct stat st;
	enum err e = ERR_FORMAT;

	d->fd = fd;
	d->size_mib = size_mib;
	d->file_bytes = LUKS_HEADER_BYTES + ((uint64_t)size_mib << 20);
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 &&
	    st.st_nlink == 0)
		e = sodium_init() < 0 ? ERR_CRYPTO : make_key(d);
	if (e == ERR_OK)
		e = luks_format(fd, d->key, KEY_TEXT_BYTES);
	if (e == ERR_OK && ftruncate(fd, (off_t)d->file_bytes) < 0)
		e = ERR_SYS;
	if (e != ERR_OK && e != ERR_MEMORY &&
	    buf_printf(reason, "the session's disk cannot be made: %s",
		       e == ERR_SYS ? strerror(errno) : err_text(e)) != ERR_OK)
		e = ERR_MEMORY;
	return e;
}

/** disk_forget_key() - QEMU has read it: wipe it; nothing when it is gone */
void disk_forget_key(struct disk *d)
{
	if (d->key) {
		sodium_memzero(d->key, KEY_TEXT_BYTES);
		(void)munmap(d->key, KEY_TEXT_BYTES);
	}
	if (d->key_fd >= 0)
		close(d->key_fd);
	d->key = NULL;
	d->key_fd = -1;
}

/** disk_close_file() - QEMU has the file: with it alone it goes from now on */
void disk_close_file(struct disk *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/** disk_close() - Forget key and file; one never made is accepted */
void disk_close(struct disk *d)
{
	disk_forget_key(d);
	disk_close_file(d);
}
