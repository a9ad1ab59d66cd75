#!/bin/bash
# redis: load, save by fork, rewrite, load again, and its benchmark
# needs redis-tools=redis-benchmark python3=python3
set -e
server=$(command -v redis-server || command -v redis-check-rdb)
ln -s "$server" redis-server
trap 'kill $(jobs -p) 2>/dev/null || :' EXIT

ask()
{
	redis-cli -s socket "$@"
}

# start <options>: until it answers, which is when all is loaded.
start()
{
	rm -f socket
	./redis-server --port 0 --unixsocket socket --save '' \
		--enable-debug-command yes --loglevel warning --logfile log "$@" &
	for ((i = 0; i < 600; i++)); do
		ask ping 2>/dev/null | grep -q PONG && return
		sleep 0.05
	done
	cat log
	return 1
}

idle()
{
	while ask info persistence | grep -qE \
		'(rdb_bgsave|aof_rewrite)_in_progress:1'; do
		sleep 0.05
	done
}

start
python3 "$QUARRY_SOURCE/examples/demo/generate.py" redis >load
ask --pipe <load | tail -n 1
ask debug digest
ask bgsave >/dev/null
ask eval 'for i = 1, 3000 do redis.call("append", "k" .. i % 50, ("x"):rep(i)) end
	return redis.call("strlen", "k7")' 0
idle
ask debug reload
ask debug digest
ask config set appendonly yes
idle
ask bgrewriteaof >/dev/null
idle
redis-benchmark -q -s socket -n 4000 -c 20 -P 8 -r 5000 -d 200 \
	-t set,get,incr,lpush,lpop,sadd,hset,zadd,mset,lrange_100 >/dev/null
ask flushall async
ask --pipe <load | tail -n 1
before=$(ask debug digest)
ask shutdown
wait
start --appendonly yes
[ "$(ask debug digest)" = "$before" ]
echo "$before"
ask config set maxmemory 1mb maxmemory-policy allkeys-lru
ask shutdown nosave
