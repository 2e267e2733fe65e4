/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.c - go over from the initramfs to the image's root file system
 *
 * Runs in: kenaz-guestd as PID 1, before anything of the session runs.
 * Trusts:  the kernel command line. The disks it reads through dm-verity.
 * Never:   runs a program that was not read through dm-verity.
 *
 * Theory of operation. The first disk is the image's root file: dm-verity
 * makes a device of it that returns no block it has not checked, and the read
 * only file system lies on that. The second is the session's own: random bytes
 * at first, so mke2fs of the checked root makes an ext4 without a journal on
 * it (nothing of it is ever read again after a crash). An overlay of both
 * becomes "/". Without a second disk the changes are in memory.
 */
#include "guest/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"

#define ROOT_DISK     "/dev/vda"
#define SESSION_DISK  "/dev/vdb"
#define LOWER         "/lower"
#define CHANGES       "/changes"
#define NEW_ROOT      "/new"
#define AGENT_HOME    "/home/agent"
#define AGENT_UID     1000
#define WAIT_TURNS    5000 /* of a millisecond each, for a disk */
#define BLOCKS_MAX    (UINT64_C(1) << 24) /* 64 GiB */
#define NO_PROGRAM    127
#define FIXED_UUID    "6b656e61-7a00-4000-8000-000000000000"
#define CHANGES_FLAGS (MS_NOSUID | MS_NODEV | MS_NOATIME)

static const char *const filesystems[] = {"squashfs", "erofs"};

/* Cut the text up to the next ':' off. */
static struct span next_part(struct span *text)
{
	struct span part = *text;
	size_t i;

	for (i = 0; i < text->len_bytes && text->data[i] != ':'; i++)
		;
	part.len_bytes = i;
	if (i < text->len_bytes)
		i++;
	*text = span_of(text->data + i, text->len_bytes - i);
	return part;
}

static enum err take_hash(struct span part, char ret_hex[VERITY_HEX_BYTES])
{
	uint8_t bytes[VERITY_HEX_BYTES / 2];
	enum err e = text_unhex(part, bytes, sizeof(bytes));

	return e == ERR_OK ? span_copy_text(part, ret_hex, VERITY_HEX_BYTES)
			   : e;
}

/**
 * root_option_parse() - Read FILESYSTEM:DATA_BLOCKS:HASH_BLOCK:ROOT:SALT
 * @text:	The word without its name
 * @ret_option:	Written on success only
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_RANGE.
 */
enum err root_option_parse(struct span text, struct root_option *ret_option)
{
	struct root_option o = {0};
	struct span part = next_part(&text);
	enum err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(filesystems); i++)
		if (span_is(part, filesystems[i]))
			o.filesystem = filesystems[i];
	if (!o.filesystem)
		return ERR_FORMAT;
	e = text_parse_u64(next_part(&text), 1, BLOCKS_MAX,
			   &o.verity.data_blocks);
	if (e == ERR_OK)
		e = text_parse_u64(next_part(&text), o.verity.data_blocks,
				   BLOCKS_MAX, &o.verity.hash_block);
	if (e == ERR_OK)
		e = take_hash(next_part(&text), o.verity.root_hash);
	if (e == ERR_OK)
		e = take_hash(next_part(&text), o.verity.salt);
	if (e == ERR_OK && text.len_bytes)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		*ret_option = o;
	return e;
}

/* Its driver makes the node when it has found the disk. */
static enum err wait_for(const char *path)
{
	const struct timespec turn = {.tv_nsec = 1000000};
	struct stat st;
	int i;

	for (i = 0; i < WAIT_TURNS; i++) {
		if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
			return ERR_OK;
		(void)nanosleep(&turn, NULL);
	}
	errno = ENODEV;
	return ERR_SYS;
}

static void make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		(void)chmod(path, mode);
}

/* In the child: a root whose every byte is checked, with devices. */
static void exec_mke2fs(void)
{
	static const char *const paths[] = {"/sbin/mke2fs", "/usr/sbin/mke2fs"};
	/*
	 * Nothing is zeroed that the kernel does not read before it writes;
	 * what an earlier crash could have left is of no interest. A random
	 * UUID would have to wait for seconds for the first entropy.
	 */
	char *const arguments[] = {
		(char[]){"mke2fs"},
		(char[]){"-q"},
		(char[]){"-F"},
		(char[]){"-F"},
		(char[]){"-m"},
		(char[]){"0"},
		(char[]){"-b"},
		(char[]){"4096"},
		(char[]){"-I"},
		(char[]){"256"},
		(char[]){"-O"},
		(char[]){"none,sparse_super,large_file,filetype,dir_index,"
			 "ext_attr,extent,huge_file,flex_bg,uninit_bg,"
			 "dir_nlink,extra_isize"},
		(char[]){"-E"},
		(char[]){"lazy_itable_init=1,nodiscard,"
			 "hash_seed=" FIXED_UUID},
		(char[]){"-U"},
		(char[]){FIXED_UUID},
		(char[]){SESSION_DISK},
		NULL,
	};
	char *const environment[] = {(char[]){"MKE2FS_SYNC=0"}, NULL};
	size_t i;

	if (chroot(LOWER) != 0 || chdir("/") != 0)
		_exit(NO_PROGRAM - 1);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		(void)execve(paths[i], arguments, environment);
	_exit(NO_PROGRAM);
}

