/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event_summary.c - what an audit event says, in a few words
 *
 * Runs in: kenaz.
 * Trusts:  nothing: an event's texts come from guests and providers.
 * Never:   leaves a text unescaped or unbounded. It leaves attributes out:
 *	    "audit show" prints them all.
 *
 * Theory of operation: one row a kind holds a pattern. {KEY} is an attribute,
 * {KEY:FORM} one in a form of the table below; a part in [ ] is left out as a
 * whole when an attribute in it is absent, empty or false. An absent attribute
 * outside of [ ] is "-". A kind without a row shows its first attributes.
 */
#include "tui/event_summary.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/text.h"
#include "tui/output.h"

#define KEY_MAX_BYTES      64u
#define VALUE_MAX_COLUMNS  60u
#define DIGEST_BYTES_SHOWN 12u
#define TAIL_BYTES_SHOWN   12u
#define OTHER_ATTRIBUTES   3u
#define BYTES_EXACT_BELOW  10240

#define WHAT_IS_JUDGED                                           \
	"[ {gen_ai.tool.name}][ {server.address}:{server.port}]" \
	"[ {kenaz.policy.subject}]"

static const struct {
	const char *kind;
	const char *pattern;
} patterns[] = {
	{"engine.start", "kenaz {kenaz.version}[, {kenaz.mode} engine]"
			 "[, after {kenaz.reason}]"},
	{"engine.stop", "[{kenaz.reason}]"},
	{"config.loaded", "{kenaz.config.file} {kenaz.config.digest:digest}"},
	{"policy.loaded", "rules: {kenaz.policy.rules}, digest "
			  "{kenaz.policy.digest:digest}"},
	{"vm.start", "{kenaz.image.name} on {kenaz.vm.accelerator}"
		     "[, {kenaz.vm.memory_mib} MiB]"
		     "[, {kenaz.vm.vcpus} vCPU]"
		     "[, disk {kenaz.vm.disk_mib} MiB]"
		     "[, fingerprint {kenaz.vm.fingerprint:digest}]"},
	{"vm.end", "{kenaz.vm.id}: {kenaz.reason}, after "
		   "{kenaz.duration_ms:ms}"},
	{"template.made", "{kenaz.image.name}, {kenaz.template.mib} MiB"
			  "[, template {kenaz.template.digest:digest}]"},
	{"template.dropped", "{kenaz.reason}, after {kenaz.template.restores} "
			     "restores"},
	{"vm.disk_failed", "{kenaz.reason}"},
	{"session.start", "{kenaz.image.name} for {kenaz.user}"
			  "[, {kenaz.session.start} start]"
			  "[: {kenaz.warning}]"},
	{"session.ready", "[{kenaz.vm.accelerator} ]"
			  "{kenaz.stage_ms.hello:ms}"},
	{"session.end", "{kenaz.reason}, after {kenaz.duration_ms:ms}"
			"[, requests: {kenaz.requests}]"},
	{"prompt.sent", "{kenaz.provider}[/{gen_ai.request.model}]"
			"[ {kenaz.request.bytes:bytes}]"},
	{"response.received",
	 "[HTTP {http.response.status_code}]"
	 "[ {kenaz.response.bytes:bytes}][ in {kenaz.total_us:us}]"
	 "[, tokens: {gen_ai.usage.input_tokens} in]"
	 "[ {gen_ai.usage.output_tokens} out]"
	 "[, tool calls denied: {kenaz.gate_reported.tool_calls_denied}]"
	 "[, {kenaz.error}]"},
	{"tool.invoked", "{gen_ai.tool.name} allowed by {kenaz.policy.rule}"},
	{"tool.completed", "{kenaz.gate_reported.result}"
			   "[ (call {gen_ai.tool.call.id:tail})]"},
	{"policy.allow",
	 "{kenaz.policy.target}" WHAT_IS_JUDGED ": rule {kenaz.policy.rule}"},
	{"policy.deny",
	 "{kenaz.policy.target}" WHAT_IS_JUDGED ": rule {kenaz.policy.rule}"},
	{"approval.requested",
	 "#{kenaz.approval.id} {kenaz.approval.summary}: rule "
	 "{kenaz.policy.rule}"},
	{"approval.granted", "#{kenaz.approval.id} {kenaz.approval.summary}"
			     "[: {kenaz.reason}]"},
	{"approval.denied", "#{kenaz.approval.id} {kenaz.approval.summary}"
			    "[: {kenaz.reason}]"},
	{"approval.expired", "#{kenaz.approval.id} {kenaz.approval.summary}"},
	{"egress.open", "{server.address}:{server.port}"
			"[ at {network.peer.address}]"
			"[, allowed by {kenaz.policy.rule}]"},
	{"egress.close", "{server.address}:{server.port}"
			 "[, {kenaz.bytes_up:bytes} up]"
			 "[, {kenaz.bytes_down:bytes} down]"
			 "[, after {kenaz.duration_ms:ms}][, {kenaz.reason}]"},
	{"secret.set", "{kenaz.secret}[ version {kenaz.secret.version}]"},
	{"secret.used", "{kenaz.secret}[ for {kenaz.provider}]"},
	{"secret.removed", "{kenaz.secret}[ version {kenaz.secret.version}]"},
	{"vault.opened", "{kenaz.vault.backend}[, key {kenaz.vault.key_id}]"
			 "[, generation {kenaz.vault.generation}]"},
	{"vault.rotated", "{kenaz.vault.backend_before} to "
			  "{kenaz.vault.backend}[, {kenaz.phase}]"
			  "[, key {kenaz.vault.key_id}]"},
	{"payload.read", "{kenaz.payload.name} of event {kenaz.payload.seq}"},
	{"key.rotated", "epoch {kenaz.epoch} of {kenaz.origin}"
			"[, gave up {kenaz.abandoned.origin}]"},
	{"terminal.attached", "{kenaz.command}[ (read only){kenaz.read_only:"
			      "nothing}]"},
	{"terminal.detached",
	 "{kenaz.command}[, exit code {kenaz.guest_claimed.exit_code}]"
	 "[, signal {kenaz.guest_claimed.signal}][, {kenaz.reason}]"},
	{"vsock.connect", "port {kenaz.vsock.port}"
			  "[, allowed by {kenaz.policy.rule}]"},
	{"vsock.close", "port {kenaz.vsock.port}"
			"[, {kenaz.bytes_to_guest:bytes} to the guest]"
			"[, {kenaz.bytes_from_guest:bytes} from it]"
			"[, after {kenaz.duration_ms:ms}][, {kenaz.reason}]"},
	{"log.recovered", "intents without an outcome: "
			  "{kenaz.recovered.unknown}"},
};

