/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config.c - kenaz.toml: defaults, every key, every rejection, adding
 *
 * Runs in: make check.
 * Trusts:  nothing.
 * Never:   needs another user or a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/core/config_edit.h"

static struct config *load(const char *text)
{
	struct config *config = NULL;
	struct conf_error error;

	conf_error_init(&error);
	if (config_parse(span_text(text), "kenaz.toml", &error, &config) !=
	    ERR_OK)
		fail_msg("%s", error.text);
	return config;
}

static void refuse(const char *text, const char *want)
{
	struct config *config = NULL;
	struct conf_error error;

	conf_error_init(&error);
	assert_int_equal(config_parse(span_text(text), "kenaz.toml", &error,
				      &config),
			 ERR_CONFIG);
	assert_null(config);
	if (!strstr(error.text, want))
		fail_msg("<%s> is not in <%s>", want, error.text);
}

static void test_defaults(void **state)
{
	struct config *config = load("");

	(void)state;
	assert_int_equal(config->limits.memory_mib, 512);
	assert_int_equal(config->limits.vcpus, 1);
	assert_int_equal(config->limits.disk_mib, 4096);
	assert_null(config->engine.disk_dir);
	assert_int_equal(config->limits.ask_timeout_s, 60);
	assert_int_equal(config->engine.accelerator, CONFIG_ACCELERATOR_AUTO);
	assert_int_equal(config->engine.vsock, CONFIG_VSOCK_DEVICE);
	assert_int_equal(config->limits.boot_s, 120);
	assert_int_equal(config->provider_count, 1);
	assert_string_equal(config->providers[0].kind, CONFIG_SCRIPTED);
	assert_string_equal(config_default_provider(config)->name, "scripted");
	assert_int_equal(config->image_count, 0);
	config_free(config);
}

static const char full[] =
	"[engine]\naccelerator = \"tcg\"\ndefault_provider = \"work\"\n"
	"default_image = \"dev\"\nexit_idle_s = 5\nvsock = \"kernel\"\n"
	"[[provider]]\nname = \"anthropic\"\nkind = \"anthropic\"\n"
	"secret = \"anthropic\"\n"
	"[[provider]]\nname = \"work\"\nkind = \"byo\"\n"
	"endpoint = \"http://127.0.0.1:8000/v1\"\nallow_http = true\n"
	"ca_file = \"/etc/ssl/ca.pem\"\nmodels = [\"m1\", \"m2\"]\n"
	"stream_usage = false\n"
	"[[provider]]\nname = \"aws\"\nkind = \"bedrock\"\n"
	"region = \"eu-central-1\"\nsecret = \"aws\"\n"
	"[[image]]\nname = \"dev\"\npath = \"/srv/dev\"\nmemory_mib = 2048\n"
	"[limits]\nmemory_mib = 1024\nvcpus = 2\npayload_bytes = 10000000000\n"
	"[roles]\nuser = { groups = \"agents\" }\n"
	"admin = { users = [\"ann\", \"bob\"] }\n";

static void test_every_key(void **state)
{
	struct config *config = load(full);
	const struct config_provider *work =
		config_find_provider(config, "work");

	(void)state;
	assert_non_null(work);
	assert_int_equal(config->engine.accelerator, CONFIG_ACCELERATOR_TCG);
	assert_int_equal(config->engine.exit_idle_s, 5);
	assert_int_equal(config->engine.vsock, CONFIG_VSOCK_KERNEL);
	assert_ptr_equal(config_default_provider(config), work);
	assert_string_equal(work->endpoint, "http://127.0.0.1:8000/v1");
	assert_true(work->allow_http);
	assert_true(work->no_stream_usage);
	assert_false(config->providers[0].no_stream_usage);
	assert_int_equal(work->line, 11);
	assert_true(config_allows_model(work, span_text("m2")));
	assert_false(config_allows_model(work, span_text("m3")));
	assert_false(config_allows_model(work, span_text("")));
	assert_true(config_allows_model(&config->providers[0], span_text("x")));
	assert_null(config_find_provider(config, "scripted"));
	assert_null(work->secret);
	config_free(config);
	/* A kind that needs a secret has one of its own name. */
	config = load("[[provider]]\nname = \"p\"\nkind = \"anthropic\"\n");
	assert_string_equal(config->providers[0].secret, "anthropic");
	config_free(config);
	config = load(full);
	assert_int_equal(config_find_image(config, "dev")->memory_mib, 2048);
	assert_int_equal(config->limits.payload_bytes, 10000000000);
	assert_int_equal(config->roles[CONFIG_ROLE_ADMIN].user_count, 2);
	assert_string_equal(config->roles[CONFIG_ROLE_USER].groups[0],
			    "agents");
	config_free(config);
}

