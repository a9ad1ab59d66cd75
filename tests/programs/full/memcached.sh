#!/bin/bash
# memcached: two clients at a time, evictions, and every answer looked at
# needs memcached=memcached libmemcached-tools=memcslap python3=python3
set -e
memcached -u "$(id -un)" -s socket -a 0777 -t 4 -m 8 -I 512k &
server=$!
trap 'kill $server 2>/dev/null || :' EXIT
await socket $server
for test in set get mget; do
	memcslap --servers="$PWD/socket" --concurrency=4 --test=$test \
		--execute-number=5000 >/dev/null
done
for ((i = 0; i < 2; i++)); do
	python3 - "$i" >"keys.$i" <<'END' &
import random, socket, sys

s = socket.socket(socket.AF_UNIX)
s.connect("socket")
f = s.makefile("rb")
rng = random.Random(sys.argv[1])
known = {}
for n in range(20000):
    key = b"%s.%d" % (sys.argv[1].encode(), rng.randrange(3000))
    if rng.random() < 0.5:
        value = bytes([n % 251]) * int(rng.expovariate(1 / 900))
        s.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        assert f.readline() == b"STORED\r\n"
        known[key] = value
    else:
        s.sendall(b"get %s\r\n" % key)
        line = f.readline()
        if line != b"END\r\n":
            value = f.read(int(line.split()[3]))
            assert f.read(7) == b"\r\nEND\r\n" and value == known[key], key
print(len(known), "keys")
END
done
wait %2 %3
cat keys.*
kill $server
wait $server
