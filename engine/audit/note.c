/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note.c - C2SP signed notes (Ed25519) and checkpoint bodies
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing: notes come from files that others may write.
 * Never:   accepts a note of which one known signature is wrong.
 *
 * c2sp.org/signed-note v1.0.0 with signature type 0x01 and
 * c2sp.org/tlog-checkpoint v1.0.0 without extension lines. Departures: a
 * note is at most NOTE_MAX_BYTES and has at most NOTE_SIGNATURES_MAX
 * signatures; a checkpoint with extension lines is refused.
 */
#include "engine/audit/note.h"

#include <sodium.h>
#include <string.h>

#include "engine/base/text.h"

#define TYPE_ED25519 0x01
#define EM_DASH      "\xe2\x80\x94 "
#define ID_HEX_BYTES (2 * NOTE_ID_BYTES)

static bool is_space(uint32_t cp)
{
	return cp <= 0x20 || cp == 0x7f || cp == 0x85 || cp == 0xa0 ||
	       cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
	       cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static bool is_key_name(struct span s)
{
	uint32_t cp = 0;

	if (s.len_bytes == 0 || s.len_bytes > NOTE_NAME_MAX_BYTES)
		return false;
	while (s.len_bytes) {
		size_t len = text_utf8_next(s, &cp);

		if (len == 0 || is_space(cp) || cp == '+')
			return false;
		s = span_of(s.data + len, s.len_bytes - len);
	}
	return true;
}

static bool is_note_text(struct span s)
{
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] < 0x20 && s.data[i] != '\n')
			return false;
	return s.len_bytes && s.data[s.len_bytes - 1] == '\n' &&
	       text_is_utf8(s);
}

/**
 * note_key_make() - Make a verifier's key and its id
 * @name:	Name of the signer: no space, no '+'
 * @public_key:	Ed25519
 * @ret_key:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT for a bad name.
 */
enum err note_key_make(struct span name,
		       const uint8_t public_key[NOTE_PUBLIC_BYTES],
		       struct note_key *ret_key)
{
	struct span parts[] = {name, span_of("\n\x01", 2),
			       span_of(public_key, NOTE_PUBLIC_BYTES)};
	uint8_t digest[DIGEST_BYTES];

	if (!is_key_name(name))
		return ERR_FORMAT;
	digest_sha256_parts(parts, ARRAY_SIZE(parts), digest);
	memcpy(ret_key->id, digest, NOTE_ID_BYTES);
	memcpy(ret_key->public_key, public_key, NOTE_PUBLIC_BYTES);
	return span_copy_text(name, ret_key->name, sizeof(ret_key->name));
}

static bool cut(struct span s, uint8_t byte, struct span *ret_head,
		struct span *ret_tail)
{
	const uint8_t *at =
		s.len_bytes ? memchr(s.data, byte, s.len_bytes) : NULL;
	size_t len;

	if (!at)
		return false;
	len = (size_t)(at - s.data);
	*ret_head = span_of(s.data, len);
	*ret_tail = span_of(at + 1, s.len_bytes - len - 1);
	return true;
}

/**
 * note_key_read() - Read a vkey: name+id+base64(0x01 || public key)
 * @vkey:	Borrowed
 * @ret_key:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_UNSUPPORTED for another signature type.
 */
enum err note_key_read(struct span vkey, struct note_key *ret_key)
{
	uint8_t id[NOTE_ID_BYTES], blob[1 + NOTE_PUBLIC_BYTES];
	struct buf out = {.data = blob,
			  .cap_bytes = sizeof(blob),
			  .max_bytes = sizeof(blob)};
	struct span name, rest, hex, base64;
	struct note_key key;
	enum err e;