static void test_settings_name_their_source(void **state)
{
	struct config *config = load(full);
	struct config_setting one;
	unsigned int found = 0;

	(void)state;
	for (size_t i = 0; i < config_setting_count(); i++) {
		config_setting_at(config, i, &one);
		if (strcmp(one.name, "limits.vcpus") == 0) {
			assert_string_equal(one.value, "2");
			assert_string_equal(one.source, "kenaz.toml:30");
			found++;
		}
		if (strcmp(one.name, "limits.ask_timeout_s") == 0) {
			assert_string_equal(one.value, "60");
			assert_string_equal(one.source, "built-in");
			found++;
		}
		if (strcmp(one.name, "engine.default_provider") == 0) {
			assert_string_equal(one.value, "work");
			assert_string_equal(one.source, "kenaz.toml:3");
			found++;
		}
	}
	assert_int_equal(found, 3);
	config_free(config);
}

#define BYO       "[[provider]]\nname = \"p\"\nkind = \"byo\"\n"
#define ANTHROPIC "[[provider]]\nname = \"p\"\nkind = \"anthropic\"\n"

static void test_rejections(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{"[engin]\n", "kenaz.toml:1: unknown key engin; known here: "
			      "provider, model, image, limits, roles, engine"},
		{"[limits]\nmemory = 1\n",
		 "kenaz.toml:2: unknown key memory; known here: memory_mib"},
		{"[limits]\nmemory_mib = 0\n",
		 "kenaz.toml:2: memory_mib must be from 64 to"},
		{"[limits]\nvcpus = \"2\"\n",
		 "kenaz.toml:2: vcpus must be a whole number, not a text"},
		{"[limits]\nmemory_mib = 20000\n",
		 "kenaz.toml:1: memory_mib (20000) is above "
		 "session_memory_max_mib (16384)"},
		{"[limits]\nvcpus = 9\n",
		 "kenaz.toml:1: vcpus (9) is above session_vcpus_max (8)"},
		{"[engine]\naccelerator = \"hvf\"\n",
		 "kenaz.toml:2: accelerator must be one of auto, kvm, tcg"},
		{"[engine]\ndefault_provider = \"x\"\n",
		 "kenaz.toml:2: there is no provider \"x\""},
		{"[engine]\ndisk_dir = \"disks\"\n",
		 "kenaz.toml:2: disk_dir must be an absolute path"},
		{"[engine]\ndefault_image = \"x\"\n"
		 "[[image]]\nname = \"y\"\npath = \"/y\"\n",
		 "kenaz.toml:2: there is no image \"x\""},
		{"provider = []\n", "kenaz.toml:1: provider is an empty list"},
		{"[[provider]]\nkind = \"byo\"\n",
		 "kenaz.toml:1: this provider has no name"},
		{"[[provider]]\nname = \"p\"\n",
		 "kenaz.toml:1: this provider has no kind"},
		{"[[provider]]\nname = \"P\"\n",
		 "kenaz.toml:1: the name \"P\" must be of"},
		{"[[provider]]\nname = \"p\"\nkind = \"gpt\"\n",
		 "kenaz.toml:3: kind must be one of anthropic, openai, "
		 "openrouter, bedrock, bento, byo, not \"gpt\""},
		{"[[provider]]\nname = \"p\"\nkind = \"scripted\"\n",
		 "kenaz.toml:3: scripted is built in"},
		{BYO, "kenaz.toml:1: provider p of kind byo needs an endpoint"},
		{BYO "endpoint = \"ftp://x\"\n",
		 "kenaz.toml:4: endpoint must begin with https://"},
		{BYO "endpoint = \"http://x\"\n",
		 "kenaz.toml:4: endpoint is not encrypted"},
		{BYO "endpoint = \"https://x\"\nallow_http = true\n",
		 "kenaz.toml:5: allow_http is for http:// endpoints"},
		{BYO "endpoint = \"https://u:p@x\"\n",
		 "kenaz.toml:4: endpoint must be only scheme, host, port"},
		{BYO "endpoint = \"https://x/?k=v\"\n",
		 "kenaz.toml:4: endpoint must be only scheme, host, port"},
		{BYO "endpoint = \"https:///x\"\n",
		 "kenaz.toml:4: endpoint names no host"},
		{BYO "endpoint = \"https://x\"\nregion = \"eu\"\n",
		 "kenaz.toml:5: a provider of kind byo has no region"},
		{BYO "endpoint = \"https://x\"\nca_file = \"ca.pem\"\n",
		 "kenaz.toml:5: ca_file must be an absolute path"},
		{ANTHROPIC "secret = \"sk-ant-KEY\"\n",
		 "kenaz.toml:4: the name \"sk-ant-KEY\" must be of"},
		{ANTHROPIC "secret = \"s\"\nallow_http = true\n",
		 "kenaz.toml:5: allow_http needs an http:// endpoint"},
		{ANTHROPIC "secret = \"s\"\nmodels = []\n",
		 "kenaz.toml:5: models is an empty list"},
		{ANTHROPIC "secret = \"s\"\nmodels = [\"a\", \"a\"]\n",
		 "kenaz.toml:5: models lists \"a\" twice"},
		{ANTHROPIC "secret = \"s\"\naliases = { a = \"m\" }\n",
		 "kenaz.toml:5: unknown key"},
		{ANTHROPIC "secret = \"s\"\n" ANTHROPIC "secret = \"s\"\n",
		 "kenaz.toml:5: provider p is already defined in line 1"},
		{"[[provider]]\nname = \"b\"\nkind = \"bedrock\"\n"
		 "secret = \"s\"\n",
		 "kenaz.toml:1: provider b of kind bedrock needs a region"},
		{"[[provider]]\nname = \"b\"\nkind = \"bedrock\"\n"
		 "secret = \"s\"\nregion = \"EU/..\"\n",
		 "kenaz.toml:5: region \"EU/..\" has not the form of AWS's"},
		{"[[provider]]\nname = \"scripted\"\nkind = \"byo\"\n"
		 "endpoint = \"https://x\"\n",
		 "kenaz.toml:1: the name scripted is taken"},
		{"[[image]]\nname = \"a\"\n",
		 "kenaz.toml:1: image a needs path"},
		{"[[image]]\nname = \"a\"\npath = \"a\"\n",
		 "kenaz.toml:1: image a needs path"},
		{"[[image]]\nname = \"a\"\npath = \"/a\"\n"
		 "[[image]]\nname = \"a\"\npath = \"/b\"\n",
		 "kenaz.toml:4: image a is already defined in line 1"},
		{"[roles]\nroot = { users = \"x\" }\n",
		 "kenaz.toml:2: unknown key root; known here: user, approver, "
		 "auditor, admin"},
		{"[roles]\nadmin = {}\n",
		 "kenaz.toml:2: role admin names neither users nor groups"},
		{"[roles]\nadmin = { users = [] }\n",
		 "kenaz.toml:2: users is an empty list"},
		{"[roles]\nadmin = { user = \"x\" }\n", "kenaz.toml:2: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse(cases[i].text, cases[i].want);
}

static void test_no_file_is_built_in(void **state)
{
	struct config *config = NULL;
	struct conf_error error;

	(void)state;
	conf_error_init(&error);
	assert_int_equal(config_load("/nonexistent/kenaz.toml", &error,
				     &config),
			 ERR_OK);
	assert_false(config->from_file);
	assert_string_equal(config->file, "built-in");
	config_free(config);
}

static void check_added(const char *path, size_t count, mode_t mode)
{
	struct config *config = NULL;
	struct conf_error error;
	struct stat st;

	conf_error_init(&error);
	assert_int_equal(config_load(path, &error, &config), ERR_OK);
	assert_int_equal(config->provider_count, count);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
	config_free(config);
}

static const char one_block[] =
	"[[provider]]\nname = \"one\"\nkind = \"byo\"\n"
	"endpoint = \"http://localhost:1/v1\"\nallow_http = true\n"
	"models = [\"m \\\"1\\\"\", \"back\\\\slash\"]\n";

static enum err add(const char *path, const char *name, const char *block,
		    bool write, struct conf_error *error)
{
	conf_error_init(error);
	return config_edit_add(path, CONFIG_ENTRY_PROVIDER, name,
			       span_text(block), write, error);
}

static void test_add_provider(void **state)
{
	char folder[] = "/tmp/kenaz-config-XXXXXX";
	char path[64];
	struct conf_error error;
	struct stat st;
	struct buf b;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/kenaz.toml", folder);
	/* A preview says whether it could be, and writes nothing. */
	assert_int_equal(add(path, "one", one_block, false, &error), ERR_OK);
	assert_int_not_equal(stat(path, &st), 0);
	if (add(path, "one", one_block, true, &error) != ERR_OK)
		fail_msg("%s", error.text);
	check_added(path, 1, 0600);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(add(path, "two",
			     "[[provider]]\nname = \"two\"\nkind = "
			     "\"anthropic\"\nsecret = \"s\"\n",
			     true, &error),
			 ERR_OK);
	check_added(path, 2, 0640);
	/* What is there stays: a comment and no newline at the end. */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "# end", 5), 5);
	close(fd);
	assert_int_equal(add(path, "three",
			     "[[provider]]\nname = \"three\"\nkind = "
			     "\"openai\"\n",
			     true, &error),
			 ERR_OK);
	check_added(path, 3, 0640);
	assert_int_equal(add(path, "three", one_block, true, &error),
			 ERR_EXISTS);
	assert_non_null(strstr(error.text, "there is a provider \"three\""));
	assert_int_equal(add(path, "four",
			     "[[provider]]\nname = \"four\"\nkind = "
			     "\"nothing\"\n",
			     true, &error),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "kind must be one of"));
	/* A block of another name, or of more than one entry. */
	assert_int_equal(add(path, "five",
			     "[[provider]]\nname = \"six\"\nkind = "
			     "\"openai\"\n",
			     true, &error),
			 ERR_CONFIG);
	check_added(path, 3, 0640);
	buf_init(&b, 256);
	assert_int_equal(config_edit_put_text(&b, "endpoint",
					      "https://x\"\nsecret = \"y"),
			 ERR_FORMAT);
	buf_reset(&b);
	assert_int_equal(config_edit_put_text(&b, "k", "a\"b\\c"), ERR_OK);
	assert_true(span_is(buf_span(&b), "k = \"a\\\"b\\\\c\"\n"));
	buf_fini(&b);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void expect_file(const char *path, const char *want)
{
	struct conf_error error;
	const char *text;
	struct buf b;

	buf_init(&b, 0);
	conf_error_init(&error);
	assert_int_equal(conf_read(path, false, &error, &b), ERR_OK);
	b.max_bytes = b.len_bytes + 1;
	assert_int_equal(buf_terminate(&b, &text), ERR_OK);
	assert_string_equal(text, want);
	buf_fini(&b);
}

