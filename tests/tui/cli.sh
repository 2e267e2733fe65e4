#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cli.sh - the command line against a real engine with the mock VM
#
# The first part needs no engine. Skips (77) the rest without one. Every wait
# is for a condition.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
bin=${KENAZ_BIN:-$top/build/bin}
work=$(mktemp -d)
engine_pid=

cleanup() {
	if [ -n "$engine_pid" ]; then
		kill "$engine_pid" 2>/dev/null || true
		wait "$engine_pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	echo "failed: $1" >&2
	head -n 20 "$work/out" "$work/err" >&2 2>/dev/null || true
	exit 1
}

# expect CODE WORDS...: run kenaz, keep what it says, compare its exit code
expect() {
	local want=$1 code=0
	shift
	"$bin/kenaz" "$@" >"$work/out" 2>"$work/err" || code=$?
	[ "$code" = "$want" ] || fail "kenaz $*: exit code $code, not $want"
}

says() {
	grep -qF -- "$1" "$work/out" "$work/err" || fail "nobody said '$1'"
}

until_true() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	fail "this never came true: $*"
}

[ -x "$bin/kenaz" ] || {
	echo "skipped: $bin/kenaz is not built"
	exit 77
}
unset KENAZ_SOCKET
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
export XDG_CONFIG_HOME=$work/config HOME=$work
mkdir -m 700 "$work/run" "$work/state" "$work/config" "$work/config/kenaz"
printf '[vault]\nbackend = "keyfile"\n' >"$work/config/kenaz/kenaz.toml"

# What is wrong is said with the choices, and nothing is started.
expect 0 --version
says "kenaz "
expect 0 help
says "session list"
expect 0 run --help
says "usage: kenaz run"
expect 0 help session stop
says "usage: kenaz session stop"
expect 2 nonsense
says "kenaz help"
expect 2 session
says "attach, "
expect 0 session --help
says "session attach"
expect 2 session nosuch
grep -q "no command 'nosuch'; there are .*attach, .* and " "$work/err" ||
	fail "the choices are not on standard error"
[ ! -s "$work/out" ] || fail "an error on standard output"
expect 2 session list --nonsense
says "--socket"
expect 2 session list extra
says "session list takes no argument; 'extra' is one"
expect 2 session show one two
says "fewer arguments: kenaz session show SESSION"
expect 2 session show
says "kenaz session show SESSION"
expect 125 run --nosuch
says "--nosuch"
expect 125 session exec
expect 2 -o yaml session list
says "table, json and jsonl"
expect 125 run --memory lots true
says "--memory"
expect 2 audit show x
expect 2 completion csh
expect 3 --socket "$work/none" session list
says "no engine listens"
expect 3 --socket "/$(printf 'x%.0s' $(seq 200))" session list
expect 125 --socket "$work/none" run true
expect 0 completion bash
bash -n "$work/out" || fail "the completion script is broken"
expect 3 engine stop
says "no engine is running"
[ ! -e "$work/run/kenaz" ] || fail "an engine was started"

# A folder that others may write to is not trusted with the socket.
mkdir -m 777 "$work/run/kenaz"
chmod 777 "$work/run/kenaz"
expect 3 session list
says "nobody else may write"
rmdir "$work/run/kenaz"

for program in kenazd kenaz-guestd kenaz-vt; do
	[ -x "$bin/$program" ] || {
		echo "skipped: $bin/$program is not built"
		exit 77
	}
done
"$bin/kenaz" serve --dev-mock-vm >"$work/engine.log" 2>&1 &
engine_pid=$!
until_true test -S "$work/run/kenaz/kenazd.sock"

# CMD's exit code, its streams, its signals.
expect 7 run -- sh -c 'echo to-out; echo to-err >&2; exit 7'
grep -qx to-out "$work/out" || fail "standard output"
grep -qx to-err "$work/err" || fail "standard error"
says "no isolation"
says "no model is called"
expect 137 run -- sh -c 'kill -KILL $$'
expect 127 run nosuchprogram
says "nosuchprogram"
expect 125 run --provider nosuchprovider true
head -c 1000000 /dev/urandom >"$work/data"
"$bin/kenaz" run cat <"$work/data" >"$work/copy" 2>/dev/null ||
	fail "run cat"
