# SPDX-License-Identifier: Apache-2.0
# checks.sh - what the nested tests say and wait with; sourced by each
failed=0

ok() {
	echo "ok $*"
}

not_ok() {
	echo "not ok $*"
	failed=1
}

# check TEXT COMMAND... - the command succeeds
check() {
	text=$1
	shift
	if "$@" >last 2>&1; then
		ok "$text"
	else
		not_ok "$text"
		sed 's/^/#   /' last | head -n 20
	fi
}

# holds TEXT PATTERN FILE - a file has a line like that
holds() {
	if grep -q -- "$2" "$3"; then
		ok "$1"
	else
		not_ok "$1"
		sed 's/^/#   /' "$3" | head -n 20
	fi
}

# is TEXT WANTED GOT
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1: $3 instead of $2"
	fi
}

# until_true SECONDS COMMAND...
until_true() {
	left=$1
	shift
	while ! "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 1
	done
}
