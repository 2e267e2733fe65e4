/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - one item of the desktop's Secret Service
 *
 * Runs in: kenaz-keychain.
 * Trusts:  the session's D-Bus and its keyring for what they are asked to
 *	    keep; not for answering in time, nor for the form of the answer.
 * Never:   asks the user for anything unless the question allows it; makes a
 *	    keyring; waits past the question's deadline.
 *
 * Theory of operation: libsecret's calls are started asynchronously and
 * waited for in GLib's main loop, one after the other, under one deadline for
 * the whole question. At the deadline the call is cancelled; one that does
 * not even honour that is abandoned, and its memory with it: the process ends
 * with its question.
 */
#include "engine/keychain/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsecret/secret.h>
#include <sodium.h>

#include "engine/base/text.h"

#define ABANDON_MS 500u
#define ATTRIBUTE  "key-id"
#define LABEL      "Kenaz vault key"

struct service {
	char *bus;
	SecretService *secrets; /* NULL until the first question */
	gint64 deadline_us;
};

struct wait {
	GMainLoop *loop;
	GCancellable *cancel;
	GAsyncResult *result;
};

static const SecretSchema schema = {
	.name = "org.kenaz.VaultKey",
	.flags = SECRET_SCHEMA_NONE,
	.attributes = {{ATTRIBUTE, SECRET_SCHEMA_ATTRIBUTE_STRING},
		       {NULL, SECRET_SCHEMA_ATTRIBUTE_STRING}},
};

static enum err __attribute__((format(printf, 3, 4)))
fail(struct service_question *q, enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vsnprintf(q->why, sizeof(q->why), format, args) < 0)
		q->why[0] = '\0';
	va_end(args);
	return e;
}

/* What the bus or the service says, as one of our errors and sentences. */
static enum err fail_with(struct service_question *q, GError *error,
			  const char *what)
{
	char text[512];
	enum err e = ERR_SYS;

	if (!error || g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
		e = fail(q, ERR_TIMEOUT,
			 "the Secret Service did not answer in time (%s)",
			 what);
	else if (g_error_matches(error, G_DBUS_ERROR,
				 G_DBUS_ERROR_SERVICE_UNKNOWN) ||
		 g_error_matches(error, G_DBUS_ERROR,
				 G_DBUS_ERROR_NAME_HAS_NO_OWNER))
		e = fail(q, ERR_NOT_FOUND,
			 "no Secret Service runs in the session");
	else if (g_error_matches(error, SECRET_ERROR, SECRET_ERROR_IS_LOCKED))
		e = fail(q, ERR_PERMISSION, "the keyring is locked");
	else if (text_escape_line(span_text(error->message), text,
				  sizeof(text)) > 0)
		e = fail(q, ERR_SYS, "the Secret Service failed (%s): %s", what,
			 text);
	g_clear_error(&error);
	return e;
}

/* --- waiting ------------------------------------------------------------ */

static void on_ready(GObject *source, GAsyncResult *result, gpointer data)
{
	struct wait *w = data;

	(void)source;
	w->result = g_object_ref(result);
	g_main_loop_quit(w->loop);
}

static gboolean on_deadline(gpointer data)
{
	struct wait *w = data;

	g_cancellable_cancel(w->cancel);
	return G_SOURCE_REMOVE;
}

static gboolean on_abandon(gpointer data)
{
	struct wait *w = data;

	g_main_loop_quit(w->loop);
	return G_SOURCE_REMOVE;
}

static struct wait *wait_begin(void)
{
	struct wait *w = g_new0(struct wait, 1);

	w->loop = g_main_loop_new(NULL, FALSE);
	w->cancel = g_cancellable_new();
	return w;
}

static void drop_source(guint id)
{
	GSource *source = g_main_context_find_source_by_id(NULL, id);

	if (source)
		g_source_destroy(source);
}

/* The result, owned by the caller; NULL when there is none in time. */
static GAsyncResult *wait_end(const struct service *s, struct wait *w)
{
	gint64 left_ms = (s->deadline_us - g_get_monotonic_time()) / 1000;
	GAsyncResult *result;
	guint late, abandon;

	if (left_ms < 1)
		left_ms = 1;
	late = g_timeout_add((guint)left_ms, on_deadline, w);
	abandon = g_timeout_add((guint)left_ms + ABANDON_MS, on_abandon, w);
	if (!w->result)
		g_main_loop_run(w->loop);
	drop_source(late);
	drop_source(abandon);
	result = w->result;
	if (!result)
		return NULL;
	g_main_loop_unref(w->loop);
	g_object_unref(w->cancel);
	g_free(w);
	return result;
}

/* --- the session -------------------------------------------------------- */

/**
 * service_new() - Prepare to ask the Secret Service of a session
 * @bus:		Address of the session's D-Bus
 * @ret_service:	Lives as long as the process; written on success
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err service_new(const char *bus, struct service **ret_service)
{
	struct service *s = calloc(1, sizeof(*s));

	if (!s)
		return ERR_MEMORY;
	s->bus = strdup(bus);
	/* No plug-ins of the desktop: only the bus, at this address. */
	if (!s->bus || !g_setenv("DBUS_SESSION_BUS_ADDRESS", bus, TRUE) ||
	    !g_setenv("GIO_MODULE_DIR", "/nonexistent", TRUE) ||
	    !g_setenv("GIO_USE_VFS", "local", TRUE)) {
		free(s->bus);
		free(s);
		return ERR_MEMORY;
	}
	*ret_service = s;
	return ERR_OK;
}

