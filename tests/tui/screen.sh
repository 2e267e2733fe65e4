#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# screen.sh - drive the full-screen interface in tmux and read its screen
#
# Needs an engine: the one at KENAZ_SOCKET, or build/bin/kenazd with the mock
# VM. Skips (77) without one, or without tmux. Every wait is for a condition.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
bin=${KENAZ_BIN:-$top/build/bin}
work=$(mktemp -d)
engine_pid=
tmux_socket=$work/tmux

skip() {
	echo "skipped: $1"
	exit 77
}

tm() {
	tmux -S "$tmux_socket" -f /dev/null "$@"
}

screen() {
	tm capture-pane -p -t kenaz
}

cleanup() {
	tm kill-server 2>/dev/null || true
	if [ -n "$engine_pid" ]; then
		kill "$engine_pid" 2>/dev/null || true
		wait "$engine_pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	echo "failed: $1" >&2
	screen >&2 || true
	exit 1
}

# until_screen TEXT: wait until the screen shows TEXT
until_screen() {
	local i
	for ((i = 0; i < 600; i++)); do
		screen | grep -qF -- "$1" && return 0
		sleep 0.05
	done
	fail "the screen never showed '$1'"
}

until_gone() {
	local i
	for ((i = 0; i < 600; i++)); do
		screen | grep -qF -- "$1" || return 0
		sleep 0.05
	done
	fail "the screen still shows '$1'"
}

