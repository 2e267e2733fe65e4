#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest_mock.sh - kenaz-guestd as the mock VM: hello, exec, terminals, kept
# programs, loopback services, refusals, and the end of everything
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$here/build}

[ -x "$B/bin/kenaz-guestd" ] || {
	echo "skipped: kenaz-guestd is not built"
	exit 77
}
exec "${PYTHON:-/usr/bin/python3}" "$here/tests/lib/guest_mock.py" \
	"$B/bin/kenaz-guestd" "$B/bin/kenaz-workbench"
