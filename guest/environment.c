/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment.c - the variables that every program of a session starts with
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host for the variables it adds, within the limits.
 * Never:   holds a secret: the keys here are dummies, real ones never enter
 *	    a VM.
 */
#include "guest/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DUMMY_KEY        "kenaz-no-key-in-guest"
#define VALUE_MAX_BYTES  256
#define CONFIG_MAX_BYTES 1024

/** environment_init() - An empty set */
void environment_init(struct environment *env)
{
	*env = (struct environment){0};
}

/** environment_fini() - Release a set; a zeroed one is accepted */
void environment_fini(struct environment *env)
{
	size_t i;

	for (i = 0; i < env->count; i++)
		free(env->vars[i]);
	*env = (struct environment){0};
}

static bool is_variable_name(struct span s)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > ENVIRONMENT_NAME_BYTES)
		return false;
	for (i = 0; i < s.len_bytes; i++) {
		uint8_t c = s.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && c != '_' && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return true;
}

static size_t find(const struct environment *env, struct span name)
{
	size_t i;

	for (i = 0; i < env->count; i++)
		if (strncmp(env->vars[i], (const char *)name.data,
			    name.len_bytes) == 0 &&
		    env->vars[i][name.len_bytes] == '=')
			break;
	return i;
}

/**
 * environment_set() - Add or replace a variable
 * @env:	Set
 * @name:	Letters, digits and underscores, not a digit first
 * @value:	Any text without NUL
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT past ENVIRONMENT_MAX_VARS or
 *	   ENVIRONMENT_MAX_BYTES; ERR_MEMORY.
 */
enum err environment_set(struct environment *env, struct span name,
			 struct span value)
{
	size_t len = name.len_bytes + 1 + value.len_bytes + 1;
	size_t at;
	char *text;

	if (!is_variable_name(name))
		return ERR_FORMAT;
	if (value.len_bytes && memchr(value.data, 0, value.len_bytes))
		return ERR_FORMAT;
	at = find(env, name);
	if (at == ENVIRONMENT_MAX_VARS || len > ENVIRONMENT_MAX_BYTES ||
	    env->used_bytes > ENVIRONMENT_MAX_BYTES - len)
		return ERR_LIMIT;
	text = malloc(len);
	if (!text)
		return ERR_MEMORY;
	memcpy(text, name.data, name.len_bytes);
	text[name.len_bytes] = '=';
	if (value.len_bytes)
		memcpy(text + name.len_bytes + 1, value.data, value.len_bytes);
	text[len - 1] = '\0';
	if (at < env->count) {
		env->used_bytes -= strlen(env->vars[at]) + 1;
		free(env->vars[at]);
	} else {
		env->count++;
	}
	env->vars[at] = text;
	env->used_bytes += len;
	return ERR_OK;
}

/**
 * environment_copy() - Set every variable of another set
 * @env:	Set
 * @from:	Borrowed
 *
 * Return: as environment_set().
 */
enum err environment_copy(struct environment *env,
			  const struct environment *from)
{
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < from->count; i++) {
		const char *var = from->vars[i];
		size_t name = strcspn(var, "=");

		e = environment_set(env, span_of(var, name),
				    span_text(var + name + 1));
	}
	return e;
}

static enum err set_text(struct environment *env, const char *name,
			 const char *value)
{
	return environment_set(env, span_text(name), span_text(value));
}

static enum err set_url(struct environment *env, const char *name,
			unsigned port, const char *path)
{
	char url[VALUE_MAX_BYTES];
	int n = snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);

	if (n < 0 || (size_t)n >= sizeof(url))
		return ERR_LIMIT;
	return set_text(env, name, url);
}

/**
 * environment_defaults() - Set what programs need to work unmodified
 * @env:	Set
 * @place:	Ports and home of this machine
 *
 * Return: as environment_set().
 */