static enum err open_bus(struct service *s, struct service_question *q)
{
	struct wait *w = wait_begin();
	GDBusConnection *bus;
	GAsyncResult *result;
	GError *error = NULL;

	g_bus_get(G_BUS_TYPE_SESSION, w->cancel, on_ready, w);
	result = wait_end(s, w);
	bus = result ? g_bus_get_finish(result, &error) : NULL;
	g_clear_object(&result);
	if (!bus) {
		(void)fail_with(q, error, "connecting to the bus");
		return fail(q, ERR_NOT_FOUND,
			    "the session's D-Bus cannot be reached at %s",
			    s->bus);
	}
	/* Else GLib kills the process when the bus goes. */
	g_dbus_connection_set_exit_on_close(bus, FALSE);
	/* Kept by libsecret as long as it is needed. */
	return ERR_OK;
}

static enum err begin(struct service *s, struct service_question *q)
{
	guint ms =
		q->may_prompt ? SERVICE_PROMPT_MAX_MS : SERVICE_ANSWER_MAX_MS;
	GAsyncResult *result;
	GError *error = NULL;
	struct wait *w;
	enum err e;

	s->deadline_us = g_get_monotonic_time() + (gint64)ms * 1000;
	if (s->secrets)
		return ERR_OK;
	e = open_bus(s, q);
	if (e != ERR_OK)
		return e;
	w = wait_begin();
	secret_service_get(SECRET_SERVICE_OPEN_SESSION, w->cancel, on_ready, w);
	result = wait_end(s, w);
	s->secrets = result ? secret_service_get_finish(result, &error) : NULL;
	g_clear_object(&result);
	return s->secrets ? ERR_OK : fail_with(q, error, "opening a session");
}

static GHashTable *attributes_of(const struct service_question *q)
{
	char id[2 * SERVICE_ITEM_BYTES + 1];

	text_hex(q->item, sizeof(q->item), id);
	return secret_attributes_build(&schema, ATTRIBUTE, id, NULL);
}

/* --- one item ----------------------------------------------------------- */

static enum err unlock(struct service *s, struct service_question *q,
		       gpointer object)
{
	GList *objects = g_list_append(NULL, object), *done = NULL;
	struct wait *w;
	GAsyncResult *result;
	GError *error = NULL;
	gint count = -1;

	if (!q->may_prompt) {
		g_list_free(objects);
		return fail(q, ERR_PERMISSION, "the keyring is locked");
	}
	w = wait_begin();
	secret_service_unlock(s->secrets, objects, w->cancel, on_ready, w);
	result = wait_end(s, w);
	if (result)
		count = secret_service_unlock_finish(s->secrets, result, &done,
						     &error);
	g_clear_object(&result);
	g_list_free(objects);
	g_list_free_full(done, g_object_unref);
	if (count < 0)
		return fail_with(q, error, "unlocking the keyring");
	return count > 0 ? ERR_OK
			 : fail(q, ERR_PERMISSION,
				"the keyring is locked, and nobody unlocked "
				"it");
}

