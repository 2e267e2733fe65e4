/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-keychain: ask the desktop's keyring for a wrapping key
 *
 * Runs in: kenaz-keychain, the one program that links GLib.
 * Trusts:  core for the address of the session's bus; the broker for which
 *	    item it wants.
 * Never:   learns a provider's key or sees the vault; passes a wrapping key
 *	    through a message: it goes over the socket that came with the
 *	    question, from locked memory to locked memory.
 *
 * It is started for a question and ends when the broker closes the channel.
 * A question is answered before anything else is read: the loops of GLib and
 * libuv never run at the same time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>
#include <uv.h>

#include "engine/base/jail.h"
#include "engine/base/log.h"
#include "engine/keychain/service.h"
#include "engine/proto/child.h"

#define BUS_MAX_BYTES 1024u

struct keychain {
	uv_loop_t loop;
	struct chan *core, *broker;
	struct service *service;
	uint8_t *key; /* ITEM_KEY_BYTES, locked */
};

static enum err send_key(int fd, const uint8_t *key)
{
	/* Far below what a socket's buffer takes at once. */
	ssize_t n = send(fd, key, ITEM_KEY_BYTES, MSG_NOSIGNAL);

	return n == (ssize_t)ITEM_KEY_BYTES ? ERR_OK : ERR_CLOSED;
}

static enum err receive_key(int fd, uint8_t *ret_key)
{
	/* The broker sent it before the question. */
	ssize_t n =
		recv(fd, ret_key, ITEM_KEY_BYTES, MSG_DONTWAIT | MSG_WAITALL);

	return n == (ssize_t)ITEM_KEY_BYTES ? ERR_OK : ERR_SHORT;
}

static enum err answer_question(struct keychain *k, int fd,
				enum keychain_operation operation,
				struct service_question *q)
{
	enum err e;

	switch (operation) {
	case KEYCHAIN_GET:
		e = service_get(k->service, q, k->key);
		return e == ERR_OK ? send_key(fd, k->key) : e;
	case KEYCHAIN_PUT:
		e = receive_key(fd, k->key);
		return e == ERR_OK ? service_put(k->service, q, k->key) : e;
	case KEYCHAIN_FORGET:
		return service_forget(k->service, q);
	}
	return ERR_FORMAT;
}

static enum err on_ask(struct keychain *k, struct chan_message *message)
{
	struct msg_keychain_answer answer = {0};
	struct service_question q = {0};
	struct msg_keychain_ask m;
	enum err e = msg_keychain_ask_get(message->payload, &m);

	if (e != ERR_OK)
		return e;
	if (m.item.len_bytes != sizeof(q.item))
		return ERR_FORMAT;
	memcpy(q.item, m.item.data, sizeof(q.item));
	q.may_prompt = m.may_prompt != 0;
	answer.error =
		answer_question(k, message->fds[0],
				(enum keychain_operation)m.operation, &q);
	sodium_memzero(k->key, ITEM_KEY_BYTES);
	answer.text = span_text(q.why);
	return chan_send_keychain_answer(k->broker, &answer, NULL, 0);
}

static enum err on_broker_message(struct chan *c, void *context,
				  struct chan_message *message)
{
	(void)c;
	return message->type == MSG_KEYCHAIN_ASK ? on_ask(context, message)
						 : ERR_STATE;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	(void)c;
	(void)context;
	exit(reason == ERR_CLOSED ? 0 : 1);
}

static enum err on_start(struct keychain *k, struct chan_message *message)
{
	static const struct chan_handler handler = {on_broker_message,
						    on_closed};
	char bus[BUS_MAX_BYTES + 1];
	struct msg_keychain_start m;
	enum err e = msg_keychain_start_get(message->payload, &m);

	if (e == ERR_OK)
		e = span_copy_text(m.bus, bus, sizeof(bus));
	if (e == ERR_OK)
		e = service_new(bus, &k->service);
	if (e != ERR_OK)
		return e;
	chan_set_state(k->core, S_RUN);
	e = chan_new(&k->loop, message->fds[0], ROLE_KEYCHAIN, ROLE_BROKER,
		     &handler, k, &k->broker);
	message->fds[0] = -1;
	if (e == ERR_OK)
		chan_set_state(k->broker, S_RUN);
	return e;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *message)
{
	(void)c;
	return message->type == MSG_KEYCHAIN_START ? on_start(context, message)
						   : ERR_STATE;
}

int main(int argc, char **argv)
{
	static const struct chan_handler handler = {on_message, on_closed};
	static struct keychain k;
	enum err e;

	log_init("kenaz-keychain");
	if (sodium_init() < 0)
		die("the cryptographic library cannot be started");
	k.key = sodium_malloc(ITEM_KEY_BYTES);
	if (!k.key || sodium_mlock(k.key, ITEM_KEY_BYTES) != 0)
		die("memory for a key cannot be locked; raise RLIMIT_MEMLOCK");
	if (uv_loop_init(&k.loop) != 0)
		die("no event loop");
	e = jail_enter(JAIL_KEYCHAIN);
	if (e != ERR_OK)
		die("the jail could not be built: %s", err_text(e));
	e = child_begin(argc, argv, ROLE_KEYCHAIN, &k.loop, &handler, &k,
			&k.core);
	if (e != ERR_OK)
		die("this program is started by kenazd, which passes it a "
		    "channel as descriptor 3: %s",
		    err_text(e));
	(void)uv_run(&k.loop, UV_RUN_DEFAULT);
	return 0;
}