cmp -s "$work/data" "$work/copy" || fail "bytes changed on the way"
code=0
"$bin/kenaz" run yes 2>/dev/null | head -n 1 >"$work/out" || code=$?
grep -qx y "$work/out" || fail "a reader that leaves"

# A session that stays, and one that ends with its client.
session=$("$bin/kenaz" -q session start --detach -T -- cat)
expect 0 session exec "$session" -- sh -c 'exit 0'
expect 3 session exec "$session" -- sh -c 'exit 3'
expect 0 -o json session list
python3 -c 'import json,sys
rows = json.load(open(sys.argv[1]))
assert any(r["session"] == sys.argv[2] for r in rows)' \
	"$work/out" "$session" || fail "session list as JSON"
expect 0 session stop "$session"
expect 5 session show nosuchsession
"$bin/kenaz" run -- sh -c 'echo here; exec sleep 1000' >"$work/here" 2>&1 &
client=$!
until_true grep -qx here "$work/here"
session=$("$bin/kenaz" -o jsonl session list | python3 -c 'import json,sys
for line in sys.stdin:
    row = json.loads(line)
    if row["state"] == "ready":
        print(row["session"])')
[ -n "$session" ] || fail "the session of a run is not listed"
kill -KILL "$client"
wait "$client" 2>/dev/null || true
ended() {
	"$bin/kenaz" -o json session show "$session" | grep -q '"ended"'
}
until_true ended

# A signal for the program reaches it.
"$bin/kenaz" run -- sh -c 'trap "exit 9" TERM; echo set; while :; do sleep 0.1; done' \
	>"$work/there" 2>/dev/null &
client=$!
until_true grep -qx set "$work/there"
kill -TERM "$client"
code=0
wait "$client" || code=$?
[ "$code" = 9 ] || fail "a signal gave $code, not 9"

# The log, the policy, secrets; nothing secret is shown.
expect 0 audit tail -n 5
says "session.end"
expect 0 -o jsonl audit list --limit 3
python3 -c 'import json,sys
[json.loads(line) for line in open(sys.argv[1])]' "$work/out" ||
	fail "audit list as JSON lines"
expect 0 audit show 0
"$bin/kenaz" audit list >/dev/full 2>"$work/err" && fail "a full disk"
says "No space left on device"
expect 5 audit show 999999
expect 0 policy explain egress host=example.org port=443
says "deny"
expect 0 policy check
printf '[[rule]]\nid = "a"\neffect = "perhaps"\ntarget = "tool"\n' \
	>"$work/bad.toml"
expect 1 policy check "$work/bad.toml"
says "bad.toml:3"
printf '[[rule]]\nid = "a"\neffect = "deny"\ntarget = "tool"\n' \
	>"$work/good.toml"
expect 0 policy check "$work/good.toml"
says "rules 1"
expect 5 policy check "$work/none.toml"
says "none.toml"
expect 1 policy check "$work/data"
says "a policy file is smaller"
head -c 1000 "$work/data" >"$work/noise"
expect 1 policy check "$work/noise"
says "a policy file is TOML"
expect 0 session show "$session"
says "total "
printf 'hunter2-secret' | "$bin/kenaz" secret set one >"$work/out" \
	2>"$work/err" || fail "secret set"
expect 0 secret list
says "one"
if grep -rq hunter2-secret "$work/out" "$work/err" "$work/state" \
	"$work/config" "$work/engine.log"; then
	fail "the secret is on disk or was shown"
fi
expect 2 secret set
"$bin/kenaz" secret set two </dev/null >"$work/out" 2>"$work/err" &&
	fail "an empty secret was taken"
expect 0 secret remove one
expect 0 approvals list
expect 2 approvals grant nosuchapproval
expect 5 approvals grant 4711
expect 0 provider list
says "scripted"
says "no model is called"
if [ -x "$bin/kenaz-verify" ]; then
	expect 0 audit verify
	says "verified"
fi
expect 0 engine info
expect 1 serve
says "another engine uses"
[ "$(wc -l <"$work/err")" = 1 ] || fail "more than a sentence"
expect 0 engine stop
says "has stopped"
gone() {
	! kill -0 "$engine_pid" 2>/dev/null || [ ! -e "/proc/$engine_pid/exe" ]
}
until_true gone
wait "$engine_pid" || fail "the engine's exit code"
engine_pid=
echo "ok"