until_dead() {
	local i
	for ((i = 0; i < 600; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	fail "process $1 is still there"
}

keys() {
	tm send-keys -t kenaz "$@"
}

# What a program leaves behind: echo on, cursor shown, no alternate screen.
expect_sane_terminal() {
	local flags
	keys "stty -a >$work/stty; echo state-\$?" Enter
	until_screen "state-0"
	grep -q ' echo ' "$work/stty" || fail "echo is off after $1"
	grep -q ' icanon ' "$work/stty" || fail "the terminal is raw after $1"
	flags=$(tm display-message -p -t kenaz '#{cursor_flag}#{alternate_on}')
	[ "$flags" = 10 ] || fail "cursor or screen not restored after $1"
	keys "clear" Enter
}

command -v tmux >/dev/null || skip "tmux is not installed"
[ -x "$bin/kenaz" ] || skip "$bin/kenaz is not built"
[ -x "$bin/kenaz-vt" ] || skip "$bin/kenaz-vt is not built"
if [ -z "${KENAZ_SOCKET:-}" ]; then
	[ -x "$bin/kenazd" ] || skip "$bin/kenazd is not built"
	[ -x "$bin/kenaz-guestd" ] || skip "$bin/kenaz-guestd is not built"
	export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
	export XDG_CONFIG_HOME=$work/config
	mkdir -m 700 "$work/run" "$work/state" "$work/config" \
		"$work/config/kenaz"
	printf '[vault]\nbackend = "keyfile"\n' \
		>"$work/config/kenaz/kenaz.toml"
	export KENAZ_SOCKET=$work/run/kenazd.sock
	"$bin/kenazd" --dev-mock-vm --runtime-dir "$work/run" \
		>"$work/engine.log" 2>&1 &
	engine_pid=$!
	for ((i = 0; i < 600; i++)); do
		[ -S "$KENAZ_SOCKET" ] && break
		kill -0 "$engine_pid" 2>/dev/null || {
			cat "$work/engine.log" >&2
			exit 1
		}
		sleep 0.05
	done
fi

# Without a terminal, or on a dumb one: the list of sessions, and 0.
"$bin/kenaz" </dev/null >"$work/list" 2>&1 || fail "no terminal is an error"

tm new-session -d -s kenaz -x 100 -y 30 \
	"env PS1='\$ ' PATH=$bin:/usr/bin:/bin TERM=xterm-256color bash --norc"
until_screen '$'
keys "TERM=dumb kenaz; echo dumb-\$?" Enter
until_screen "dumb-0"
keys "clear; kenaz" Enter
until_screen "1 Sessions"
until_screen "quit"

# A session is started, shows, is attached to, left and stopped.
keys n
until_screen "ready after"
session=$(screen | awk '/ready after/ {print $2; exit}')
[ -n "$session" ] || fail "no session was started"
i=0
until screen | grep -q "^ $session "; do
	i=$((i + 1))
	[ "$i" -lt 600 ] || fail "the new session is not listed"
	sleep 0.05
done
keys a
until_screen "attached to $session"
tm send-keys -t kenaz C-] d
until_screen "back from $session"
keys x
until_screen "to stop it"
keys "wrong" Enter
until_screen "nothing was done"
"$bin/kenaz" session show "$session" >/dev/null || fail "stopped unasked"
keys x
until_screen "to stop it"
keys "$session" Enter
until_screen "session $session: ended"

# The log follows; a filter narrows it; help is made for the pane.
keys 2
until_screen "session.start"
until_screen "following"
keys k
until_gone "following"
keys G
until_screen "following"
keys / "session.end" Enter
until_screen "filter 'session.end'"
until_gone "engine.start"
keys / C-u Enter
until_gone "filter '"
keys '?'
until_screen "next denial"
keys '?'
until_gone "next denial"
keys Enter
until_screen "kind: "
keys q
until_gone "kind: "
keys 3
until_screen "DEFAULT"
keys 4
until_screen "4 Approvals"

# Too small says so; growing again draws everything.
tm resize-window -t kenaz -x 30 -y 6
until_screen "too small: 30x6"
tm resize-window -t kenaz -x 100 -y 30
until_screen "1 Sessions"
tm resize-window -t kenaz -x 60 -y 12
until_screen "1 Sessions"
tm resize-window -t kenaz -x 100 -y 30
until_screen "quit"

# Suspend and come back.
keys C-z
until_screen "Stopped"
expect_sane_terminal "suspending"
keys fg Enter
until_screen "1 Sessions"

# However it ends, the terminal is as it was.
keys q
until_gone "1 Sessions"
expect_sane_terminal "q"
for signal in TERM HUP SEGV ABRT INT; do
	keys "clear; kenaz" Enter
	until_screen "1 Sessions"
	until_screen "quit"
	pid=$(pgrep -P "$(tm display-message -p -t kenaz '#{pane_pid}')" -x kenaz)
	kill -s "$signal" "$pid"
	until_gone "1 Sessions"
	expect_sane_terminal "SIG$signal"
done

# The same for a raw terminal in a session.
keys "clear; kenaz run -t -- sh -c 'echo in-\$((1 + 1)); cat'" Enter
until_screen "in-2"
pid=$(pgrep -P "$(tm display-message -p -t kenaz '#{pane_pid}')" -x kenaz)
kill -s TERM "$pid"
until_dead "$pid"
expect_sane_terminal "SIGTERM in a session"

# The filter of a terminal gave up everything, and its loss costs little.
keys "clear; kenaz run -t -- sh -c 'stty -echo; echo in-\$((1 + 1)); while read x; do echo after-\$x; done'" Enter
until_screen "in-2"
pid=$(pgrep -P "$(tm display-message -p -t kenaz '#{pane_pid}')" -x kenaz)
filter=$(pgrep -P "$pid" -x kenaz-vt)
grep -q '^Seccomp:.2$' "/proc/$filter/status" || fail "kenaz-vt: no seccomp"
grep -q '^NoNewPrivs:.1$' "/proc/$filter/status" || fail "kenaz-vt: privileges"
[ "$(ls "/proc/$filter/fd" | wc -l)" -le 3 ] || fail "kenaz-vt: descriptors"
[ -z "$(tr -d '\0' <"/proc/$filter/environ")" ] || fail "kenaz-vt: environment"
kill -KILL "$filter"
until_screen "the terminal filter ended"
keys one Enter
until_screen "after-one"
filter=$(pgrep -P "$pid" -x kenaz-vt)
kill -STOP "$filter"
keys two Enter
until_screen "the terminal filter hung"
keys three Enter
until_screen "after-three"
keys C-d
until_dead "$pid"
expect_sane_terminal "a lost filter"

# The program knows the terminal's size, and Ctrl-C is the program's.
keys "clear; kenaz run -t -- sh -c 'trap \"stty size\" WINCH; stty size; echo in-\$((1 + 1)); while :; do sleep 0.1; done'; echo code-\$?" Enter
until_screen "in-2"
until_screen "30 100"
tm resize-window -t kenaz -x 90 -y 25
until_screen "25 90"
tm resize-window -t kenaz -x 100 -y 30
until_screen "30 100"
keys C-c
until_screen "code-130"

# A secret is not shown while it is typed, and echo comes back.
keys "clear; kenaz secret set screen-test; echo set-\$?" Enter
until_screen "not shown"
keys "sup3r-secret" Enter
until_screen "set-0"
screen | grep -q "sup3r-secret" && fail "the secret was shown"
expect_sane_terminal "secret set"
keys "clear; kenaz secret set screen-test" Enter
until_screen "not shown"
pid=$(pgrep -P "$(tm display-message -p -t kenaz '#{pane_pid}')" -x kenaz)
kill -s INT "$pid"
until_dead "$pid"
expect_sane_terminal "an interrupted secret set"
"$bin/kenaz" -q secret remove screen-test

# What a session prints cannot act on the terminal.
keys "clear; kenaz run -t -- printf 'A\\033]0;evil\\007B\\033[?1000h\\033[6nC\\n'; echo code-\$?" Enter
until_screen "ABC"
until_screen "code-0"
title=$(tm display-message -p -t kenaz '#{pane_title}#{mouse_any_flag}')
case $title in
*evil* | *1) fail "a session set the title or the mouse" ;;
esac
keys "clear; kenaz run -t -- sh -c 'exit 7'; echo code-\$?" Enter
until_screen "code-7"
echo "ok"
