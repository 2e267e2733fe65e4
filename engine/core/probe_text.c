/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe_text.c - what came of a provider's test, and what to do next
 *
 * Runs in: kenazd.
 * Trusts:  the broker's classes; never reads an answer.
 * Never:   does I/O; leaves a failure without a next step.
 */
#include "engine/core/probe_text.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/text.h"
#include "engine/proto/msg.h"

/* --- no whole answer --------------------------------------------------------
 */

static const char *const by_cause[CAUSE_COUNT] = {
	[CAUSE_NAME] = "check how the endpoint is spelled, and with `getent "
		       "hosts` that this machine knows the name; where only a "
		       "proxy does, set proxy",
	[CAUSE_REFUSED] = "is it running, and is the endpoint's port right?",
	[CAUSE_PROXY_NAME] = "check how proxy is spelled in kenaz.toml",
	[CAUSE_PROXY_REFUSED] = "that is the proxy: is it running, and is its "
				"port right in kenaz.toml?",
	[CAUSE_PROXY_DENIED] = "have whoever runs the proxy allow CONNECT to "
			       "the endpoint's host and port",
	[CAUSE_PROXY_LOGIN] = "the proxy wants a name and a password: name "
			      "their secret with proxy_secret, and store "
			      "USER:PASSWORD with `kenaz secret set`",
	[CAUSE_TLS_ISSUER] = "if a CA of your own signed its certificate, name "
			     "that CA's file with ca_file (--ca-file)",
	[CAUSE_TLS_EXPIRED] = "whoever runs it must renew its certificate; or "
			      "is this machine's clock wrong?",
	[CAUSE_TLS_EARLY] = "its certificate is not valid yet: is this "
			    "machine's clock wrong?",
	[CAUSE_TLS_HOST] = "its certificate is for another name: the endpoint "
			   "must name the host as the certificate does",
	[CAUSE_TLS_CA_FILE] = "ca_file must hold certificates in PEM, which "
			      "begin with BEGIN CERTIFICATE",
	[CAUSE_TLS_PLAIN] = "what answers there does not speak TLS: check the "
			    "port, or is the endpoint http:// (and allow_http "
			    "= true)?",
};

static const char *const by_failure[FAILURE_COUNT] = {
	[FAILURE_CONNECT] = "is it running, and are the endpoint and the proxy "
			    "right?",
	[FAILURE_TLS] = "check that the endpoint's host and port are those of "
			"the provider",
	[FAILURE_TIMEOUT_CONNECT] =
		"is the endpoint right, and does a firewall or a proxy stand "
		"between? connect_timeout_s says how long to wait",
	[FAILURE_TIMEOUT_FIRST_BYTE] =
		"it may still be loading a model: try again, or raise "
		"first_byte_timeout_s",
	[FAILURE_TIMEOUT_IDLE] =
		"it began to answer and stopped: try again, or raise "
		"idle_timeout_s",
	[FAILURE_TIMEOUT_TOTAL] = "it may still be loading a model: try again",
	[FAILURE_RESET] = "try again; if it stays so: does the endpoint speak "
			  "https, or http?",
	[FAILURE_TOO_LARGE] = "is the endpoint a provider's?",
	[FAILURE_PROTOCOL] = "the endpoint must be the provider itself, not "
			     "what redirects to it",
};

static const char *remedy_of(const struct probe_seen *s)
{
	if (s->cause == CAUSE_TLS_ISSUER && s->has_ca_file)
		return "no CA in the ca_file signed its certificate: is it "
		       "the right file, and does the server send its "
		       "intermediate certificates?";
	if (s->cause == CAUSE_PROXY_LOGIN && s->has_proxy_secret)
		return "the proxy refuses the secret that proxy_secret names: "
		       "store the right USER:PASSWORD with `kenaz secret set`";
	if (s->cause < CAUSE_COUNT && by_cause[s->cause])
		return by_cause[s->cause];
	return s->failure < FAILURE_COUNT ? by_failure[s->failure] : NULL;
}

