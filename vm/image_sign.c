/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_sign.c - a manifest that somebody trusted has signed
 *
 * Runs in: kenaz-launch.
 * Trusts:  the keys that core sent; nothing of an image's folder.
 * Never:   hands on a byte of a manifest whose signature was not checked.
 *
 * manifest.sig beside manifest.json: a minisign signature of its bytes.
 */
#include "vm/image_sign.h"

#include <string.h>

#include "vm/image_file.h"

/**
 * image_sign_check() - Check the signature of a manifest
 * @manifest:	Its bytes, borrowed
 * @signature:	The signature's file, borrowed
 * @keys:	Trusted keys
 * @ret_signer:	Written on success
 * @reason:	A sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_PERMISSION for a key that is not trusted;
 *	   ERR_INTEGRITY for a wrong signature; ERR_MEMORY.
 */
enum err image_sign_check(struct span manifest, struct span signature,
			  const struct image_keys *keys,
			  struct image_signer *ret_signer, struct buf *reason)
{
	char id_text[MINISIGN_ID_HEX_BYTES];
	uint8_t id[MINISIGN_ID_BYTES] = {0};
	size_t index = 0;
	enum err e = minisign_verify(signature, manifest, keys->list,
				     keys->count, id, &index);

	minisign_id_text(id, id_text);
	if (e == ERR_OK) {
		memcpy(ret_signer->name, keys->list[index].name,
		       sizeof(ret_signer->name));
		memcpy(ret_signer->id, id_text, sizeof(ret_signer->id));
		return ERR_OK;
	}
	if (e == ERR_NOT_FOUND)
		return image_refuse(
			reason, ERR_PERMISSION,
			"the image is signed with key %s, which is not "
			"trusted here; if you trust who made it, put "
			"that public key (a .pub file) into image-keys "
			"of the configuration folder",
			id_text);
	if (e == ERR_INTEGRITY)
		return image_refuse(reason, ERR_INTEGRITY,
				    IMAGE_MANIFEST_NAME " is not what key %s "
							"signed; build or pull "
							"the image again",
				    id_text);
	return image_refuse(reason, ERR_FORMAT,
			    IMAGE_SIGNATURE_NAME
			    " %s; sign the image again with "
			    "'kenaz image sign'",
			    e == ERR_UNSUPPORTED
				    ? "is of an old kind, not prehashed"
				    : "is no minisign signature");
}

/**
 * image_sign_read() - Read an image's manifest, if a trusted key signed it
 * @dir_fd:		The image's folder, borrowed
 * @keys:		Trusted keys
 * @ret_manifest:	Its bytes; initialised by the caller, whose limit holds
 * @ret_signer:		Written on success
 * @reason:		A sentence when refused; initialised by the caller
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_PERMISSION; ERR_INTEGRITY;
 *	   ERR_SYS; ERR_SHORT; ERR_MEMORY.
 */
enum err image_sign_read(int dir_fd, const struct image_keys *keys,
			 struct buf *ret_manifest,
			 struct image_signer *ret_signer, struct buf *reason)
{
	struct buf signature;
	enum err e;

	buf_init(&signature, MINISIGN_FILE_MAX_BYTES);
	e = image_file_read(dir_fd, IMAGE_MANIFEST_NAME,
			    "build or pull the image", ret_manifest, reason);
	if (e == ERR_OK)
		e = image_file_read(
			dir_fd, IMAGE_SIGNATURE_NAME,
			"only signed images are started: sign it with "
			"'kenaz image sign', or build it again",
			&signature, reason);
	if (e == ERR_OK)
		e = image_sign_check(buf_span(ret_manifest),
				     buf_span(&signature), keys, ret_signer,
				     reason);
	buf_fini(&signature);
	if (e != ERR_OK)
		buf_reset(ret_manifest);
	return e;
}
