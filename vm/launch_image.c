/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch_image.c - whose images may be started, and what an image is
 *
 * Runs in: kenaz-launch.
 * Trusts:  core.
 * Never:   starts anything: inspecting ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"
#include "vm/launch_state.h"

#define PACKAGE_LIST_BYTES (48u * 1024)

/** launch_on_image_keys() - Core says whose signatures count */
enum err launch_on_image_keys(struct launch *l, struct chan_message *m)
{
	struct msg_image_keys keys;
	enum err e = msg_image_keys_get(m->payload, &keys);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	return image_keys_get(keys.keys, &l->keys);
}

/* "NAME VERSION ..." a line; what does not fit is only counted. */
static enum err put_packages(struct span text, struct buf *list,
			     uint32_t *ret_count)
{
	struct span rest = text;
	bool full = false;

	*ret_count = 0;
	while (rest.len_bytes) {
		const uint8_t *end = memchr(rest.data, '\n', rest.len_bytes);
		size_t len = end ? (size_t)(end - rest.data) : rest.len_bytes;
		struct span line = span_of(rest.data, len), version;
		const uint8_t *space =
			len ? memchr(line.data, ' ', line.len_bytes) : NULL;
		size_t skip = len + (end ? 1 : 0);
		size_t before = list->len_bytes;

		rest = span_of(rest.data + skip, rest.len_bytes - skip);
		if (!space || !text_is_utf8(line))
			continue;
		(*ret_count)++;
		version = span_of(space + 1,
				  len - (size_t)(space - line.data) - 1);
		space = version.len_bytes
				? memchr(version.data, ' ', version.len_bytes)
				: NULL;
		if (space)
			version.len_bytes = (size_t)(space - version.data);
		line.len_bytes = (size_t)(version.data - line.data) - 1;
		if (full || attrs_put_pair(list, line, version) != ERR_OK) {
			full = true;
			buf_truncate(list, before);
		}
	}
	return ERR_OK;
}

static uint64_t created_s(const char *text)
{
	struct tm t = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &t);
	time_t at = end && !*end ? timegm(&t) : 0;

	return at > 0 ? (uint64_t)at : 0;
}

static void send_inspected(struct launch *l, enum err error, const char *text,
			   struct span packages)
{
	const struct image *i = &l->image;
	struct msg_image_inspected m = {
		.error = error,
		.text = span_text(text),
		.key = span_text(i->signer.name),
		.key_id = span_text(i->signer.id),
		.created = created_s(i->created),
		.bytes = i->kernel.size_bytes + i->initrd.size_bytes +
			 i->root.file.size_bytes + i->packages.size_bytes,
		.kernel_version = span_text(i->kernel_version),
		.cpu = span_text(i->cpu),
		.min_memory_mib = i->min_memory_mib,
		.has_root = i->has_root ? 1 : 0,
	};
	struct buf list;

	memcpy(m.manifest, i->manifest_digest, DIGEST_BYTES);
	buf_init(&list, PACKAGE_LIST_BYTES);
	if (put_packages(packages, &list, &m.packages) == ERR_OK)
		m.package_list = buf_span(&list);
	if (chan_send_image_inspected(l->core, &m, NULL, 0) != ERR_OK ||
	    chan_flush(l->core) != ERR_OK)
		log_debug("core was not told of the image");
	buf_fini(&list);
}

/** launch_on_inspect() - Core asks what an image is; the process then ends */
enum err launch_on_inspect(struct launch *l, struct chan_message *m)
{
	char name[NAME_MAX_BYTES + 1];
	struct msg_image_inspect ask;
	struct buf reason, packages;
	const char *text = "";
	int dir_fd;
	enum err e = msg_image_inspect_get(m->payload, &ask);

	if (e != ERR_OK || l->state != L_NEW)
		return e == ERR_OK ? ERR_STATE : e;
	l->state = L_ENDED;
	dir_fd = launch_take_fd(m, 0);
	buf_init(&reason, REASON_MAX_BYTES);
	buf_init(&packages, IMAGE_PACKAGES_MAX_BYTES);
	e = span_copy_text(ask.image, name, sizeof(name));
	if (e == ERR_OK)
		e = image_inspect(dir_fd, name, &l->keys, ask.deep != 0,
				  &l->image, &packages, &reason);
	close(dir_fd);
	if (e != ERR_OK &&
	    (reason.len_bytes == 0 || buf_terminate(&reason, &text) != ERR_OK))
		text = e == ERR_SYS ? strerror(errno) : err_text(e);
	send_inspected(l, e, text, buf_span(&packages));
	buf_fini(&packages);
	buf_fini(&reason);
	uv_stop(l->loop);
	return ERR_OK;
}