#define BLOCK(name)                                  \
	"[[provider]]\nname = \"" name "\"\nkind = " \
	"\"anthropic\"\n"

static void test_remove(void **state)
{
	char folder[] = "/tmp/kenaz-config-XXXXXX";
	char path[64];
	struct conf_error error;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/kenaz.toml", folder);
	put_file(path, "# mine\n" BLOCK("a") "models = [\n  \"x\",\n]\n\n"
					     "# of b\n" BLOCK("b"));
	conf_error_init(&error);
	if (config_edit_remove(path, CONFIG_ENTRY_PROVIDER, "a", &error) !=
	    ERR_OK)
		fail_msg("%s", error.text);
	expect_file(path, "# mine\n# of b\n" BLOCK("b"));
	/* What was added and removed again leaves no trace. */
	assert_int_equal(add(path, "c", BLOCK("c"), true, &error), ERR_OK);
	conf_error_init(&error);
	assert_int_equal(config_edit_remove(path, CONFIG_ENTRY_PROVIDER, "c",
					    &error),
			 ERR_OK);
	expect_file(path, "# mine\n# of b\n" BLOCK("b"));
	conf_error_init(&error);
	assert_int_equal(config_edit_remove(path, CONFIG_ENTRY_PROVIDER, "c",
					    &error),
			 ERR_NOT_FOUND);
	/* The rest must still load. */
	put_file(path, BLOCK("a") BLOCK("b") "fallback = [\"a\"]\n");
	conf_error_init(&error);
	assert_int_equal(config_edit_remove(path, CONFIG_ENTRY_PROVIDER, "a",
					    &error),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "\"a\""));
	expect_file(path, BLOCK("a") BLOCK("b") "fallback = [\"a\"]\n");
	/* An alias with tables of its own; one that is written in one line. */
	put_file(path,
		 BLOCK("a") "[[alias]]\nname = \"f\"\n[[alias.targets]]\n"
			    "provider = \"a\"\nmodel = \"m\"\n[limits]\n");
	conf_error_init(&error);
	if (config_edit_remove(path, CONFIG_ENTRY_ALIAS, "f", &error) != ERR_OK)
		fail_msg("%s", error.text);
	expect_file(path, BLOCK("a") "[limits]\n");
	put_file(path, "provider = [{name = \"a\", kind = \"openai\"}]\n");
	conf_error_init(&error);
	assert_int_equal(config_edit_remove(path, CONFIG_ENTRY_PROVIDER, "a",
					    &error),
			 ERR_CONFIG);
	assert_non_null(strstr(error.text, "by hand"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void test_pool(void **state)
{
	struct config *config = load("");

	(void)state;
	assert_int_equal(config->pool.start, CONFIG_POOL_AUTO);
	assert_int_equal(config->pool.size, 0);
	assert_int_equal(config->pool.refill_parallel, 1);
	config_free(config);
	config = load("[pool]\nstart = \"pool\"\nsize = 3\n"
		      "images = [\"mini\", \"dev\"]\n"
		      "memory_max_mib = 2048\ntemplate_max_age_s = 60\n"
		      "refill_parallel = 2\ntemplate_restores_max = 5\n"
		      "templates_max = 1\n");
	assert_int_equal(config->pool.start, CONFIG_POOL_POOL);
	assert_int_equal(config->pool.size, 3);
	assert_int_equal(config->pool.image_count, 2);
	assert_string_equal(config->pool.images[1], "dev");
	assert_int_equal(config->pool.memory_max_mib, 2048);
	assert_int_equal(config->pool.template_max_age_s, 60);
	assert_int_equal(config->pool.refill_parallel, 2);
	assert_int_equal(config->pool.template_restores_max, 5);
	assert_int_equal(config->pool.templates_max, 1);
	config_free(config);
	refuse("[pool]\nstart = \"warm\"\n", "warm");
	refuse("[pool]\nsize = 65\n", "size");
	refuse("[pool]\nrefill_parallel = 0\n", "refill_parallel");
	refuse("[pool]\nimages = []\n", "images");
	refuse("[pool]\nimages = \"No Name\"\n", "No Name");
	refuse("[pool]\nstart = \"cold\"\nsize = 1\n", "takes nothing");
	refuse("[pool]\nwarm = 1\n", "warm");
	refuse("[[image]]\nname = \"dev\"\npath = \"/srv/dev\"\n"
	       "[pool]\nimages = \"mini\"\n",
	       "there is no image");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_settings_name_their_source),
		cmocka_unit_test(test_rejections),
		cmocka_unit_test(test_no_file_is_built_in),
		cmocka_unit_test(test_add_provider),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
