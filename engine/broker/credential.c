/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credential.c - a key in the form in which requests carry it
 *
 * Runs in: kenaz-broker.
 * Trusts:  the vault for the key.
 * Never:   keeps a key, or anything made of one, outside locked memory.
 */
#include "engine/broker/credential.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define BASIC ": Basic "

/** credential_hold() - Share a credential; NULL is passed through */
struct credential *credential_hold(struct credential *c)
{
	if (c)
		c->users++;
	return c;
}

/** credential_release() - End one use; the last one wipes; NULL is accepted */
void credential_release(struct credential *c)
{
	if (!c || --c->users > 0)
		return;
	secret_release(c->line);
	secret_release(c->text);
	keyscan_key_free(c->scan);
	free(c);
}

static struct credential *credential_new(void)
{
	struct credential *c = calloc(1, sizeof(*c));

	if (c)
		c->users = 1;
	return c;
}

static enum err finish(struct credential *c, enum err e,
		       struct credential **ret_credential)
{
	if (e == ERR_OK)
		*ret_credential = c;
	else
		credential_release(c);
	return e;
}

static enum err watch_for(struct credential *c, struct span key)
{
	if (key.len_bytes < KEYSCAN_MIN_BYTES)
		return ERR_OK;
	return keyscan_key_new(key, &c->scan);
}

static enum err make_line(const char *header, const char *scheme,
			  struct span key, struct secret **ret_line)
{
	size_t name_len = strlen(header), len = strlen(scheme);
	struct secret *line;
	enum err e = secret_new(name_len + len + key.len_bytes + 1, &line);

	if (e != ERR_OK)
		return e;
	memcpy(line->data, header, name_len);
	memcpy(line->data + name_len, scheme, len);
	memcpy(line->data + name_len + len, key.data, key.len_bytes);
	line->data[line->len_bytes - 1] = '\0';
	*ret_line = line;
	return ERR_OK;
}

/**
 * credential_new_header() - A key that is a header's value
 * @header:		Its name
 * @scheme:		What stands between: ": " or ": Bearer "
 * @key:		Borrowed; not empty
 * @ret_credential:	One use of it
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_LIMIT when memory cannot be locked.
 */
enum err credential_new_header(const char *header, const char *scheme,
			       struct span key,
			       struct credential **ret_credential)
{
	struct credential *c = credential_new();
	enum err e;

	if (!c)
		return ERR_MEMORY;
	e = make_line(header, scheme, key, &c->line);
	if (e == ERR_OK)
		e = watch_for(c, key);
	return finish(c, e, ret_credential);
}

/**
 * credential_new_aws() - Credentials that sign
 * @text:		As aws_key_parse() wants it; borrowed
 * @ret_credential:	One use of it
 *
 * The secret key never leaves, so it cannot come back; the token does.
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_MEMORY; ERR_LIMIT when memory cannot be
 *	   locked.
 */
enum err credential_new_aws(struct span text,
			    struct credential **ret_credential)
{
	struct credential *c = credential_new();
	enum err e;

	if (!c)
		return ERR_MEMORY;
	e = text.len_bytes ? secret_copy(text, &c->text) : ERR_FORMAT;
	if (e == ERR_OK)
		e = aws_key_parse(secret_span(c->text), &c->aws);
	if (e == ERR_OK)
		e = watch_for(c, c->aws.token);
	return finish(c, e, ret_credential);
}

/**
 * credential_new_proxy() - A proxy's user and password
 * @user_password:	"user:password", borrowed
 * @ret_credential:	One use of it; its line goes to the proxy alone
 *
 * Source: RFC 7617.
 *
 * Return: ERR_OK; ERR_FORMAT without a colon; ERR_MEMORY; ERR_LIMIT when
 *	   memory cannot be locked.
 */
enum err credential_new_proxy(struct span user_password,
			      struct credential **ret_credential)
{
	static const char start[] = CREDENTIAL_PROXY_HEADER BASIC;
	size_t before = sizeof(start) - 1;
	size_t room = sodium_base64_encoded_len(user_password.len_bytes,
						sodium_base64_VARIANT_ORIGINAL);
	struct credential *c;
	enum err e;

	if (user_password.len_bytes == 0 ||
	    !memchr(user_password.data, ':', user_password.len_bytes))
		return ERR_FORMAT;
	c = credential_new();
	if (!c)
		return ERR_MEMORY;
	e = secret_new(before + room, &c->line);
	if (e == ERR_OK) {
		memcpy(c->line->data, start, before);
		(void)sodium_bin2base64((char *)c->line->data + before, room,
					user_password.data,
					user_password.len_bytes,
					sodium_base64_VARIANT_ORIGINAL);
	}
	return finish(c, e, ret_credential);
}
