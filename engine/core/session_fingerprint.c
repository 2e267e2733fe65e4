/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_fingerprint.c - what ran, for whom, under which policy: one digest
 *
 * Runs in: kenazd.
 * Trusts:  the launcher's digests of the machine; core's own figures.
 * Never:   covers what the log does not hold: an auditor recomputes both
 *	    fingerprints from two events, as docs/fingerprint.md says.
 */
#include "engine/core/session_fingerprint.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"

#define NONCE_BYTES    32u
#define DOCUMENT_BYTES 4096u
#define ARGV_ITEMS_MAX ATTR_LIST_MAX_ITEMS

/**
 * session_fingerprint_document() - The text whose digest is the fingerprint
 * @id:		Parts, borrowed
 * @out:	Appended to: canonical JSON, keys in this order, no white space
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err session_fingerprint_document(const struct session_identity *id,
				      struct buf *out)
{
	struct jsonw w;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "v", 1);
	jsonw_key(&w, "vm");
	if (id->vm)
		jsonw_hex(&w, span_of(id->vm, DIGEST_BYTES));
	else
		jsonw_cstr(&w, "");
	jsonw_put_cstr(&w, "session", id->session);
	jsonw_put_cstr(&w, "user", id->user);
	jsonw_put_cstr(&w, "policy", id->policy);
	jsonw_key(&w, "nonce");
	jsonw_hex(&w, span_of(id->nonce, NONCE_BYTES));
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

/**
 * session_fingerprint() - Digest of the document
 * @id:		Parts, borrowed
 * @ret_digest:	Written on success
 *
 * Return: as session_fingerprint_document().
 */
enum err session_fingerprint(const struct session_identity *id,
			     uint8_t ret_digest[DIGEST_BYTES])
{
	struct buf document;
	enum err e;

	buf_init(&document, DOCUMENT_BYTES);
	e = session_fingerprint_document(id, &document);
	if (e == ERR_OK)
		digest_sha256(buf_span(&document), ret_digest);
	buf_fini(&document);
	return e;
}

/* One argument a line becomes a list. */
static enum err put_argv(struct span text, struct buf *attrs)
{
	struct span items[ARGV_ITEMS_MAX];
	size_t count = 0;

	while (text.len_bytes) {
		const uint8_t *end = memchr(text.data, '\n', text.len_bytes);
		size_t len = end ? (size_t)(end - text.data) : text.len_bytes;

		if (count == ARGV_ITEMS_MAX)
			return ERR_LIMIT;
		items[count++] = span_of(text.data, len);
		len += end ? 1 : 0;
		text = span_of(text.data + len, text.len_bytes - len);
	}
	return attrs_put_list(attrs, "kenaz.vm.argv", items, count);
}

static enum err put_digest(struct buf *attrs, const char *key,
			   const uint8_t *digest)
{
	char text[DIGEST_HEX_BYTES];

	text_hex(digest, DIGEST_BYTES, text);
	return attrs_put_text(attrs, key, span_text(text));
}

/**
 * session_fingerprint_put_vm() - Attributes of vm.start
 * @m:		What the launcher said, borrowed
 * @memory_mib:	As asked for
 * @vcpus:	As asked for
 * @attrs:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err session_fingerprint_put_vm(const struct msg_vm_fingerprint *m,
				    uint32_t memory_mib, uint32_t vcpus,
				    struct buf *attrs)
{
	static const uint8_t none[DIGEST_BYTES];
	const struct {
		const char *key;
		const uint8_t *digest;
	} digests[] = {
		{"kenaz.vm.fingerprint", m->fingerprint},
		{"kenaz.image.manifest", m->manifest},
		{"kenaz.image.kernel", m->kernel},
		{"kenaz.image.initrd", m->initrd},
		{"kenaz.qemu.digest", m->qemu},
		{"kenaz.qemu.arguments", m->arguments},
		{"kenaz.vm.jail", m->jail},
	};
	const struct {
		const char *key;
		struct span text;
	} texts[] = {
		{"kenaz.image.name", m->image},
		{"kenaz.image.key", m->image_key},
		{"kenaz.image.key_id", m->image_key_id},
		{"kenaz.qemu.version", m->qemu_version},
		{"kenaz.vm.accelerator", m->accelerator},
		{"kenaz.vm.vsock", m->vsock},
		{"kenaz.vm.cpu", m->cpu},
		{"kenaz.vm.start", m->start},
		{"kenaz.vm.kernel_command_line", m->kernel_command_line},
	};
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(digests); i++)
		e = put_digest(attrs, digests[i].key, digests[i].digest);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(texts); i++)
		e = attrs_put_text(attrs, texts[i].key, texts[i].text);
	if (e == ERR_OK && memcmp(m->template, none, sizeof(none)) != 0)
		e = put_digest(attrs, "kenaz.vm.template", m->template);
	if (e == ERR_OK)
		e = attrs_put_u64(attrs, "kenaz.vm.memory_mib", memory_mib);
	if (e == ERR_OK)
		e = attrs_put_u64(attrs, "kenaz.vm.vcpus", vcpus);
	if (e == ERR_OK)
		e = put_argv(m->argv, attrs);
	return e;
}
