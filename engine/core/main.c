/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenazd: options, the spawner's fork, the loop
 *
 * Runs in: kenazd.
 * Trusts:  its command line, which the owner wrote.
 * Never:   takes --dev-mock-vm from a file or the environment.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "engine/base/log.h"
#include "engine/core/pool.h"
#include "engine/core/audit_client.h"
#include "engine/core/broker_client.h"
#include "engine/core/budget_keep.h"
#include "engine/core/control.h"
#include "engine/core/engine.h"
#include "engine/core/environment.h"
#include "engine/core/session.h"
#include "engine/core/spawner.h"
#include "engine/core/vault_client.h"
#include "engine/proto/child.h"

static const char usage[] =
	"Usage: kenazd [OPTION]...\n"
	"The Kenaz engine, in the foreground.\n\n"
	"      --system            the host's engine (/etc/kenaz, "
	"/var/lib/kenaz, /run/kenaz)\n"
	"      --config-dir DIR    kenaz.toml, policy.toml, policy.d/\n"
	"      --state-dir DIR     log, keys, vault\n"
	"      --runtime-dir DIR   control socket\n"
	"      --image-dir DIR     folder that holds image folders\n"
	"      --image-keys DIR    public keys that images may be signed with\n"
	"      --idle-exit         end 60 s after the last session and client\n"
	"      --new-origin        begin a new log although this one is behind "
	"its anchor\n"
	"      --dev-mock-vm       NO ISOLATION: guestd runs on this host, for "
	"development\n"
	"  -v, --verbose           say more (twice: much more)\n"
	"      --trace TOPICS      msg,vsock,qmp,policy\n"
	"      --version           print the version\n"
	"      --help              this text\n";

enum option_value {
	OPT_SYSTEM = 256,
	OPT_CONFIG,
	OPT_STATE,
	OPT_RUNTIME,
	OPT_IMAGE,
	OPT_IMAGE_KEYS,
	OPT_IDLE,
	OPT_ORIGIN,
	OPT_MOCK,
	OPT_TRACE,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"system", no_argument, NULL, OPT_SYSTEM},
	{"config-dir", required_argument, NULL, OPT_CONFIG},
	{"state-dir", required_argument, NULL, OPT_STATE},
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME},
	{"image-dir", required_argument, NULL, OPT_IMAGE},
	{"image-keys", required_argument, NULL, OPT_IMAGE_KEYS},
	{"idle-exit", no_argument, NULL, OPT_IDLE},
	{"new-origin", no_argument, NULL, OPT_ORIGIN},
	{"dev-mock-vm", no_argument, NULL, OPT_MOCK},
	{"verbose", no_argument, NULL, 'v'},
	{"trace", required_argument, NULL, OPT_TRACE},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static void parse(int argc, char **argv, struct engine_options *o)
{
	int option, verbose = 0;

	while ((option = getopt_long(argc, argv, "v", long_options, NULL)) !=
	       -1) {
		if (option == OPT_SYSTEM)
			o->paths.system = true;
		else if (option == OPT_CONFIG)
			o->paths.config_dir = optarg;
		else if (option == OPT_STATE)
			o->paths.state_dir = optarg;
		else if (option == OPT_RUNTIME)
			o->paths.runtime_dir = optarg;
		else if (option == OPT_IMAGE)
			o->image_dir = optarg;
		else if (option == OPT_IMAGE_KEYS)
			o->image_keys = optarg;
		else if (option == OPT_IDLE)
			o->idle_exit = true;
		else if (option == OPT_ORIGIN)
			o->new_origin = true;
		else if (option == OPT_MOCK)
			o->dev_mock_vm = true;
		else if (option == 'v')
			log_set_level(++verbose > 1 ? LOG_DEBUG : LOG_INFO);
		else if (option == OPT_TRACE && log_set_trace(optarg) == ERR_OK)
			continue;
		else if (option == OPT_VERSION)
			exit(printf("kenazd %s\n", KENAZ_VERSION) < 0);
		else if (option == OPT_HELP)
			exit(fputs(usage, stdout) < 0);
		else
			exit(fputs("Try: kenazd --help\n", stderr) < 0 ? 1 : 2);
	}
	if (optind < argc) {
		log_error("unexpected argument %s; try kenazd --help",
			  argv[optind]);
		exit(2);
	}
	/* Children read these: their own options are not the owner's. */
	if (verbose &&
	    setenv("KENAZ_LOG", verbose > 1 ? "debug" : "info", 1) < 0)
		log_warn("children will be quiet");
}

int main(int argc, char **argv)
{
	static struct engine engine;
	struct engine_options options = {0};
	int spawner_fd;
	enum err err;

	log_init("kenazd");
	environment_wipe();
	parse(argc, argv, &options);
	umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0 || digest_init() != ERR_OK)
		die("the cryptographic libraries cannot be used");
	if (options.dev_mock_vm)
		log_warn("--dev-mock-vm: sessions run on this host with NO "
			 "ISOLATION");
	if (spawner_fork(-1, &spawner_fd) != ERR_OK)
		die("the spawner cannot be started");
	err = engine_start(&engine, &options, spawner_fd);
	if (err != ERR_OK) {
		if (err != ERR_CONFIG)
			log_error("the engine cannot start: %s", err_text(err));
		return 1;
	}
	(void)uv_run(&engine.loop, UV_RUN_DEFAULT);
	control_free(&engine);
	/* What still waits for them is told while its session is there. */
	audit_client_free(&engine);
	broker_client_free(&engine);
	vault_client_free(&engine);
	sessions_free(&engine);
	pool_free(&engine);
	child_end(engine.scripted);
	(void)unlink(engine.scripted_socket);
	chan_free(engine.spawner);
	(void)uv_run(&engine.loop, UV_RUN_NOWAIT);
	approvals_free(engine.approvals);
	budget_keep_close(&engine);
	policy_free(engine.policy);
	config_free(engine.config);
	return engine.exit_code;
}
