/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accel.c - images on disk and the accelerator that really works here
 *
 * Runs in: kenazd.
 * Trusts:  a launcher's probe: a guest that really booted.
 * Never:   takes /dev/kvm being there as proof that it works.
 *
 * The verdict is cached in the state folder, for one boot of the host and
 * one QEMU binary.
 */
#include "engine/core/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/image_list.h"
#include "engine/core/process.h"

#define PROBE_DEADLINE_NS (4ull * 1000000000ull)
#define CACHE_MAX_BYTES   2048u
#define WAITING_MAX       64u
#define DEFAULT_IMAGE     "mini"
#define QEMU_PATH         "/usr/bin/qemu-system-x86_64"

struct waiting {
	accel_done_fn done;
	void *context;
};

/* One engine a process: this is its only accelerator. */
static struct {
	struct waiting list[WAITING_MAX];
	size_t count;
	struct child *probe;
} accel;

/**
 * accel_find_images() - Decide which folder holds the images
 * @e:		Engine; its image_dir is written
 * @option:	--image-dir, or NULL
 */
void accel_find_images(struct engine *e, const char *option)
{
	char exe[PATHS_MAX_BYTES];
	const char *from_env = getenv("KENAZ_IMAGE_DIR");
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct stat st;
	char *slash;

	if (option || from_env) {
		(void)snprintf(e->image_dir, sizeof(e->image_dir), "%s",
			       option ? option : from_env);
		return;
	}
	if (n > 0) {
		exe[n] = '\0';
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		/* A build folder: build/bin beside build/image. */
		if (paths_join(exe, "image", e->image_dir,
			       sizeof(e->image_dir)) == ERR_OK &&
		    stat(e->image_dir, &st) == 0)
			return;
	}
	(void)snprintf(e->image_dir, sizeof(e->image_dir), "%s/images",
		       KENAZ_DATADIR);
}

/** accel_default_image() - Name of the image when none is asked for */
const char *accel_default_image(const struct engine *e)
{
	if (e->config->engine.default_image)
		return e->config->engine.default_image;
	return e->config->image_count ? e->config->images[0].name
				      : DEFAULT_IMAGE;
}

/**
 * accel_open_image() - Open an image's folder
 * @e:		Engine
 * @name:	Image
 * @ret_fd:	Directory, owned by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT for a name that is none.
 */
enum err accel_open_image(const struct engine *e, const char *name, int *ret_fd)
{
	char path[PATHS_MAX_BYTES];
	enum err err = image_list_path(e, name, path);

	if (err != ERR_OK)
		return err;
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? ERR_NOT_FOUND : ERR_OK;
}

/* What the verdict holds for: this boot and this QEMU. */
static void cache_key(char *ret_key, size_t cap_bytes)
{
	char boot_id[PROCESS_BOOT_BYTES];
	struct stat st = {0};

	process_boot_id(boot_id);
	if (stat(QEMU_PATH, &st) < 0)
		st.st_size = 0;
	(void)snprintf(ret_key, cap_bytes, "%s %jd %jd", boot_id,
		       (intmax_t)st.st_mtime, (intmax_t)st.st_size);
}

static enum err cache_path(const struct engine *e, char *ret_path)
{
	return paths_join(e->paths.state.path, "accelerator", ret_path,
			  PATHS_MAX_BYTES);
}

/** accel_read_cache() - Take the verdict of an earlier start, if it holds */
void accel_read_cache(struct engine *e)
{
	char path[PATHS_MAX_BYTES], text[CACHE_MAX_BYTES], key[256];
	struct accelerator *a = &e->accelerator;
	char *line[4] = {NULL}, *at = text;
	ssize_t n;
	size_t i;
	int fd;

	if (cache_path(e, path) != ERR_OK)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	for (i = 0; i < ARRAY_SIZE(line) && *at; i++) {
		line[i] = at;
		at += strcspn(at, "\n");
		if (*at)
			*at++ = '\0';
	}
	cache_key(key, sizeof(key));
	if (!line[3] || strcmp(line[0], key) != 0 ||
	    (strcmp(line[1], "kvm") != 0 && strcmp(line[1], "tcg") != 0))
		return;
	(void)snprintf(a->name, sizeof(a->name), "%s", line[1]);
	(void)snprintf(a->qemu_version, sizeof(a->qemu_version), "%s", line[2]);
	(void)snprintf(a->reason, sizeof(a->reason), "%s", line[3]);
}