	if (!cut(vkey, '+', &name, &rest) || !cut(rest, '+', &hex, &base64))
		return ERR_FORMAT;
	e = text_unhex(hex, id, sizeof(id));
	if (e == ERR_OK)
		e = text_unbase64(base64, &out);
	if (e != ERR_OK || out.len_bytes == 0)
		return ERR_FORMAT;
	if (blob[0] != TYPE_ED25519)
		return ERR_UNSUPPORTED;
	if (out.len_bytes != sizeof(blob))
		return ERR_FORMAT;
	e = note_key_make(name, blob + 1, &key);
	if (e == ERR_OK && memcmp(key.id, id, sizeof(id)) != 0)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		*ret_key = key;
	return e;
}

/**
 * note_key_write() - Append a key as a vkey
 * @key:	Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err note_key_write(const struct note_key *key, struct buf *out)
{
	uint8_t blob[1 + NOTE_PUBLIC_BYTES] = {TYPE_ED25519};
	char hex[ID_HEX_BYTES + 1];
	enum err e;

	memcpy(blob + 1, key->public_key, NOTE_PUBLIC_BYTES);
	text_hex(key->id, NOTE_ID_BYTES, hex);
	e = buf_printf(out, "%s+%s+", key->name, hex);
	return e == ERR_OK ? text_base64(span_of(blob, sizeof(blob)), out) : e;
}

/**
 * note_sign() - Append a note: the text, an empty line, one signature
 * @key:	The signer's public half, borrowed
 * @secret:	Its secret half as libsodium keeps it
 * @text:	Valid UTF-8 that ends in a newline, borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_FORMAT for a bad text; ERR_CRYPTO; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err note_sign(const struct note_key *key,
		   const uint8_t secret[NOTE_SECRET_BYTES], struct span text,
		   struct buf *out)
{
	uint8_t blob[NOTE_ID_BYTES + NOTE_SIGNATURE_BYTES];
	enum err e;

	if (!is_note_text(text))
		return ERR_FORMAT;
	memcpy(blob, key->id, NOTE_ID_BYTES);
	if (crypto_sign_detached(blob + NOTE_ID_BYTES, NULL, text.data,
				 text.len_bytes, secret) != 0)
		return ERR_CRYPTO;
	e = buf_put_span(out, text);
	if (e == ERR_OK)
		e = buf_printf(out, "\n" EM_DASH "%s ", key->name);
	if (e == ERR_OK)
		e = text_base64(span_of(blob, sizeof(blob)), out);
	return e == ERR_OK ? buf_put_text(out, "\n") : e;
}

/* The last empty line parts the text from the signatures. */
static bool part(struct span note, struct span *ret_text,
		 struct span *ret_signatures)
{
	size_t at;

	if (note.len_bytes > NOTE_MAX_BYTES || !is_note_text(note))
		return false;
	for (at = note.len_bytes - 1; at > 0; at--) {
		if (note.data[at] != '\n' || note.data[at - 1] != '\n')
			continue;
		*ret_text = span_of(note.data, at);
		*ret_signatures =
			span_of(note.data + at + 1, note.len_bytes - at - 1);
		return ret_signatures->len_bytes > 0;
	}
	return false;
}

/**
 * note_text() - The text of a note whose signatures were not checked
 * @note:	Borrowed
 * @ret_text:	Borrowed from @note; written on success
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err note_text(struct span note, struct span *ret_text)
{
	struct span signatures;

	return part(note, ret_text, &signatures) ? ERR_OK : ERR_FORMAT;
}

/* Parse one signature line without its newline. */
static enum err read_line(struct span line, struct span *ret_name,
			  struct buf *blob)
{
	size_t dash = strlen(EM_DASH);
	struct span base64;
	enum err e;

	if (line.len_bytes < dash || memcmp(line.data, EM_DASH, dash) != 0 ||
	    !cut(span_of(line.data + dash, line.len_bytes - dash), ' ',
		 ret_name, &base64) ||
	    !is_key_name(*ret_name))
		return ERR_FORMAT;
	e = text_unbase64(base64, blob);
	if (e == ERR_OK && blob->len_bytes <= NOTE_ID_BYTES)
		e = ERR_FORMAT;
	return e;
}

