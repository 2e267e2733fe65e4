#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vhost.sh - sessions on the kernel's vhost-vsock
#
# Two guests inside the outer guest: one that works, both ways, and one that
# plays another session's neighbour; the outer guest plays a local process.
# builds: tests/nested/vsock_probe.c
# seconds: 1500
probe=/kenaz/tests/vsock_probe
export XDG_CONFIG_HOME=$PWD/config XDG_STATE_HOME=$PWD/state
export XDG_RUNTIME_DIR=$PWD/run KENAZ_IMAGE_DIR=/kenaz/image HOME=$PWD
. /kenaz/lib/checks.sh

write_config() {
	printf '[engine]\naccelerator = "tcg"\nvsock = "%s"\n' "$1"
	printf '[limits]\nboot_s = 1200\n'
}

none_left() {
	! ps | grep -E 'kenaz-|qemu-system|bwrap' | grep -v grep
}

mkdir -p config/kenaz state run
chmod 700 config config/kenaz state run
write_config kernel >config/kenaz/kenaz.toml
kenazd -v >kenazd.log 2>&1 &
engine=$!
# A client would start an engine of its own while there is none.
check "the engine starts" until_true 60 test -S run/kenaz/kenazd.sock

kenaz doctor -o json >doctor 2>&1
holds "doctor says what guests reach" 'reach every AF_VSOCK listener' doctor

# --- both ways --------------------------------------------------------------
kenaz session start --memory 128 >one 2>one.err &
first_start=$!
kenaz session start --memory 128 >two 2>two.err
wait "$first_start"
one=$(grep -oE '[a-z0-9]{12}' one | head -n 1)
two=$(grep -oE '[a-z0-9]{12}' two | head -n 1)
if [ -n "$one" ] && [ -n "$two" ]; then
	ok "two guests said hello over the kernel's vsock"
else
	not_ok "two guests said hello over the kernel's vsock"
	sed 's/^/#   /' one.err two.err kenazd.log | tail -n 40
	kill "$engine"
	exit 1
fi
kenaz session show "$one" >show 2>&1
holds "session show names the backend" 'vsock.*kernel' show

head -c 300000 /kenaz/bin/kenaz >bulk
check "bytes go both ways" sh -c "kenaz session exec $one -- cat <bulk >back &&
	cmp bulk back"
kenaz session exec "$one" -- wget -Y off -q -O - http://127.0.0.1:4141/v1/models \
	>models 2>&1
holds "the guest's gate answers" scripted models
kenaz session exec "$one" -- env http_proxy=http://127.0.0.1:4142 \
	wget -O - http://example.com/ >egress 2>&1
holds "the guest's egress answers" '403' egress

# --- who else may not ---------------------------------------------------------
# Launchers say: the kernel's vsock: context C, ports G and E
line=$(grep 'context [0-9]*, ports' kenazd.log)
echo "$line" | sed -n 's/.*context \([0-9]*\), ports \([0-9]*\) and.*/\1 \2/p' \
	>numbers
set -- $(cat numbers)
cid=$1 gate=$2 other_cid=$3 other_gate=$4
if [ -n "$other_gate" ] && [ "$cid" != "$other_cid" ] &&
	[ "$gate" != "$other_gate" ]; then
	ok "contexts and ports are the sessions' own"
else
	not_ok "contexts and ports are the sessions' own: $line"
fi

$probe connect "$cid" 1024 '{"op":"exec","argv":["id"]}' >out 2>&1
holds "without the secret the guest says nothing" \
	'^\(closed\|reset\) after 0 bytes' out
zeros=$(printf '0%.0s' 1 2 3 4 5 6 7 8)
zeros=$zeros$zeros$zeros$zeros$zeros$zeros$zeros$zeros
$probe connect "$cid" 1024 "$zeros
{\"op\":\"exec\",\"argv\":[\"id\"]}" >out 2>&1
holds "with a wrong secret neither" '^\(closed\|reset\) after 0 bytes' out

request='GET / HTTP/1.1
Host: kenaz
Connection: close
'
$probe connect 2 "$gate" "$request" >out 2>&1
holds "a process of the host is not served by the gate" \
	'^\(closed after 0\|reset after 0\|refused\)' out
$probe connect 1 "$gate" "$request" >out 2>&1
holds "nor is one that comes over loopback" \
	'^\(closed after 0\|reset after 0\|refused\)' out
holds "the refusal is in the engine's log" 'from context 1, which is not' \
	kenazd.log

for id in "$one" "$two"; do
	kenaz session exec "$id" -- sh -c 'cat >/tmp/probe; chmod +x /tmp/probe' \
		<$probe || not_ok "the probe reaches guest $id"
done
# Which guest has which numbers is found out by who is served.
kenaz session exec "$one" -- /tmp/probe connect 2 "$gate" "$request" \
	>out.one 2>&1
kenaz session exec "$two" -- /tmp/probe connect 2 "$gate" "$request" \
	>out.two 2>&1
grep -c 'HTTP/1.1 200' out.one out.two >served
if [ "$(grep -c ':1$' served)" = 1 ]; then
	ok "one guest is served at a port, its neighbour is not"
else
	not_ok "one guest is served at a port, its neighbour is not"
	sed 's/^/#   /' out.one out.two served
fi

# --- limits -------------------------------------------------------------------
owner=$one
grep -q 'one:1' served || owner=$two
kenaz session exec "$owner" -- /tmp/probe flood 2 "$gate" 420 >out 2>&1
open=$(sed -n 's/^\([0-9]*\) of 420 .*/\1/p' out)
if [ -n "$open" ] && [ "$open" -gt 300 ] && [ "$open" -le 384 ]; then
	ok "the guest's streams are limited ($open of 420 stay open)"
else
	not_ok "the guest's streams are limited: $(cat out)"
fi
check "afterwards it is served again" until_true 60 \
	kenaz session exec "$owner" -- wget -Y off -q -O /dev/null \
	http://127.0.0.1:4141/v1/models

# --- the end ------------------------------------------------------------------
kenaz session show "$two" >show.two 2>&1
grep fingerprint show | head -n 1 >digest.one
grep fingerprint show.two | head -n 1 >digest.two
check "equal machines have one fingerprint" cmp digest.one digest.two
check "the first session stops" kenaz session stop "$one"
check "the second session stops" kenaz session stop "$two"
check "the log verifies" kenaz audit verify
kill "$engine"
wait "$engine"
check "no process is left" until_true 30 none_left
if [ "$(cat /sys/module/vhost_vsock/refcnt)" = 0 ]; then
	ok "the device is not in use any more"
else
	not_ok "the device is in use"
fi

mv /dev/vhost-vsock /dev/elsewhere
kenaz run --memory 128 -- true >out 2>&1
mv /dev/elsewhere /dev/vhost-vsock
holds "without the device a session is refused" \
	'engine.vsock is "kernel", but /dev/vhost-vsock cannot be opened' out
[ "$failed" = 0 ] || tail -n 40 kenazd.log
exit "$failed"
