#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make_ca.sh DIR - a private CA and a certificate for localhost and 127.0.0.1
#
# Writes ca.pem, server.pem (certificate and key) and other.pem (a CA that
# signed nothing) into DIR. For tests only: keys are readable and live a day.
set -eu

dir=${1:?"usage: make_ca.sh DIR"}
mkdir -p "$dir"
cd "$dir"

ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-days 1 -subj "/CN=$2" -keyout "$1.key" -out "$1.pem" \
		-addext basicConstraints=critical,CA:TRUE \
		-addext keyUsage=critical,keyCertSign 2>/dev/null
}

ca ca "Kenaz test CA"
ca other "Another test CA"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	-subj "/CN=localhost" -keyout server.key -out server.csr 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 1 \
	-set_serial 1 -extfile server.ext -out server.crt 2>/dev/null
cat server.crt server.key >server.pem
rm -f server.csr server.ext server.crt server.key
