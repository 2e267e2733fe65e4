/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keychain_client.c - the broker's questions to kenaz-keychain
 *
 * Runs in: kenaz-broker.
 * Trusts:  kenaz-keychain to speak to the right keyring; not to answer, nor
 *	    for the length of what it sends.
 * Never:   has a wrapping key in a message or outside locked memory.
 *
 * Core starts the program for each question, and gives both their ends of a
 * channel. The key itself goes over a pair of stream sockets, made for one
 * question.
 */
#include "engine/broker/keychain_client.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/broker/vault_format.h"

static void finish(struct keychain_client *k, enum err error, const char *why)
{
	struct secret *key = NULL;

	if (!k->asking)
		return;
	k->asking = false;
	(void)uv_timer_stop(&k->timer);
	chan_free(k->chan);
	k->chan = NULL;
	if (k->stream >= 0)
		(void)close(k->stream);
	k->stream = -1;
	if (error == ERR_OK && k->operation == KEYCHAIN_GET)
		key = k->key;
	else
		secret_release(k->key);
	k->key = NULL;
	k->done(k->done_context, error, why, key);
}

static void on_timer(uv_timer_t *timer)
{
	finish(timer->data, ERR_TIMEOUT,
	       "the desktop's keyring did not answer in time");
}

/* It was sent before the answer: what is missing now never comes. */
static enum err receive_key(struct keychain_client *k)
{
	enum err e = secret_new(VAULT_KEY_BYTES, &k->key);
	uint8_t more;

	if (e != ERR_OK)
		return e;
	if (recv(k->stream, k->key->data, VAULT_KEY_BYTES, MSG_DONTWAIT) !=
	    (ssize_t)VAULT_KEY_BYTES)
		return ERR_SHORT;
	return recv(k->stream, &more, 1, MSG_DONTWAIT) > 0 ? ERR_LIMIT : ERR_OK;
}

static enum err on_message(struct chan *c, void *context,
			   struct chan_message *message)
{
	struct keychain_client *k = context;
	struct msg_keychain_answer m;
	char text[REASON_MAX_BYTES];
	const char *why = text;
	enum err e;

	(void)c;
	if (message->type != MSG_KEYCHAIN_ANSWER)
		return ERR_STATE;
	e = msg_keychain_answer_get(message->payload, &m);
	if (e != ERR_OK)
		return e;
	(void)text_escape_line(m.text, text, sizeof(text));
	e = err_from_wire(m.error);
	if (e == ERR_OK && k->operation == KEYCHAIN_GET) {
		e = receive_key(k);
		why = "kenaz-keychain sent no whole key";
	}
	finish(k, e, why);
	return ERR_OK;
}

static void on_closed(struct chan *c, void *context, enum err reason)
{
	struct keychain_client *k = context;

	(void)c;
	(void)reason;
	finish(k, ERR_CLOSED, "kenaz-keychain ended without an answer");
}

static enum err send_question(struct keychain_client *k)
{
	struct msg_keychain_ask m = {
		.operation = (uint8_t)k->operation,
		.item = span_of(k->item, sizeof(k->item)),
		.may_prompt = k->may_prompt,
	};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return ERR_SYS;
	k->stream = pair[0];
	if (k->operation == KEYCHAIN_PUT &&
	    send(k->stream, k->key->data, VAULT_KEY_BYTES,
		 MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)VAULT_KEY_BYTES) {
		(void)close(pair[1]);
		return ERR_SYS;
	}
	return chan_send_keychain_ask(k->chan, &m, &pair[1], 1);
}

/**
 * keychain_take_channel() - Core's answer to the wish for kenaz-keychain
 * @k:	Client
 * @m:	Borrowed
 * @fd:	Channel, owned from here on; -1 when there is none
 *
 * Return: ERR_OK; ERR_FORMAT when core broke the rules.
 */
enum err keychain_take_channel(struct keychain_client *k,
			       const struct msg_keychain_channel *m, int fd)
{
	static const struct chan_handler handler = {on_message, on_closed};
	char text[REASON_MAX_BYTES];
	enum err e = err_from_wire(m->error);

	if ((e == ERR_OK) != (fd >= 0))
		return ERR_FORMAT;
	/* One that comes after the deadline: nobody asks any more. */
	if (!k->asking || k->chan) {
		if (fd >= 0)
			(void)close(fd);
		return ERR_OK;
	}
	if (e != ERR_OK) {
		(void)text_escape_line(m->text, text, sizeof(text));
		finish(k, e, text);
		return ERR_OK;
	}
	e = chan_new(k->loop, fd, ROLE_BROKER, ROLE_KEYCHAIN, &handler, k,
		     &k->chan);
	if (e == ERR_OK) {
		chan_set_state(k->chan, S_RUN);
		e = send_question(k);
	}
	if (e != ERR_OK)
		finish(k, e, "kenaz-keychain cannot be asked");
	return ERR_OK;
}

/**
 * keychain_ask() - Ask for, store or forget a wrapping key
 * @k:			Client that is not asking
 * @operation:		Which
 * @item:		Copied
 * @may_prompt:		The desktop may ask its user to unlock the keyring
 * @key:		For KEYCHAIN_PUT: VAULT_KEY_BYTES, copied
 * @done:		Called exactly once, also before this returns
 * @context:		Borrowed, passed to @done
 */
void keychain_ask(struct keychain_client *k, enum keychain_operation operation,
		  const uint8_t item[WRAP_ITEM_BYTES], bool may_prompt,
		  struct span key, keychain_done done, void *context)
{
	uint64_t most_ns =
		may_prompt ? KEYCHAIN_PROMPT_MAX_NS : KEYCHAIN_ANSWER_MAX_NS;
	enum err e = ERR_OK;

	if (k->asking) {
		done(context, ERR_AGAIN, "the keyring is being asked", NULL);
		return;
	}
	if (!k->has_timer) {
		(void)uv_timer_init(k->loop, &k->timer);
		k->timer.data = k;
		k->has_timer = true;
	}
	k->asking = true;
	k->operation = operation;
	memcpy(k->item, item, sizeof(k->item));
	k->may_prompt = may_prompt;
	k->stream = -1;
	k->done = done;
	k->done_context = context;
	if (operation == KEYCHAIN_PUT)
		e = secret_copy(key, &k->key);
	if (e == ERR_OK)
		e = k->want(k->context);
	if (e == ERR_OK &&
	    uv_timer_start(&k->timer, on_timer, most_ns / 1000000u, 0) != 0)
		e = ERR_SYS;
	if (e != ERR_OK)
		finish(k, e, "kenaz-keychain cannot be asked for");
}