static enum err make_filesystem(const char **ret_what)
{
	int status = 0;
	pid_t pid;

	*ret_what = "the session's disk cannot be formatted";
	if (mount("/dev", LOWER "/dev", NULL, MS_BIND, NULL) != 0)
		return ERR_SYS;
	pid = fork();
	if (pid == 0)
		exec_mke2fs();
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	(void)umount2(LOWER "/dev", MNT_DETACH);
	if (pid < 0)
		return ERR_SYS;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM)
		*ret_what = "the root image has no mke2fs";
	errno = EIO;
	return status == 0 ? ERR_OK : ERR_SYS;
}

static enum err mount_changes(bool disk, const char **ret_what)
{
	enum err e;

	if (!disk) {
		*ret_what = "the memory for changes cannot be mounted";
		return mount("tmpfs", CHANGES, "tmpfs", CHANGES_FLAGS,
			     "mode=0755") == 0
			       ? ERR_OK
			       : ERR_SYS;
	}
	*ret_what = "the session's disk is not there";
	e = wait_for(SESSION_DISK);
	if (e == ERR_OK)
		e = make_filesystem(ret_what);
	if (e != ERR_OK)
		return e;
	*ret_what = "the session's disk cannot be mounted";
	return mount(SESSION_DISK, CHANGES, "ext4", CHANGES_FLAGS,
		     "noinit_itable,nobarrier") == 0
		       ? ERR_OK
		       : ERR_SYS;
}

static enum err mount_overlay(const char **ret_what)
{
	make_folder(CHANGES "/upper", 0755);
	make_folder(CHANGES "/scratch", 0755);
	*ret_what = "the overlay cannot be mounted";
	return mount("overlay", NEW_ROOT, "overlay", MS_NOSUID | MS_NODEV,
		     "lowerdir=" LOWER ",upperdir=" CHANGES
		     "/upper,workdir=" CHANGES
		     "/scratch,redirect_dir=on,volatile") == 0
		       ? ERR_OK
		       : ERR_SYS;
}

/* The kernel's own file systems come along; /tmp is on the disk now. */
static enum err switch_root(const char **ret_what)
{
	static const char *const moved[] = {"/dev", "/proc", "/sys", "/run"};
	char to[32];
	size_t i;

	*ret_what = "the new root cannot be entered";
	for (i = 0; i < ARRAY_SIZE(moved); i++) {
		(void)snprintf(to, sizeof(to), NEW_ROOT "%s", moved[i]);
		make_folder(to, 0755);
		if (mount(moved[i], to, NULL, MS_MOVE, NULL) != 0)
			return ERR_SYS;
	}
	(void)umount2("/tmp", MNT_DETACH);
	if (chdir(NEW_ROOT) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 ||
	    chroot(".") != 0 || chdir("/") != 0)
		return ERR_SYS;
	make_folder("/tmp", 01777);
	if (chmod("/tmp", 01777) != 0)
		return ERR_SYS;
	make_folder("/home", 0755);
	make_folder(AGENT_HOME, 0755);
	return chown(AGENT_HOME, AGENT_UID, AGENT_UID) == 0 ? ERR_OK : ERR_SYS;
}

/**
 * root_set_up() - Make the image's root "/"
 * @option:	Where and what it is
 * @disk:	Whether the session has a disk for its changes
 * @ret_what:	What went wrong, a static text; errno says why
 *
 * Return: ERR_OK; ERR_SYS with errno; ERR_LIMIT.
 */
enum err root_set_up(const struct root_option *option, bool disk,
		     const char **ret_what)
{
	char device[VERITY_PATH_BYTES];
	enum err e;

	make_folder(LOWER, 0755);
	make_folder(CHANGES, 0755);
	make_folder(NEW_ROOT, 0755);
	*ret_what = "the root image's disk is not there";
	e = wait_for(ROOT_DISK);
	if (e != ERR_OK)
		return e;
	*ret_what = "dm-verity does not take the root image";
	e = verity_open(ROOT_DISK, &option->verity, device);
	if (e == ERR_OK) {
		*ret_what = "its device is not there";
		e = wait_for(device);
	}
	if (e != ERR_OK)
		return e;
	*ret_what = "the root image cannot be mounted; it is not what its "
		    "manifest says, or damaged";
	if (mount(device, LOWER, option->filesystem,
		  MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) != 0)
		return ERR_SYS;
	e = mount_changes(disk, ret_what);
	if (e == ERR_OK)
		e = mount_overlay(ret_what);
	return e == ERR_OK ? switch_root(ret_what) : e;
}