/* Cut to a number of columns, whole characters, with an ellipsis. */
static void cut(char *text, size_t cap_bytes, size_t columns)
{
	struct span s = span_text(text);
	size_t width = output_width(text), used = 0, at = 0, len;
	uint32_t cp;

	if (width <= columns)
		return;
	while ((len = text_utf8_next(s, &cp)) != 0) {
		char one[8] = "";

		memcpy(one, text + at, len);
		used += output_width(one);
		if (used >= columns)
			break;
		at += len;
		s.data += len;
		s.len_bytes -= len;
	}
	text[at] = '\0';
	text_append(text, cap_bytes, "\342\200\246");
}

static void form_text(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	(void)item;
	cut(ret_text, cap_bytes, VALUE_MAX_COLUMNS);
}

static void form_digest(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	(void)item;
	if (strlen(ret_text) > DIGEST_BYTES_SHOWN &&
	    strspn(ret_text, "0123456789abcdef") >= DIGEST_BYTES_SHOWN)
		ret_text[DIGEST_BYTES_SHOWN] = '\0';
	cut(ret_text, cap_bytes, VALUE_MAX_COLUMNS);
}

/* Ids of one answer's calls differ at their ends. */
static void form_tail(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	size_t len = strlen(ret_text), from;

	(void)item;
	(void)cap_bytes;
	from = len > TAIL_BYTES_SHOWN ? len - TAIL_BYTES_SHOWN : 0;
	/* Not from within a character. */
	while (((unsigned char)ret_text[from] & 0xc0) == 0x80)
		from++;
	memmove(ret_text, ret_text + from, len - from + 1);
}

static void form_bytes(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	if (item->valuedouble < BYTES_EXACT_BELOW)
		(void)snprintf(ret_text, cap_bytes, "%.0f B",
			       item->valuedouble);
	else
		output_bytes(item->valuedouble, ret_text, cap_bytes);
}

static void form_ms(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	if (item->valuedouble < 1000)
		(void)snprintf(ret_text, cap_bytes, "%.0f ms",
			       item->valuedouble);
	else
		(void)snprintf(ret_text, cap_bytes, "%.1f s",
			       item->valuedouble / 1000);
}

static void form_us(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	if (item->valuedouble < 10000)
		(void)snprintf(ret_text, cap_bytes, "%.1f ms",
			       item->valuedouble / 1000);
	else if (item->valuedouble < 1000000)
		(void)snprintf(ret_text, cap_bytes, "%.0f ms",
			       item->valuedouble / 1000);
	else
		(void)snprintf(ret_text, cap_bytes, "%.1f s",
			       item->valuedouble / 1000000);
}

static void form_nothing(const cJSON *item, char *ret_text, size_t cap_bytes)
{
	(void)item;
	(void)cap_bytes;
	ret_text[0] = '\0';
}

