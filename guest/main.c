/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - kenaz-guestd: PID 1 of the guest, or its stand-in on the host
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the image, the kernel command line and the host.
 * Never:   outlives its host in the mock; continues in a VM whose set-up
 *	    failed without saying so on the console.
 *
 * `kenaz-guestd --dev-mock FOLDER` is the development loop's stand-in for a
 * VM: the same channels over unix sockets in FOLDER, no isolation at all.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/base/version.h"
#include "guest/announce.h"
#include "guest/boot.h"
#include "guest/control.h"
#include "guest/environment.h"
#include "guest/init.h"
#include "guest/loop.h"
#include "guest/modules.h"
#include "guest/plug.h"
#include "guest/root.h"
#include "guest/session.h"
#include "guest/shim.h"
#include "guest/transport.h"

#define MODULES_LIST    "/lib/modules.list"
#define AGENT_HOME      "/home/agent"
#define AGENT_PATH      "/usr/local/bin:/usr/bin:/bin"
#define PATH_BYTES      4096
#define PROBE_OPTION    "kenaz.probe=1"
#define ROOT_TEXT_BYTES 256
#define PROBE_TEXT      "KENAZ-PROBE-OK\n"
#define CORE_FD         3
#define CORE_READ_BYTES 65536
#define EXIT_USAGE      2
#define DEFAULT_HOST    "kenaz"

static struct watch signals, core;

static void on_signal(struct watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		process_reap_all();
		control_child_ended();
	} else {
		control_end();
	}
}

static enum err watch_signals(void)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return ERR_SYS;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return ERR_SYS;
	watch_init(&signals, fd, on_signal, NULL);
	return watch_set(&signals, EPOLLIN);
}

/* An image with a root file: without it there is nothing to run. */
static void enter_root(void)
{
	char text[ROOT_TEXT_BYTES];
	const char *what = "the kernel command line";
	struct root_option option;
	enum err e = init_get_option(ROOT_OPTION, text, sizeof(text));

	if (e == ERR_NOT_FOUND)
		return;
	if (e == ERR_OK)
		e = root_option_parse(span_text(text), &option);
	if (e == ERR_OK)
		e = root_set_up(&option, init_has_option(ROOT_DISK_OPTION),
				&what);
	if (e == ERR_OK)
		return;
	log_error("%s: %s", what, e == ERR_SYS ? strerror(errno) : err_text(e));
	init_power_off();
}

/* Each failure is said; what still works is better than a silent panic. */
static void set_up_machine(void)
{
	enum err e;

	plug_open();
	if (init_mount() != ERR_OK)
		log_error("some file systems are missing");
	if (init_has_option(PROBE_OPTION)) {
		(void)!write(STDOUT_FILENO, PROBE_TEXT, strlen(PROBE_TEXT));
		init_power_off();
	}
	/* Without it whoever can connect would be taken for the host. */
	e = init_has_option(BOOTDOC_OPTION) ? boot_load() : ERR_OK;
	if (e != ERR_OK) {
		log_error("what the host says at boot cannot be read: %s",
			  err_text(e));
		init_power_off();
	}
	if (modules_load(MODULES_LIST) != ERR_OK)
		log_error("the host cannot be reached without its modules");
	enter_root();
	if (init_loopback() != ERR_OK)
		log_error("cannot bring up the loopback interface");
	if (sethostname(DEFAULT_HOST, strlen(DEFAULT_HOST)) != 0)
		log_error("cannot set the hostname: %s", strerror(errno));
}

/* The mock's programs find ours first: kenaz-workbench lies beside guestd. */
static enum err mock_path(struct buf *out, const char **ret_path)
{
	char self[PATH_BYTES];
	const char *inherited = getenv("PATH");
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	enum err e;

	if (len <= 0)
		return ERR_SYS;
	self[len] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	e = buf_put_text(out, self);
	if (e == ERR_OK)
		e = buf_put_text(out, ":");
	if (e == ERR_OK)
		e = buf_put_text(out, inherited ? inherited : AGENT_PATH);
	return e == ERR_OK ? buf_terminate(out, ret_path) : e;
}

static void set_up_mock(const char *folder, char *home,
			struct environment_place *place)
{
	static struct buf path;

	const char *user = getenv("USER");
	int n = snprintf(home, PATH_BYTES, "%s/home", folder);

	if (folder[0] != '/')
		die("--dev-mock needs an absolute folder");
	if (transport_use_folder(folder) != ERR_OK || n < 0 || n >= PATH_BYTES)
		die("the folder's name is too long: %s", folder);
	if (mkdir(home, 0700) != 0 && errno != EEXIST)
		die("cannot make %s: %s", home, strerror(errno));
	buf_init(&path, 2 * PATH_BYTES);
	if (mock_path(&path, &place->path) != ERR_OK)
		die("cannot find the program's own folder");
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	process_keep_user();
	place->home = home;
	place->user = user ? user : "agent";
	place->is_isolated = false;
}

static void on_core(struct watch *watch, uint32_t events)
{
	uint8_t data[CORE_READ_BYTES];
	ssize_t n = read(watch->fd, data, sizeof(data));

	(void)events;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	watch_fini(watch);
	control_end();
}

/* The mock is a child of core: when its channel ends, so does the mock. */
static enum err watch_core(void)
{
	struct stat st;

	if (fstat(CORE_FD, &st) != 0 || !S_ISSOCK(st.st_mode))
		return ERR_OK;
	watch_init(&core, CORE_FD, on_core, NULL);
	return watch_set(&core, EPOLLIN);
}

static void start(struct environment_place *place, bool is_vm)
{
	if (loop_open() != ERR_OK || watch_signals() != ERR_OK)
		die("cannot make the event loop: %s", strerror(errno));
	if (shim_listen_gate(is_vm ? SHIM_GATE_TCP_PORT : 0,
			     &place->gate_port) != ERR_OK ||
	    shim_listen_proxy(is_vm ? SHIM_PROXY_TCP_PORT : 0,
			      &place->proxy_port) != ERR_OK)
		die("cannot listen on loopback: %s", strerror(errno));
	if (!is_vm && watch_core() != ERR_OK)
		die("cannot watch the channel to core: %s", strerror(errno));
	machine.is_vm = is_vm;
	machine.home = place->home;
	if (environment_defaults(&machine.env, place) != ERR_OK)
		die("cannot build the environment");
	if (environment_write_agent_files(place, PROCESS_AGENT_UID) != ERR_OK)
		log_warn("cannot write the agents' files: %s", strerror(errno));
	if (session_listen() != ERR_OK)
		die("cannot listen for the host: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static char home[PATH_BYTES];
	struct environment_place place = {.home = AGENT_HOME,
					  .user = "agent",
					  .path = AGENT_PATH,
					  .is_isolated = true};
	bool is_vm = argc == 1 && getpid() == 1;

	log_init("kenaz-guestd");
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("kenaz-guestd %s\n", KENAZ_VERSION);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--dev-mock") == 0)
		set_up_mock(argv[2], home, &place);
	else if (is_vm)
		set_up_machine();
	else {
		(void)fprintf(stderr, "usage: kenaz-guestd --dev-mock FOLDER "
				      "(or run it as the init of a VM)\n");
		return EXIT_USAGE;
	}
	start(&place, is_vm);
	announce_start();
	loop_run();
	return 0;
}