enum err environment_defaults(struct environment *env,
			      const struct environment_place *place)
{
	const struct {
		const char *name, *value;
	} texts[] = {
		{"HOME", place->home},
		{"USER", place->user},
		{"LOGNAME", place->user},
		{"SHELL", "/bin/sh"},
		{"PATH", place->path},
		{"LANG", "C.UTF-8"},
		{"TERM", "dumb"},
		{"IS_SANDBOX", "1"},
		{"ANTHROPIC_API_KEY", DUMMY_KEY},
		{"OPENAI_API_KEY", DUMMY_KEY},
		{"NO_PROXY", "127.0.0.1,localhost"},
		{"no_proxy", "127.0.0.1,localhost"},
		{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"},
	};
	static const char *const proxies[] = {"http_proxy", "https_proxy",
					      "HTTP_PROXY", "HTTPS_PROXY"};
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(texts); i++)
		e = set_text(env, texts[i].name, texts[i].value);
	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(proxies); i++)
		e = set_url(env, proxies[i], place->proxy_port, "");
	if (e == ERR_OK)
		e = set_url(env, "ANTHROPIC_BASE_URL", place->gate_port, "");
	if (e == ERR_OK)
		e = set_url(env, "OPENAI_BASE_URL", place->gate_port, "/v1");
	/* Used only by those that are told to speak Bedrock's dialect. */
	if (e == ERR_OK)
		e = set_url(env, "ANTHROPIC_BEDROCK_BASE_URL", place->gate_port,
			    "");
	if (e == ERR_OK && !place->is_isolated)
		e = set_text(env, "KENAZ_NO_ISOLATION", "1");
	return e;
}

static enum err write_file(const char *path, const char *text, unsigned uid)
{
	size_t len = strlen(text);
	enum err e = ERR_SYS;
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		      0644);

	if (fd < 0)
		return ERR_SYS;
	if (write(fd, text, len) == (ssize_t)len)
		e = ERR_OK;
	if (e == ERR_OK && geteuid() == 0 && fchown(fd, uid, uid) != 0)
		e = ERR_SYS;
	if (close(fd) != 0)
		e = ERR_SYS;
	return e;
}

/* Writes a file into a folder of the home, which is made if need be. */
static enum err write_home_file(const struct environment_place *place,
				unsigned uid, const char *folder,
				const char *name, const char *text)
{
	char path[VALUE_MAX_BYTES];
	int n = snprintf(path, sizeof(path), "%s/%s", place->home, folder);

	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_LIMIT;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return ERR_SYS;
	if (geteuid() == 0 && lchown(path, uid, uid) != 0)
		return ERR_SYS;
	n = snprintf(path, sizeof(path), "%s/%s/%s", place->home, folder, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_LIMIT;
	return write_file(path, text, uid);
}

/* Codex takes no base URL from the environment. */
static const char codex_head[] =
	"model_provider = \"kenaz\"\n"
	/* It acts at the provider, which the policy denies unless a rule
	 * allows it; declared by default. */
	"web_search = \"disabled\"\n\n"
	"[model_providers.kenaz]\n"
	"name = \"Kenaz\"\n"
	"env_key = \"OPENAI_API_KEY\"\n"
	"wire_api = \"responses\"\n";

/*
 * AWS's SDKs and programs. In a file and not in variables, nor in the file
 * "credentials", because agents that find those take Bedrock for what their
 * user wants.
 */
static const char aws_head[] = "[default]\n"
			       "region = us-east-1\n"
			       "aws_access_key_id = " DUMMY_KEY "\n"
			       "aws_secret_access_key = " DUMMY_KEY "\n"
			       "services = kenaz\n\n"
			       "[services kenaz]\n"
			       "bedrock_runtime =\n";

/**
 * environment_write_agent_files() - Write what some programs read from files
 * @place:	Ports and home of this machine
 * @uid:	Owner of the files when run as root
 *
 * Return: ERR_OK; ERR_SYS; ERR_LIMIT.
 */
enum err environment_write_agent_files(const struct environment_place *place,
				       unsigned uid)
{
	char text[CONFIG_MAX_BYTES];
	enum err e;
	int n;

	n = snprintf(text, sizeof(text),
		     "%sbase_url = \"http://127.0.0.1:%u/v1\"\n", codex_head,
		     place->gate_port);
	if (n < 0 || (size_t)n >= sizeof(text))
		return ERR_LIMIT;
	e = write_home_file(place, uid, ".codex", "config.toml", text);
	if (e != ERR_OK)
		return e;
	n = snprintf(text, sizeof(text),
		     "%s  endpoint_url = http://127.0.0.1:%u\n", aws_head,
		     place->gate_port);
	if (n < 0 || (size_t)n >= sizeof(text))
		return ERR_LIMIT;
	return write_home_file(place, uid, ".aws", "config", text);
}
