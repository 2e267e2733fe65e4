#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# outer.sh - the outer guest offers what the other nested tests stand on
# seconds: 60
. /kenaz/lib/checks.sh

controllers() {
	for c in cpu memory pids io; do
		grep -qw "$c" /sys/fs/cgroup/cgroup.subtree_control || return 1
	done
}

check "/dev/vhost-vsock is there" test -c /dev/vhost-vsock
check "cgroup v2 has cpu, memory, pids and io" controllers
check "its clock is not the TSC" grep -q hpet \
	/sys/devices/system/clocksource/clocksource0/current_clocksource
check "bubblewrap works" bwrap --ro-bind / / --unshare-all true
exit "$failed"
