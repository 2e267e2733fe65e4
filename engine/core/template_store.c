/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_store.c - booted guests, sealed, that sessions are restored from
 *
 * Runs in: kenazd.
 * Trusts:  the kernel's seals; a launcher's word on what it started.
 * Never:   keeps a template that anybody can still write to, or one of a
 *	    machine that a session had; maps or reads one.
 */
#include "engine/core/template_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/core/audit_client.h"

#define MIB      (1024u * 1024u)
#define SEALS    (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
#define BLOCK    512u /* of st_blocks */
#define KEY_NAME "kenaz template 1"

/**
 * template_key() - One digest over everything that goes into a template
 * @kind:		User, image, sizes, accelerator, backend
 * @m:			Fingerprint of the machine that it is made of
 * @qemu_version:	QEMU's, without its terminator
 * @ret_key:		The key
 *
 * Kernel, initramfs and guestd are in the manifest.
 */
void template_key(const struct pool_kind *kind,
		  const struct msg_vm_fingerprint *m, const char *qemu_version,
		  uint8_t ret_key[DIGEST_BYTES])
{
	char manifest[DIGEST_HEX_BYTES], qemu[DIGEST_HEX_BYTES],
		arguments[DIGEST_HEX_BYTES], text[1024];

	text_hex(m->manifest, DIGEST_BYTES, manifest);
	text_hex(m->qemu, DIGEST_BYTES, qemu);
	text_hex(m->arguments, DIGEST_BYTES, arguments);
	(void)snprintf(text, sizeof(text),
		       KEY_NAME "\nuid %u\nimage %s\nmanifest %s\nqemu %s\n"
				"qemu version %s\narguments %s\nmemory %u\n"
				"vcpus %u\naccelerator %s\nbackend %s\n",
		       (unsigned)kind->trust, kind->image, manifest, qemu,
		       qemu_version, arguments, kind->memory_mib, kind->vcpus,
		       kind->accelerator, kind->backend);
	digest_sha256(span_text(text), ret_key);
}

static enum err check_file(int fd, uint64_t min_bytes, uint64_t max_bytes,
			   uint64_t *ret_used_bytes)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return ERR_INTEGRITY;
	if (fstat(fd, &st) < 0)
		return ERR_SYS;
	if (st.st_size < 0 || (uint64_t)st.st_size < min_bytes ||
	    (uint64_t)st.st_size > max_bytes)
		return ERR_RANGE;
	*ret_used_bytes = (uint64_t)st.st_blocks * BLOCK;
	return ERR_OK;
}

/**
 * template_check_files() - Whether nobody can change a template any more
 * @memory_fd:		The guest's memory
 * @state_fd:		QEMU's device state with its header
 * @memory_mib:		What the machine had
 * @ret_used_mib:	Memory that both really take, rounded up
 *
 * Return: ERR_OK; ERR_INTEGRITY for a file that is not sealed for good;
 *	   ERR_RANGE for a size that is not the machine's; ERR_SYS.
 */
enum err template_check_files(int memory_fd, int state_fd, uint32_t memory_mib,
			      uint64_t *ret_used_mib)
{
	uint64_t size = (uint64_t)memory_mib * MIB, memory = 0, state = 0;
	enum err err = check_file(memory_fd, size, size, &memory);

	if (err == ERR_OK)
		err = check_file(state_fd, 1,
				 (uint64_t)TEMPLATE_STATE_MAX_MIB * MIB,
				 &state);
	if (err == ERR_OK)
		*ret_used_mib = (memory + state + MIB - 1) / MIB;
	return err;
}

/* --- the log ------------------------------------------------------------- */

static enum err put_digest(struct buf *b, const char *key,
			   const uint8_t digest[DIGEST_BYTES])
{
	char text[DIGEST_HEX_BYTES];

	text_hex(digest, DIGEST_BYTES, text);
	return attrs_put_text(b, key, span_text(text));
}

static void on_durable(void *context, struct audit_outcome *o)
{
	struct template_entry *t = context;

	if (o->error == ERR_OK)
		t->durable = true;
	else
		template_drop(t, o->text);
}

static enum err write_made(struct template_entry *t)
{
	struct audit_event event = {.kind = "template.made", .payload_fd = -1};
	char trust[32];
	struct buf b;
	enum err err;

