/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_image.c - verbs about images: list, show, verify
 *
 * Runs in: kenazd.
 * Trusts:  launchers, which read the images: core parses no manifest.
 * Never:   hashes a file itself: that would hold up every session.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/core/accel.h"
#include "engine/core/control.h"
#include "engine/core/image_list.h"
#include "engine/core/image_trust.h"

#define INSPECTIONS_MAX  4u /* requests at once, of all clients */
#define ANSWER_MAX_BYTES (CONTROL_LINE_MAX_BYTES - 4096u)

/* One request: its images are looked at one after the other. */
struct inspection {
	struct rpc *rpc;
	struct image_list list;
	size_t next;
	struct child *child;
	struct buf json;
	struct jsonw w;
	bool deep, packages;
};

static size_t n_inspections;

static void look_at_next(struct inspection *i);

static void inspection_free(struct inspection *i)
{
	child_end(i->child);
	buf_fini(&i->json);
	free(i);
	n_inspections--;
}

static void put_keys(struct inspection *i);

static void finish(struct inspection *i)
{
	struct rpc *r = i->rpc;

	jsonw_end_array(&i->w);
	put_keys(i);
	jsonw_end_object(&i->w);
	if (jsonw_finish(&i->w) == ERR_OK)
		rpc_reply(r, buf_span(&i->json));
	else
		rpc_fail(r, ERR_LIMIT,
			 "the answer is too long; ask for one image");
	inspection_free(i);
}