/* A verdict that cannot be kept is only probed for again. */
static void write_cache(const struct engine *e)
{
	const struct accelerator *a = &e->accelerator;
	char path[PATHS_MAX_BYTES], key[256];
	int fd;

	if (cache_path(e, path) != ERR_OK)
		return;
	cache_key(key, sizeof(key));
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || dprintf(fd, "%s\n%s\n%s\n%s\n", key, a->name,
			      a->qemu_version, a->reason) < 0)
		log_warn("the accelerator's verdict was not kept: %s",
			 strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void decided(struct engine *e, const char *name, const char *reason)
{
	struct waiting list[WAITING_MAX];
	size_t i, n = accel.count;

	(void)snprintf(e->accelerator.name, sizeof(e->accelerator.name), "%s",
		       name);
	(void)snprintf(e->accelerator.reason, sizeof(e->accelerator.reason),
		       "%s", reason);
	log_info("accelerator %s: %s", name, reason);
	memcpy(list, accel.list, sizeof(list));
	accel.count = 0;
	for (i = 0; i < n; i++)
		if (list[i].done)
			list[i].done(list[i].context);
}

static enum err on_message(struct child *c, void *context,
			   struct chan_message *m)
{
	struct engine *e = context;
	struct msg_probe_result r;
	char name[9], reason[256];
	enum err err;

	if (m->type != MSG_PROBE_RESULT)
		return ERR_STATE;
	err = msg_probe_result_get(m->payload, &r);
	if (err != ERR_OK)
		return err;
	(void)text_escape_line(r.accelerator, name, sizeof(name));
	(void)text_escape_line(r.reason, reason, sizeof(reason));
	(void)text_escape_line(r.qemu_version, e->accelerator.qemu_version,
			       sizeof(e->accelerator.qemu_version));
	child_end(c);
	accel.probe = NULL;
	decided(e, strcmp(name, "kvm") == 0 ? "kvm" : "tcg", reason);
	/* Nothing was booted, for the image's sake: that says nothing. */
	if (r.took_ns == 0)
		e->accelerator.name[0] = '\0';
	else
		write_cache(e);
	return ERR_OK;
}

static void on_gone(struct child *c, void *context, const char *why)
{
	child_end(c);
	accel.probe = NULL;
	/* Not kept: the next start may find out. */
	decided(context, "tcg", why);
}

static enum err start_probe(struct engine *e, const char *image)
{
	struct msg_launch_probe m = {.deadline_ns = PROBE_DEADLINE_NS};
	int fd;
	enum err err = accel_open_image(e, image, &fd);

	if (err != ERR_OK)
		return err;
	err = child_start(e, ROLE_LAUNCH, "", NULL, 0, &accel.probe);
	if (err != ERR_OK) {
		close(fd);
		return err;
	}
	accel.probe->context = e;
	accel.probe->on_message = on_message;
	accel.probe->on_gone = on_gone;
	return chan_send_launch_probe(accel.probe->chan, &m, &fd, 1);
}

/**
 * accel_decide() - Find out which accelerator works, once
 * @e:		Engine
 * @image:	Image whose kernel a probe may boot
 * @done:	Called once, perhaps before this returns; the verdict is in
 *		e->accelerator
 * @context:	For @done; accel_forget() drops it
 */
void accel_decide(struct engine *e, const char *image, accel_done_fn done,
		  void *context)
{
	enum config_accelerator wanted = e->config->engine.accelerator;

	if (wanted == CONFIG_ACCELERATOR_KVM && !e->accelerator.name[0])
		decided(e, "kvm", "asked for by engine.accelerator");
	if (wanted == CONFIG_ACCELERATOR_TCG && !e->accelerator.name[0])
		decided(e, "tcg", "asked for by engine.accelerator");
	if (!e->accelerator.name[0] && access("/dev/kvm", R_OK | W_OK) < 0)
		decided(e, "tcg",
			errno == ENOENT
				? "this host has no /dev/kvm"
				: "/dev/kvm may not be opened by this user");
	if (e->accelerator.name[0] || accel.count == WAITING_MAX) {
		done(context);
		return;
	}
	accel.list[accel.count++] =
		(struct waiting){.done = done, .context = context};
	if (!accel.probe && start_probe(e, image) != ERR_OK) {
		/* The session's own start will say what is wrong. */
		decided(e, "tcg", "no probe could be started");
		e->accelerator.name[0] = '\0';
	}
}

/** accel_forget() - Drop the callback of a context that goes away */
void accel_forget(struct engine *e, const void *context)
{
	size_t i;

	(void)e;
	for (i = 0; i < accel.count; i++)
		if (accel.list[i].context == context)
			accel.list[i].done = NULL;
}
