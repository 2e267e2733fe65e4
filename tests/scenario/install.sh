#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# install.sh - what is installed runs from where it lies, and can be removed
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$top/build}
cd "$top"
# Relative, as in make's own dependency files.
B=${B#"$top"/}
work=$(mktemp -d)
finish() {
	[ ! -S "$work/run/kenaz/kenazd.sock" ] ||
		"$bin/kenaz" engine stop >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap finish EXIT

fail() {
	echo "failed: $*" >&2
	exit 1
}

quietly() {
	"$@" >"$work/log" 2>&1 || {
		cat "$work/log"
		fail "$*"
	}
}

root=$work/root
quietly make -s B="$B" DESTDIR="$root" install
bin=$root/usr/local/bin
libexec=$root/usr/local/libexec/kenaz
share=$root/usr/local/share

version=$("$bin/kenaz" --version) || fail "the installed kenaz does not start"
[ "$version" = "$("$B/bin/kenaz" --version)" ] || fail "it is version $version"
for program in "$B"/bin/*; do
	[ -x "$libexec/${program##*/}" ] || fail "no ${program##*/} in libexec"
done
[ "$(find "$bin" -mindepth 1 -printf '%f')" = kenaz ] ||
	fail "bin holds more than kenaz"
for page in man1/kenaz.1 man1/kenaz-verify.1 man8/kenazd.8; do
	[ -f "$share/man/$page" ] || fail "no $page"
done
[ -f "$share/doc/kenaz/README.md" ] || fail "no documents"
bash -n "$share/bash-completion/completions/kenaz" ||
	fail "the completion script is not one"
if [ -f "$B/image/mini/manifest.json" ]; then
	cmp "$B/image/mini/vmlinux" "$share/kenaz/images/mini/vmlinux" ||
		fail "the image was not installed"
fi

# The installed programs find each other: an engine starts, answers, stops.
mkdir -m 700 "$work/run" "$work/state" "$work/config"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
export XDG_CONFIG_HOME=$work/config HOME=$work
# Installed below DESTDIR, so not where the programs would look for them.
export KENAZ_IMAGE_DIR=$share/kenaz/images KENAZ_IMAGE_KEYS=$share/kenaz/image-keys
"$bin/kenaz" -o json engine info >"$work/info" || fail "no engine was started"
pid=$(sed -n 's/.*"pid":[[:space:]]*\([0-9]*\).*/\1/p' "$work/info")
[ -n "$pid" ] || fail "the engine did not say its pid"
[ "$(readlink "/proc/$pid/exe")" = "$libexec/kenazd" ] ||
	fail "kenazd is not the installed one"
if [ -f "$B/image/mini/manifest.json" ]; then
	quietly "$bin/kenaz" image verify mini
fi
quietly "$bin/kenaz" engine stop
for ((i = 0; i < 600; i++)); do
	[ -d "/proc/$pid" ] || break
	sleep 0.05
done
[ ! -d "/proc/$pid" ] || fail "the engine did not stop"

quietly make -s B="$B" DESTDIR="$root" uninstall
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "uninstall left: $left"
echo ok