static void put_packages(struct jsonw *w, struct span list)
{
	struct reader r;
	struct attr pair;

	jsonw_key(w, "package_list");
	jsonw_begin_array(w);
	reader_init(&r, list);
	while (attrs_next(&r, &pair)) {
		jsonw_begin_object(w);
		jsonw_put_text(w, "name", pair.key);
		jsonw_put_text(w, "version", pair.text);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

static void put_place(struct inspection *i, const char *name)
{
	const struct engine *e = i->rpc->engine;
	char path[PATHS_MAX_BYTES];

	jsonw_put_cstr(&i->w, "image", name);
	jsonw_put_bool(&i->w, "default",
		       strcmp(name, accel_default_image(e)) == 0);
	if (image_list_path(e, name, path) == ERR_OK)
		jsonw_put_cstr(&i->w, "path", path);
}

/* What is not known, because the image was refused, is left out. */
static void put_image(struct inspection *i, const char *name,
		      const struct msg_image_inspected *m)
{
	struct jsonw *w = &i->w;
	uint64_t now = engine_wall_us() / 1000000u;

	jsonw_begin_object(w);
	put_place(i, name);
	jsonw_put_cstr(w, "state",
		       m->error != ERR_OK ? "refused"
		       : i->deep          ? "verified"
					  : "signed");
	if (m->error != ERR_OK)
		jsonw_put_text(w, "reason", m->text);
	if (m->key.len_bytes) {
		jsonw_put_text(w, "key", m->key);
		jsonw_put_text(w, "key_id", m->key_id);
	}
	if (m->min_memory_mib) {
		jsonw_key(w, "manifest");
		jsonw_hex(w, span_of(m->manifest, DIGEST_BYTES));
		if (m->created) {
			jsonw_put_u64(w, "created", m->created);
			jsonw_put_u64(w, "age_s",
				      now > m->created ? now - m->created : 0);
		}
		jsonw_put_u64(w, "bytes", m->bytes);
		jsonw_put_text(w, "kernel_version", m->kernel_version);
		jsonw_put_text(w, "cpu", m->cpu);
		jsonw_put_u64(w, "min_memory_mib", m->min_memory_mib);
		jsonw_put_bool(w, "disk", m->has_root);
		jsonw_put_u64(w, "packages", m->packages);
		if (i->packages)
			put_packages(w, m->package_list);
	}
	jsonw_end_object(w);
}

static void put_refused(struct inspection *i, const char *text)
{
	struct msg_image_inspected m = {.error = ERR_NOT_FOUND,
					.text = span_text(text)};

	put_image(i, i->list.names[i->next++], &m);
	look_at_next(i);
}

static enum err on_message(struct child *c, void *context,
			   struct chan_message *message)
{
	struct inspection *i = context;
	struct msg_image_inspected m;
	enum err err;

	if (message->type != MSG_IMAGE_INSPECTED)
		return ERR_STATE;
	err = msg_image_inspected_get(message->payload, &m);
	if (err != ERR_OK)
		return err;
	put_image(i, i->list.names[i->next++], &m);
	child_end(c);
	i->child = NULL;
	look_at_next(i);
	return ERR_OK;
}

static void on_gone(struct child *c, void *context, const char *why)
{
	struct inspection *i = context;

	child_end(c);
	i->child = NULL;
	put_refused(i, why);
}

static void look_at_next(struct inspection *i)
{
	struct msg_image_inspect m = {.deep = i->deep ? 1 : 0};
	struct engine *e = i->rpc->engine;
	char text[PATHS_MAX_BYTES + 64];
	const char *name;
	int fd;
	enum err err;

	/* Nobody waits for the answer any more. */
	if (i->next == i->list.count || !i->rpc->conn) {
		finish(i);
		return;
	}
	name = i->list.names[i->next];
	err = accel_open_image(e, name, &fd);
	if (err != ERR_OK) {
		(void)snprintf(text, sizeof(text),
			       "its folder cannot be opened (%s)",
			       err_text(err));
		put_refused(i, text);
		return;
	}
	err = child_start(e, ROLE_LAUNCH, "", NULL, 0, &i->child);
	if (err != ERR_OK) {
		close(fd);
		put_refused(i, "no launcher could be started to look at it");
		return;
	}
	i->child->context = i;
	i->child->on_message = on_message;
	i->child->on_gone = on_gone;
	m.image = span_text(name);
	err = chan_send_image_inspect(i->child->chan, &m, &fd, 1);
	if (err != ERR_OK) {
		child_end(i->child);
		i->child = NULL;
		put_refused(i, "its launcher was lost");
	}
}

static void ignore(void *context, const char *path, const char *why)
{
	struct jsonw *w = context;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "path", path);
	jsonw_put_cstr(w, "reason", why);
	jsonw_end_object(w);
}

/* Where images and keys of this engine's users go, and whom it trusts. */
static void put_keys(struct inspection *i)
{
	const struct engine *e = i->rpc->engine;
	char folder[PATHS_MAX_BYTES], id[MINISIGN_ID_HEX_BYTES];
	struct image_keys keys;
	size_t k;

	if (image_list_folder(e, folder) == ERR_OK)
		jsonw_put_cstr(&i->w, "folder", folder);
	if (paths_join(e->paths.config.path, IMAGE_TRUST_FOLDER, folder,
		       sizeof(folder)) == ERR_OK)
		jsonw_put_cstr(&i->w, "keys_folder", folder);
	jsonw_key(&i->w, "keys_ignored");
	jsonw_begin_array(&i->w);
	image_trust_load(e, ignore, &i->w, &keys);
	jsonw_end_array(&i->w);
	jsonw_key(&i->w, "keys");
	jsonw_begin_array(&i->w);
	for (k = 0; k < keys.count; k++) {
		minisign_id_text(keys.list[k].id, id);
		jsonw_begin_object(&i->w);
		jsonw_put_cstr(&i->w, "name", keys.list[k].name);
		jsonw_put_cstr(&i->w, "id", id);
		jsonw_end_object(&i->w);
	}
	jsonw_end_array(&i->w);
}

static struct inspection *inspection_new(struct rpc *r)
{
	struct inspection *i;

	if (n_inspections == INSPECTIONS_MAX) {
		rpc_fail(r, ERR_LIMIT,
			 "images are being looked at for others; try again");
		return NULL;
	}
	i = calloc(1, sizeof(*i));
	if (!i) {
		rpc_fail(r, ERR_MEMORY, "out of memory");
		return NULL;
	}
	n_inspections++;
	i->rpc = r;
	buf_init(&i->json, ANSWER_MAX_BYTES);
	jsonw_init(&i->w, &i->json);
	jsonw_begin_object(&i->w);
	jsonw_key(&i->w, "images");
	jsonw_begin_array(&i->w);
	return i;
}

/* The image that a request names, or all of them. */
static void inspect(struct rpc *r, const cJSON *params, bool needed, bool deep,
		    bool packages)
{
	static const char *const keys[] = {"image", NULL};
	struct inspection *i;
	const char *name;

	if (!rpc_check_keys(r, params, keys) ||
	    !rpc_get_text(r, params, "image", needed, &name))
		return;
	if (name && !text_is_name(span_text(name), NAME_MAX_BYTES)) {
		rpc_bad_params(r, "parameter image: must be a name of small "
				  "letters, digits, '.', '_' and '-'");
		return;
	}
	i = inspection_new(r);
	if (!i)
		return;
	i->deep = deep;
	i->packages = packages;
	if (name) {
		(void)snprintf(i->list.names[0], sizeof(i->list.names[0]), "%s",
			       name);
		i->list.count = 1;
	} else {
		image_list_read(r->engine, &i->list);
	}
	look_at_next(i);
}

static void image_list(struct rpc *r, const cJSON *params)
{
	inspect(r, params, false, false, false);
}

static void image_show(struct rpc *r, const cJSON *params)
{
	inspect(r, params, true, false, true);
}

static void image_verify(struct rpc *r, const cJSON *params)
{
	inspect(r, params, false, true, false);
}

const struct rpc_method rpc_image_methods[] = {
	{"image.list", image_list},
	{"image.show", image_show},
	{"image.verify", image_verify},
	{NULL, NULL},
};