	(void)snprintf(trust, sizeof(trust), "uid:%u", (unsigned)t->kind.trust);
	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_digest(&b, "kenaz.template.digest", t->digest);
	if (err == ERR_OK)
		err = put_digest(&b, "kenaz.template.key", t->key);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.vm.id", span_text(t->vm));
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.image.name",
				     span_text(t->kind.image));
	if (err == ERR_OK)
		err = put_digest(&b, "kenaz.image.manifest", t->manifest);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.vm.trust_domain",
				     span_text(trust));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.template.mib", t->used_mib);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.duration_ms",
				    t->took_ns / 1000000u);
	event.attributes = buf_span(&b);
	if (err == ERR_OK)
		err = audit_append(t->engine, &event, on_durable, t);
	buf_fini(&b);
	return err;
}

static void write_dropped(const struct template_entry *t, const char *reason)
{
	struct buf b;
	enum err err;

	buf_init(&b, EVENT_FIELDS_MAX_BYTES);
	err = put_digest(&b, "kenaz.template.digest", t->digest);
	if (err == ERR_OK)
		err = attrs_put_text(&b, "kenaz.reason", span_text(reason));
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.template.restores", t->restores);
	if (err == ERR_OK)
		err = attrs_put_u64(&b, "kenaz.duration_ms",
				    (engine_now_ns() - t->made_ns) / 1000000u);
	if (err == ERR_OK)
		audit_note(t->engine, "template.dropped", NULL, NULL,
			   buf_span(&b));
	buf_fini(&b);
}

/* --- the store ----------------------------------------------------------- */

/**
 * template_add() - Keep a template; it serves once template.made is durable
 * @list:	Of all that are held
 * @from:	Copied; its descriptors are owned from here on
 *
 * Return: ERR_OK; ERR_MEMORY; as audit_append().
 */
enum err template_add(struct template_list *list, struct template_entry *from)
{
	struct template_entry *t = malloc(sizeof(*t));
	enum err err = ERR_MEMORY;

	if (t) {
		*t = *from;
		t->made_ns = t->used_ns = engine_now_ns();
		t->durable = false;
		LIST_INSERT_HEAD(list, t, next);
		err = write_made(t);
		if (err != ERR_OK)
			template_free(t);
		return err;
	}
	close(from->memory_fd);
	close(from->state_fd);
	return err;
}

/** template_find() - The template of a kind that may be used, or NULL */
struct template_entry *template_find(struct template_list *list,
				     const struct pool_kind *kind)
{
	struct template_entry *t;

	LIST_FOREACH(t, list, next)
	if (t->durable && pool_kind_equal(&t->kind, kind))
		return t;
	return NULL;
}

/** template_fits() - Whether a clone is what its template was made of */
bool template_fits(const struct template_entry *t,
		   const struct msg_vm_fingerprint *m)
{
	return memcmp(t->digest, m->template, DIGEST_BYTES) == 0 &&
	       memcmp(t->manifest, m->manifest, DIGEST_BYTES) == 0 &&
	       memcmp(t->qemu, m->qemu, DIGEST_BYTES) == 0;
}

/** template_mib() - Memory that all templates really take */
uint64_t template_mib(const struct template_list *list)
{
	const struct template_entry *t;
	uint64_t mib = 0;

	LIST_FOREACH(t, list, next)
	mib += t->used_mib;
	return mib;
}

/** template_count() - How many are held */
size_t template_count(const struct template_list *list)
{
	const struct template_entry *t;
	size_t n = 0;

	LIST_FOREACH(t, list, next)
	n++;
	return n;
}

/** template_oldest() - The one unused for longest, or NULL */
struct template_entry *template_oldest(struct template_list *list)
{
	struct template_entry *t, *oldest = NULL;

	LIST_FOREACH(t, list, next)
	if (!oldest || t->used_ns < oldest->used_ns)
		oldest = t;
	return oldest;
}

/** template_free() - Forget a template; clones have copies of their own */
void template_free(struct template_entry *t)
{
	audit_forget(t->engine, t);
	LIST_REMOVE(t, next);
	close(t->memory_fd);
	close(t->state_fd);
	free(t);
}

/** template_drop() - Forget a template, and say why in the log */
void template_drop(struct template_entry *t, const char *reason)
{
	log_info("the template of machine %s is dropped: %s", t->vm, reason);
	if (t->durable)
		write_dropped(t, reason);
	template_free(t);
}