/* Exactly one item; owned by the caller. */
static enum err find(struct service *s, struct service_question *q,
		     SecretItem **ret_item)
{
	GHashTable *attributes = attributes_of(q);
	struct wait *w = wait_begin();
	GAsyncResult *result;
	GError *error = NULL;
	GList *found = NULL;
	guint count;

	secret_service_search(s->secrets, &schema, attributes,
			      SECRET_SEARCH_ALL, w->cancel, on_ready, w);
	result = wait_end(s, w);
	if (result)
		found = secret_service_search_finish(s->secrets, result,
						     &error);
	g_hash_table_unref(attributes);
	if (!result || error) {
		g_clear_object(&result);
		return fail_with(q, error, "searching the keyring");
	}
	g_clear_object(&result);
	count = g_list_length(found);
	if (count == 1)
		*ret_item = g_object_ref(found->data);
	g_list_free_full(found, g_object_unref);
	if (count == 1)
		return ERR_OK;
	return count == 0
		       ? fail(q, ERR_NOT_FOUND,
			      "the keyring has no key for this vault")
		       : fail(q, ERR_EXISTS,
			      "the keyring has %u items for this vault where "
			      "one is expected",
			      count);
}

static enum err read_value(SecretItem *item, struct service_question *q,
			   uint8_t ret_key[ITEM_KEY_BYTES])
{
	SecretValue *value = secret_item_get_secret(item);
	const gchar *bytes;
	gsize len = 0;
	enum err e;

	if (!value)
		return fail(q, ERR_PERMISSION,
			    "the keyring does not hand out the item's value");
	bytes = secret_value_get(value, &len);
	e = bytes ? item_read(span_of(bytes, len), ret_key) : ERR_SHORT;
	secret_value_unref(value);
	return e == ERR_OK ? e
			   : fail(q, e,
				  "the keyring's item is not one that Kenaz "
				  "wrote: %s",
				  err_text(e));
}

static enum err load(struct service *s, struct service_question *q,
		     SecretItem *item, uint8_t ret_key[ITEM_KEY_BYTES])
{
	GAsyncResult *result;
	GError *error = NULL;
	struct wait *w;
	enum err e = ERR_OK;

	if (secret_item_get_locked(item))
		e = unlock(s, q, item);
	if (e != ERR_OK)
		return e;
	w = wait_begin();
	secret_item_load_secret(item, w->cancel, on_ready, w);
	result = wait_end(s, w);
	if (!result || !secret_item_load_secret_finish(item, result, &error))
		e = fail_with(q, error, "reading the item");
	g_clear_object(&result);
	return e == ERR_OK ? read_value(item, q, ret_key) : e;
}

/**
 * service_get() - Read the key
 * @s:		Service
 * @q:		Which item; @q->why is written on failure
 * @ret_key:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND without the item, a service or a bus;
 *	   ERR_PERMISSION when the keyring is locked; ERR_TIMEOUT; ERR_EXISTS
 *	   for two items; ERR_FORMAT, ERR_SHORT, ERR_LIMIT, ERR_VERSION for a
 *	   value that is none of ours; ERR_SYS.
 */
enum err service_get(struct service *s, struct service_question *q,
		     uint8_t ret_key[ITEM_KEY_BYTES])
{
	SecretItem *item = NULL;
	enum err e = begin(s, q);

	if (e == ERR_OK)
		e = find(s, q, &item);
	if (e == ERR_OK)
		e = load(s, q, item, ret_key);
	g_clear_object(&item);
	return e;
}