static enum err check_line(struct span line, struct span text,
			   const struct note_key *key, bool *ret_ours)
{
	struct span name;
	struct buf blob;
	enum err e;

	buf_init(&blob, NOTE_MAX_BYTES);
	e = read_line(line, &name, &blob);
	*ret_ours = e == ERR_OK && span_is(name, key->name) &&
		    memcmp(blob.data, key->id, NOTE_ID_BYTES) == 0;
	if (*ret_ours &&
	    (blob.len_bytes != NOTE_ID_BYTES + NOTE_SIGNATURE_BYTES ||
	     crypto_sign_verify_detached(blob.data + NOTE_ID_BYTES, text.data,
					 text.len_bytes, key->public_key) != 0))
		e = ERR_INTEGRITY;
	buf_fini(&blob);
	return e;
}

/**
 * note_verify() - Check that a key signed a note
 * @note:	Borrowed
 * @key:	The one key that is known; others are ignored
 * @ret_text:	Borrowed from @note; written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT for too many signatures;
 *	   ERR_NOT_FOUND when the key did not sign; ERR_INTEGRITY when its
 *	   signature is wrong; ERR_MEMORY.
 */
enum err note_verify(struct span note, const struct note_key *key,
		     struct span *ret_text)
{
	struct span text, rest, line;
	bool ours, found = false;
	size_t count = 0;
	enum err e;

	if (!part(note, &text, &rest))
		return ERR_FORMAT;
	while (rest.len_bytes) {
		if (++count > NOTE_SIGNATURES_MAX)
			return ERR_LIMIT;
		if (!cut(rest, '\n', &line, &rest))
			return ERR_FORMAT;
		e = check_line(line, text, key, &ours);
		if (e != ERR_OK)
			return e;
		found |= ours;
	}
	if (!found)
		return ERR_NOT_FOUND;
	*ret_text = text;
	return ERR_OK;
}

/**
 * checkpoint_write() - Append the body of a checkpoint
 * @c:		Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_FORMAT for a bad origin; ERR_LIMIT; ERR_MEMORY.
 */
enum err checkpoint_write(const struct checkpoint *c, struct buf *out)
{
	enum err e;

	if (!is_key_name(span_text(c->origin)))
		return ERR_FORMAT;
	e = buf_printf(out, "%s\n%llu\n", c->origin,
		       (unsigned long long)c->size);
	if (e == ERR_OK)
		e = text_base64(span_of(c->root.bytes, DIGEST_BYTES), out);
	return e == ERR_OK ? buf_put_text(out, "\n") : e;
}

/**
 * checkpoint_read() - Read the body of a checkpoint
 * @text:		The whole text of a note, borrowed
 * @ret_checkpoint:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT, also for extension lines.
 */
enum err checkpoint_read(struct span text, struct checkpoint *ret_checkpoint)
{
	struct checkpoint c = {.size = 0};
	struct buf root = {.data = c.root.bytes,
			   .cap_bytes = DIGEST_BYTES,
			   .max_bytes = DIGEST_BYTES};
	struct span origin, size, base64, rest;

	if (!cut(text, '\n', &origin, &rest) ||
	    !cut(rest, '\n', &size, &rest) ||
	    !cut(rest, '\n', &base64, &rest) || rest.len_bytes ||
	    !is_key_name(origin))
		return ERR_FORMAT;
	if (span_copy_text(origin, c.origin, sizeof(c.origin)) != ERR_OK ||
	    text_parse_u64(size, 0, TREE_SIZE_MAX, &c.size) != ERR_OK ||
	    text_unbase64(base64, &root) != ERR_OK ||
	    root.len_bytes != DIGEST_BYTES)
		return ERR_FORMAT;
	*ret_checkpoint = c;
	return ERR_OK;
}