/* --- an answer ---------------------------------------------------------------
 */

/* What follows from a status; the first row that fits counts. */
static const struct {
	unsigned from, to;
	const char *text;
} statuses[] = {
	{200, 299, "it answered"},
	{300, 399,
	 "it redirects, which is not followed: give the endpoint "
	 "that it leads to"},
	{402, 402, "it wants credit or a payment first; the key is good"},
	{407, 407,
	 "a proxy on the way wants a login: set proxy and "
	 "proxy_secret"},
	{408, 408, "it gave up waiting: try again"},
	{413, 413, "it takes no request of this size: check the endpoint"},
	{429, 429, "its rate limit or quota is used up: try again later"},
	{400, 499,
	 "it refused the request: check kind, dialects and, with "
	 "--model, the model"},
	{500, 599, "it failed by itself: try again later"},
};

/* 401 and 403: what there is to mend depends on how the key goes. */
static void put_refused(const struct probe_seen *s, char *ret_text, size_t cap)
{
	if (!s->secret[0] || strcmp(s->auth, "none") == 0) {
		text_append(ret_text, cap,
			    "it wants a key, and this provider has none: "
			    "remove it and add it with --auth and --secret");
		return;
	}
	if (strcmp(s->auth, "sigv4") == 0) {
		text_append(ret_text, cap,
			    "it refused the signature: the credentials in the "
			    "secret %s are wrong, may not do this, or ended "
			    "(those with a session token do); put fresh ones "
			    "into the shell's AWS_... variables, then `kenaz "
			    "secret import`",
			    s->secret);
		return;
	}
	text_append(ret_text, cap,
		    s->http_status == 401
			    ? "it refused the key: set the right one with "
			      "`kenaz secret set %s`"
			    : "it refused the key, or what the key may do: set "
			      "another one with `kenaz secret set %s`, or "
			      "allow the model where the key was made",
		    s->secret);
	if (s->http_status == 401 && strcmp(s->auth, "bearer") != 0)
		text_append(ret_text, cap,
			    "; if it is right, should it go in another way "
			    "than auth = \"%s\"?",
			    s->auth);
}

static void put_status(const struct probe_seen *s, char *ret_text, size_t cap)
{
	size_t i;

	text_append(ret_text, cap, "HTTP %u: ", s->http_status);
	if (s->http_status == 401 || s->http_status == 403) {
		put_refused(s, ret_text, cap);
		return;
	}
	if (s->http_status == 404 || s->http_status == 405) {
		text_append(ret_text, cap,
			    s->list ? "it has no such path: check the path of "
				      "the endpoint (is a /v1 missing, or too "
				      "much?), or name a model with --model if "
				      "it has no list of them"
				    : "it has no such path or model: check the "
				      "path of the endpoint, or name a model "
				      "that it has with --model");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(statuses); i++)
		if (s->http_status >= statuses[i].from &&
		    s->http_status <= statuses[i].to)
			break;
	text_append(ret_text, cap, "%s",
		    i < ARRAY_SIZE(statuses) ? statuses[i].text
					     : "that is no answer of HTTP");
}

/**
 * probe_text_put() - Say what came of a test, and what to do next
 * @seen:	What it saw
 * @ret_text:	Array of @cap_bytes: one sentence
 * @cap_bytes:	Its size
 */
void probe_text_put(const struct probe_seen *seen, char *ret_text,
		    size_t cap_bytes)
{
	const char *remedy;

	ret_text[0] = '\0';
	if (seen->error == ERR_OK) {
		put_status(seen, ret_text, cap_bytes);
		return;
	}
	text_append(ret_text, cap_bytes, "%s", seen->text);
	remedy = remedy_of(seen);
	if (remedy)
		text_append(ret_text, cap_bytes, "; %s", remedy);
}