static const struct {
	const char *name;
	bool number; /* meant for numbers: anything else is shown as it is */
	void (*apply)(const cJSON *item, char *ret_text, size_t cap_bytes);
} forms[] = {
	{"", false, form_text},
	{"digest", false, form_digest},
	{"tail", false, form_tail},
	{"bytes", true, form_bytes},
	{"ms", true, form_ms},
	{"us", true, form_us},
	{"nothing", false, form_nothing},
};

/* Whether there is a value; its text is in its form and escaped. */
static bool value_of(const cJSON *attrs, struct span key, struct span form,
		     char *ret_text, size_t cap_bytes)
{
	char name[KEY_MAX_BYTES] = "";
	const cJSON *item;
	size_t i;

	if (key.len_bytes < sizeof(name))
		memcpy(name, key.data, key.len_bytes);
	item = cJSON_GetObjectItemCaseSensitive(attrs, name);
	(void)snprintf(ret_text, cap_bytes, "-");
	if (!item || cJSON_IsFalse(item) || cJSON_IsNull(item) ||
	    (cJSON_IsString(item) && item->valuestring[0] == '\0'))
		return false;
	output_value(item, ret_text, cap_bytes);
	for (i = 0; i < ARRAY_SIZE(forms); i++)
		if (span_is(form, forms[i].name))
			break;
	if (i == ARRAY_SIZE(forms) ||
	    (forms[i].number && !cJSON_IsNumber(item)))
		i = 0;
	forms[i].apply(item, ret_text, cap_bytes);
	return true;
}

/* {KEY} or {KEY:FORM}: moves @at behind it; whether the attribute is there. */
static bool put_value(const cJSON *attrs, const char **at, char *text,
		      size_t cap_bytes)
{
	size_t len = strcspn(*at, "}"), key = strcspn(*at, ":}");
	char value[OUTPUT_CELL_MAX_BYTES];
	struct span form = span_of("", 0);
	bool there;

	if (key < len)
		form = span_of(*at + key + 1, len - key - 1);
	there = value_of(attrs, span_of(*at, key), form, value, sizeof(value));
	*at += len + 1;
	text_append(text, cap_bytes, "%s", value);
	return there;
}

/* One part up to @end, which is passed; whether all its values were there. */
static bool put_part(const cJSON *attrs, const char **at, char end, char *text,
		     size_t cap_bytes)
{
	bool whole = true;

	while (**at && **at != end) {
		const char *from = *at;

		(*at)++;
		if (*from == '{')
			whole = put_value(attrs, at, text, cap_bytes) && whole;
		else
			text_append(text, cap_bytes, "%c", *from);
	}
	*at += **at != '\0';
	return whole;
}

static void apply_pattern(const cJSON *attrs, const char *at, char *text,
			  size_t cap_bytes)
{
	while (*at) {
		const char *from = at;
		size_t used = strlen(text);

		at++;
		if (*from == '[') {
			if (!put_part(attrs, &at, ']', text, cap_bytes))
				text[used] = '\0';
		} else if (*from == '{') {
			(void)put_value(attrs, &at, text, cap_bytes);
		} else {
			text_append(text, cap_bytes, "%c", *from);
		}
	}
}

static void put_others(const cJSON *attrs, char *text, size_t cap_bytes)
{
	const cJSON *item;
	unsigned shown = 0;

	cJSON_ArrayForEach(item, attrs)
	{
		char name[KEY_MAX_BYTES], value[OUTPUT_CELL_MAX_BYTES];
		const char *key = item->string ? item->string : "";

		if (shown++ == OTHER_ATTRIBUTES)
			break;
		if (strncmp(key, "kenaz.", 6) == 0)
			key += 6;
		(void)text_escape_line(span_text(key), name, sizeof(name));
		output_value(item, value, sizeof(value));
		cut(value, sizeof(value), VALUE_MAX_COLUMNS);
		text_append(text, cap_bytes, "%s%s=%s", shown > 1 ? " " : "",
			    name, value);
	}
}

/**
 * event_summary() - Write what matters of an event
 * @event:	The stored object, borrowed
 * @ret_text:	Array of @cap_bytes; always NUL-terminated and escaped
 * @cap_bytes:	Its size
 */
void event_summary(const cJSON *event, char *ret_text, size_t cap_bytes)
{
	const cJSON *kind = cJSON_GetObjectItemCaseSensitive(event, "kind");
	const cJSON *attrs = cJSON_GetObjectItemCaseSensitive(event, "attrs");
	size_t i, lead;

	ret_text[0] = '\0';
	for (i = 0; cJSON_IsString(kind) && i < ARRAY_SIZE(patterns); i++) {
		if (strcmp(patterns[i].kind, kind->valuestring) == 0) {
			apply_pattern(attrs, patterns[i].pattern, ret_text,
				      cap_bytes);
			lead = strspn(ret_text, " ,");
			memmove(ret_text, ret_text + lead,
				strlen(ret_text + lead) + 1);
			return;
		}
	}
	put_others(attrs, ret_text, cap_bytes);
}
