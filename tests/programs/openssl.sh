#!/bin/bash
# openssl: keys, certificates, ciphers, a handshake, and a short speed
# needs openssl=openssl
set -e
quiet()
{
	"$@" 2>errors || { cat errors && return 1; }
}

openssl version
for digest in md5 sha256 sha3-512 blake2b512; do
	openssl dgst -$digest -r <"$INPUTS/lines"
done
for cipher in aes-256-cbc chacha20 aes-128-ctr; do
	openssl enc -$cipher -pbkdf2 -pass pass:x -S 0011223344556677 \
		-in "$INPUTS/lines" -out secret
	cksum <secret
	openssl enc -d -$cipher -pbkdf2 -pass pass:x -S 0011223344556677 -in secret |
		cmp - "$INPUTS/lines"
done
for key in 'RSA -pkeyopt rsa_keygen_bits:2048' ED25519 \
	'EC -pkeyopt ec_paramgen_curve:P-256'; do
	# shellcheck disable=SC2086
	quiet openssl genpkey -algorithm $key -out key
	openssl pkey -in key -pubout -out public
	openssl req -x509 -new -key key -subj /CN=localhost -days 2 -out cert
	openssl verify -CAfile cert cert
	head -c 500 "$INPUTS/lines" >message
	openssl pkeyutl -sign -inkey key -rawin -in message -out signature
	openssl pkeyutl -verify -pubin -inkey public -rawin -in message \
		-sigfile signature
done

openssl s_server -quiet -unix socket -naccept 5 -key key -cert cert -www &
server=$!
trap 'kill $server 2>/dev/null || :' EXIT
await socket $server
for ((i = 0; i < 5; i++)); do
	openssl s_client -unix socket -CAfile cert -verify_return_error \
		</dev/null 2>/dev/null | grep -E '^New|^Verif'
done
wait $server
quiet openssl speed -seconds 1 -bytes 1024 -multi 2 sha256 >/dev/null
quiet openssl speed -seconds 1 ecdsap256 >/dev/null
