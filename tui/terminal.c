/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.c - raw mode and its way back, whatever ends the program
 *
 * Runs in: kenaz.
 * Trusts:  its own terminal.
 * Never:   leaves a terminal without echo, with a hidden cursor or on its
 *	    second screen: atexit() and every fatal signal restore it, with
 *	    calls that a signal handler may make.
 */
#include "tui/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static volatile sig_atomic_t changed_fd = -1;
static volatile sig_atomic_t screen_touched;
static volatile sig_atomic_t alternate;

static const int fatal_signals[] = {SIGHUP,  SIGINT, SIGQUIT, SIGILL,
				    SIGABRT, SIGBUS, SIGFPE,  SIGSEGV,
				    SIGTERM, SIGSYS, SIGXCPU, SIGXFSZ};

/** terminal_restore() - Give the terminal back as it was found */
void terminal_restore(void)
{
	static const char leave[] = "\033[?1l\033>\033[?1049l";
	static const char clean[] = "\033[0m\033[?25h";
	int fd = (int)changed_fd, failed = errno;
	ssize_t n = 0;

	changed_fd = -1;
	if (screen_touched) {
		screen_touched = 0;
		n = write(STDOUT_FILENO, clean, sizeof(clean) - 1);
		if (n >= 0 && alternate)
			n = write(STDOUT_FILENO, leave, sizeof(leave) - 1);
		alternate = 0;
	}
	/* A terminal that is gone needs no restoring. */
	if (fd >= 0 && tcsetattr(fd, TCSADRAIN, &saved) != 0)
		n = -1;
	(void)n;
	errno = failed;
}

static void on_fatal(int number)
{
	terminal_restore();
	/* SA_RESETHAND is set: this time the default ends the program. */
	(void)raise(number);
}

/**
 * terminal_guard() - Restore the terminal at exit and on fatal signals
 *
 * Once, before the terminal is changed. A signal that is ignored stays so.
 */
void terminal_guard(void)
{
	struct sigaction action = {.sa_handler = on_fatal,
				   .sa_flags = (int)SA_RESETHAND};
	static bool done;
	size_t i;

	if (done)
		return;
	done = true;
	sigfillset(&action.sa_mask);
	for (i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction before;

		if (sigaction(fatal_signals[i], NULL, &before) == 0 &&
		    before.sa_handler != SIG_IGN)
			(void)sigaction(fatal_signals[i], &action, NULL);
	}
	/* Without the handler a normal exit would still restore by hand. */
	if (atexit(terminal_restore) != 0)
		return;
}

static enum err save(int fd, struct termios *ret_now)
{
	if (changed_fd < 0 && tcgetattr(fd, &saved) != 0)
		return ERR_SYS;
	*ret_now = saved;
	changed_fd = fd;
	return ERR_OK;
}

/**
 * terminal_raw() - Hand every key to the program, unprocessed
 * @fd:	Terminal
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err terminal_raw(int fd)
{
	struct termios now;
	enum err e = save(fd, &now);

	if (e != ERR_OK)
		return e;
	screen_touched = 1;
	cfmakeraw(&now);
	return tcsetattr(fd, TCSADRAIN, &now) == 0 ? ERR_OK : ERR_SYS;
}

/**
 * terminal_no_echo() - Read a line that nobody sees
 * @fd:	Terminal
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err terminal_no_echo(int fd)
{
	struct termios now;
	enum err e = save(fd, &now);

	if (e != ERR_OK)
		return e;
	now.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
	now.c_lflag |= ECHONL;
	return tcsetattr(fd, TCSAFLUSH, &now) == 0 ? ERR_OK : ERR_SYS;
}

/**
 * terminal_screen_begin() - A library is about to take the terminal over
 * @fd:	Terminal, still as it was found
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err terminal_screen_begin(int fd)
{
	struct termios now;
	enum err e = save(fd, &now);

	if (e == ERR_OK) {
		screen_touched = 1;
		alternate = 1;
	}
	return e;
}

/** terminal_screen_end() - The library gave the terminal back itself */
void terminal_screen_end(void)
{
	changed_fd = -1;
	screen_touched = 0;
	alternate = 0;
}

/** terminal_note_alternate() - Whether the terminal shows its second screen */
void terminal_note_alternate(bool on)
{
	alternate = on;
}

static uint16_t clamp(unsigned value, unsigned least, unsigned most)
{
	return (uint16_t)(value < least ? least : value > most ? most : value);
}

/**
 * terminal_size() - Size of a terminal, within what a guest is told
 * @fd:			Terminal
 * @ret_rows:		Written; 24 when unknown
 * @ret_columns:	Written; 80 when unknown
 */
void terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize size = {0};

	if (ioctl(fd, TIOCGWINSZ, &size) != 0 || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	*ret_rows = clamp(size.ws_row, TERMINAL_ROWS_MIN, TERMINAL_ROWS_MAX);
	*ret_columns =
		clamp(size.ws_col, TERMINAL_COLUMNS_MIN, TERMINAL_COLUMNS_MAX);
}