/* The keyring that new items go to; owned by the caller. */
static enum err default_collection(struct service *s,
				   struct service_question *q,
				   SecretCollection **ret_collection)
{
	struct wait *w = wait_begin();
	SecretCollection *collection = NULL;
	GAsyncResult *result;
	GError *error = NULL;
	enum err e = ERR_OK;

	secret_collection_for_alias(s->secrets, SECRET_COLLECTION_DEFAULT,
				    SECRET_COLLECTION_NONE, w->cancel, on_ready,
				    w);
	result = wait_end(s, w);
	if (result)
		collection = secret_collection_for_alias_finish(result, &error);
	if (!result || error)
		e = fail_with(q, error, "finding the default keyring");
	else if (!collection)
		e = fail(q, ERR_NOT_FOUND,
			 "the Secret Service has no default keyring: make one "
			 "with the desktop's password manager");
	g_clear_object(&result);
	if (e == ERR_OK && secret_collection_get_locked(collection))
		e = unlock(s, q, collection);
	if (e == ERR_OK)
		*ret_collection = collection;
	else
		g_clear_object(&collection);
	return e;
}

static enum err create(struct service *s, struct service_question *q,
		       SecretCollection *collection,
		       const uint8_t key[ITEM_KEY_BYTES])
{
	char *text = sodium_malloc(ITEM_TEXT_BYTES);
	GHashTable *attributes;
	SecretValue *value;
	SecretItem *item = NULL;
	GAsyncResult *result;
	GError *error = NULL;
	struct wait *w;
	enum err e = ERR_OK;

	if (!text)
		return fail(q, ERR_MEMORY, "memory cannot be locked");
	item_write(key, text);
	/* Copied into memory of libsecret's own, which is locked too. */
	value = secret_value_new(text, ITEM_TEXT_BYTES - 1, "text/plain");
	sodium_free(text);
	attributes = attributes_of(q);
	w = wait_begin();
	secret_item_create(collection, &schema, attributes, LABEL, value,
			   SECRET_ITEM_CREATE_REPLACE, w->cancel, on_ready, w);
	result = wait_end(s, w);
	if (result)
		item = secret_item_create_finish(result, &error);
	if (!item)
		e = fail_with(q, error, "storing the key");
	g_clear_object(&result);
	g_clear_object(&item);
	secret_value_unref(value);
	g_hash_table_unref(attributes);
	return e;
}

/**
 * service_put() - Store the key in the default keyring, and read it back
 * @s:		Service
 * @q:		Which item; @q->why is written on failure
 * @key:	Borrowed
 *
 * Return: as service_get(); ERR_INTEGRITY when another key came back.
 */
enum err service_put(struct service *s, struct service_question *q,
		     const uint8_t key[ITEM_KEY_BYTES])
{
	SecretCollection *collection = NULL;
	uint8_t *back = sodium_malloc(ITEM_KEY_BYTES);
	enum err e = back ? begin(s, q)
			  : fail(q, ERR_MEMORY, "memory cannot be locked");

	if (e == ERR_OK)
		e = default_collection(s, q, &collection);
	if (e == ERR_OK)
		e = create(s, q, collection, key);
	if (e == ERR_OK)
		e = service_get(s, q, back);
	if (e == ERR_OK && sodium_memcmp(back, key, ITEM_KEY_BYTES) != 0)
		e = fail(q, ERR_INTEGRITY,
			 "the keyring gave another key back than it was given");
	g_clear_object(&collection);
	sodium_free(back);
	return e;
}

/**
 * service_forget() - Delete the item; that there is none is no error
 * @s:		Service
 * @q:		Which item; @q->why is written on failure
 *
 * Return: ERR_OK; as service_get().
 */
enum err service_forget(struct service *s, struct service_question *q)
{
	SecretItem *item = NULL;
	GAsyncResult *result;
	GError *error = NULL;
	struct wait *w;
	enum err e = begin(s, q);

	if (e == ERR_OK)
		e = find(s, q, &item);
	if (e == ERR_NOT_FOUND && s->secrets)
		return ERR_OK;
	if (e != ERR_OK)
		return e;
	w = wait_begin();
	secret_item_delete(item, w->cancel, on_ready, w);
	result = wait_end(s, w);
	if (!result || !secret_item_delete_finish(item, result, &error))
		e = fail_with(q, error, "deleting the item");
	g_clear_object(&result);
	g_clear_object(&item);
	return e;
}
