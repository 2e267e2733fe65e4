#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# launch_vm.sh - a real guest in kenaz-launch: boot, streams, ends, refusals
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$here/build}
image=${KENAZ_TEST_IMAGE:-$B/image/mini}

skip() {
	echo "skipped: $*"
	exit 77
}
[ -x "$B/bin/kenaz-launch" ] || skip "kenaz-launch is not built"
[ -f "$image/manifest.json" ] || skip "no image in $image; run 'make image'"
command -v qemu-system-x86_64 >/dev/null || skip "QEMU is not installed"
command -v bwrap >/dev/null || skip "bubblewrap is not installed"
exec "${PYTHON:-python3}" "$here/tests/lib/launch_vm.py" \
	"$B/bin/kenaz-launch" "$image"
