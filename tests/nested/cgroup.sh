#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cgroup.sh - a session's cgroup: limits, a hog, the end, what is left over
# seconds: 1500
export XDG_CONFIG_HOME=$PWD/config XDG_STATE_HOME=$PWD/state
export XDG_RUNTIME_DIR=$PWD/run KENAZ_IMAGE_DIR=/kenaz/image HOME=$PWD
groups=/sys/fs/cgroup/kenaz
. /kenaz/lib/checks.sh

no_group() {
	[ -z "$(ls -d "$groups"/kenaz-* 2>/dev/null)" ]
}

start_engine() {
	kenazd -v >>kenazd.log 2>&1 &
	engine=$!
	until_true 60 test -S run/kenaz/kenazd.sock || not_ok "no engine"
}

start_session() {
	kenaz session start --memory 128 >session 2>session.err
	id=$(grep -oE '[a-z0-9]{12}' session | head -n 1)
	kenaz session show "$id" -o json >shown 2>>session.err
	vm=$(sed -n 's/.*"vm":[^"]*"\([a-z0-9]*\)".*/\1/p' shown)
	group=$(ls -d "$groups"/kenaz-*-"$vm" 2>/dev/null)
	if [ -z "$vm" ] || [ -z "$group" ]; then
		not_ok "a session starts in a cgroup of its own"
		sed 's/^/#   /' session.err kenazd.log | tail -n 30
		kill "$engine"
		wait "$engine"
		exit 1
	fi
}

mkdir -p config/kenaz state run "$groups"
chmod 700 config config/kenaz state run
printf '[engine]\naccelerator = "tcg"\ncgroup = "%s"\n[limits]\nboot_s = 1200\n
[pool]\nstart = "cold"\n' "$groups" >config/kenaz/kenaz.toml
start_engine
start_session
ok "a session starts in a cgroup of its own"

# --- limits -------------------------------------------------------------------
is "memory is the guest's and QEMU's share" $(((128 + 192) * 1048576)) \
	"$(cat "$group/memory.max")"
is "processes are limited" 192 "$(cat "$group/pids.max")"
is "the CPU is limited" "125000 100000" "$(cat "$group/cpu.max")"
qemu=$(pidof qemu-system-x86_64)
if grep -qx "$qemu" "$group/cgroup.procs"; then
	ok "QEMU is in it"
else
	not_ok "QEMU is in it"
fi
if [ "$(wc -l <"$group/cgroup.procs")" -le 3 ]; then
	ok "and nobody but bubblewrap beside it"
else
	not_ok "and nobody but bubblewrap beside it"
fi
now=$(cat "$group/memory.current")
echo "# an idle session of 128 MiB holds $((now / 1048576)) MiB"

# --- a hog ----------------------------------------------------------------------
# Stands in for a captured QEMU: born in the same cgroup, it takes all it can.
sh -c "echo \$\$ >$group/cgroup.procs && exec tail /dev/zero" >/dev/null 2>&1
code=$?
is "a hog in it is killed" 137 "$code"
until_true 60 no_group
kenaz session show "$id" >show 2>&1
if grep -q 'memory: the session took more than its 320 MiB' show; then
	ok "its session ends with the figure"
else
	not_ok "its session ends with the figure"
	sed 's/^/#   /' show | head -n 20
fi
if no_group; then
	ok "the cgroup is gone"
else
	not_ok "the cgroup is gone"
fi

# --- the ordinary end -------------------------------------------------------------
start_session
kenaz session stop "$id" >/dev/null 2>&1
if until_true 60 no_group; then
	ok "it is gone after a stop too"
else
	not_ok "it is gone after a stop too"
fi

# --- everything killed at once ------------------------------------------------------
start_session
kill -9 $(pidof kenazd kenaz-launch kenaz-gate kenaz-audit kenaz-broker \
	kenaz-scripted bwrap qemu-system-x86_64) 2>/dev/null
until_true 30 sh -c '! pidof qemu-system-x86_64'
[ -d "$group" ] && echo "# the cgroup is left over, as expected"
mkdir "$groups/somebody-elses"
rm -f run/kenaz/kenazd.sock
start_engine
if until_true 30 no_group; then
	ok "the next engine removes what was left over"
else
	not_ok "the next engine removes what was left over"
fi
if [ -d "$groups/somebody-elses" ]; then
	ok "and only that"
else
	not_ok "and only that"
fi
kill "$engine"
wait "$engine"

# --- delegated to a user --------------------------------------------------------------
unit=/sys/fs/cgroup/unit
mkdir "$unit" mine
chown 1000:1000 "$unit" "$unit/cgroup.procs" "$unit/cgroup.subtree_control" \
	"$unit/cgroup.threads" mine
chmod 755 "$PWD"
sh -c "echo \$\$ >$unit/cgroup.procs && cd mine && exec su kenaz -c \
	'exec env HOME=$PWD/mine XDG_CONFIG_HOME= XDG_STATE_HOME= \
	XDG_RUNTIME_DIR= kenazd -v'" >user.log 2>&1 &
user=$!
if until_true 60 grep -q "sessions get cgroups below $unit" user.log; then
	ok "a user's engine divides the cgroup that was delegated to it"
else
	not_ok "a user's engine divides the cgroup that was delegated to it"
	sed 's/^/#   /' user.log
fi
is "its processes moved into a leaf" "" "$(cat $unit/cgroup.procs)"
kill "$user"
wait "$user"
[ "$failed" = 0 ] || tail -n 40 kenazd.log
exit "$failed"
