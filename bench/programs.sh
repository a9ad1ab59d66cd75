#!/usr/bin/env bash
# programs.sh - real programs under Quarry's malloc and the others.
#
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2154,SC2317
set -euo pipefail

export LC_ALL=C
usage='programs.sh [options] - time and peak memory of real programs
Each run is a process of its own, allocators in turn; what is printed are
medians, and ratios to the best peer of the program.  Time is that of a whole
run; for servers, of what a client had done by it.  A program that is missing is
installed when its row is run; Debian starts memcached and nginx as services.'
rounds=5 threads=1 ms=0
. "$(dirname "$0")/lib.sh"
quick_rows='^(perl|factor)$'
unit='ms per run' scale=1e-6
demo=$root/examples/demo
programs=$root/bench/programs

bench_rows() {
	printf '%s single\n' python3 lua perl sqlite3 gcc git z3 gs factor cubes \
		redis redis.pipe memcached nginx
}

# measured LIBRARY COMMAND... - leaves what it cost in $work/cost.
measured() {
	"$build/examples/demo/measure" "$work/cost" "$@" >"$work/out" 2>"$work/err"
}

# served LIBRARY SERVER... -- CLIENT... - the client's time, the server's memory.
served() {
	local library=$1 server=() pid tries=0
	shift
	while [ "$1" != -- ]; do
		server+=("$1")
		shift
	done
	shift
	"$build/examples/demo/measure" "$work/cost" "$library" "${server[@]}" \
		>"$work/out" 2>"$work/err" &
	pid=$!
	until [ -S "$work/socket" ]; do
		[ $((++tries)) -le 200 ] && kill -0 $pid || return 1
		sleep 0.02
	done
	"$build/examples/demo/measure" "$work/client" '' "$@" \
		>"$work/client.out" 2>&1 || { cat "$work/client.out" >&2 && return 1; }
	# The server is the only child of the process that measures it.
	kill -TERM "$(cat "/proc/$pid/task/$pid/children")"
	wait $pid || true
	rm -f "$work/socket"
	read -r wall _ <"$work/client"
	sed -i "s/^[^ ]*/$wall/" "$work/cost"
}

redis() {
	local library=$1
	shift
	served "$library" "$work/redis-server" --port 0 --unixsocket "$work/socket" \
		--dir "$work" --save '' --loglevel warning -- \
		redis-benchmark -q -s "$work/socket" -c 20 -r 50000 -d 200 "$@"
}

run_python3() {
	PYTHONMALLOC=malloc PYTHONHASHSEED=0 measured "$1" python3 "$demo/heavy.py"
}
run_lua() { measured "$1" lua5.4 "$programs/trees.lua"; }
run_perl() { measured "$1" perl "$demo/words.pl" "$work/in.text"; }
run_sqlite3() {
	rm -f "$work/db"
	measured "$1" sqlite3 -bail -init "$demo/million.sql" "$work/db" .quit
}
run_gcc() { measured "$1" gcc -O2 -c -o "$work/object" "$work/in.c"; }
run_git() {
	rm -rf "$work/repository"
	HOME=$work measured "$1" "$demo/history.sh" "$work/in.git" "$work/repository"
}
run_z3() { measured "$1" z3 "$work/in.smt2"; }
run_gs() {
	measured "$1" gs -q -dBATCH -dNOPAUSE -sDEVICE=ppmraw -r72 \
		-sOutputFile=/dev/null "$programs/pages.ps"
}
run_factor() { measured "$1" "$build/bench/factor" 40; }
run_cubes() { measured "$1" "$build/bench/cubes" 14 9000; }
run_redis() { redis "$1" -n 20000 -t set,get,lpush,lpop,hset; }
run_redis.pipe() { redis "$1" -n 100000 -P 16 -t set,get,lpush,lpop,hset,zadd; }
run_memcached() {
	served "$1" memcached -u "$(id -un)" -s "$work/socket" -a 0777 -t 2 -m 256 -- \
		memcslap --servers="$work/socket" --concurrency=4 --test=set \
		--execute-number=20000
}
run_nginx() {
	rm -f "$work/socket"
	served "$1" nginx -p "$work" -c "$work/nginx.conf" -- \
		python3 "$programs/requests.py" "$work/socket" 8000
}

# The packages of a row, as for need().
packages() {
	case $1 in
	python3 | gcc) ;; # for the inputs, or to build
	lua) echo lua5.4=lua5.4 ;;
	perl | git | z3 | sqlite3 | memcached) echo "$1=$1" ;;
	gs) echo ghostscript=gs ;;
	redis*) echo redis-tools=redis-benchmark ;;
	nginx) echo nginx-light=nginx ;;
	esac
	[ "$1" != memcached ] || echo libmemcached-tools=memcslap
}

bench_one() {
	local wall cpu kb
	"run_$3" "$2" || { cat "$work/err" >&2 && return 1; }
	read -r wall cpu kb <"$work/cost"
	echo "$3 1 $(awk -v ms="$wall" 'BEGIN { printf "%.0f", ms * 1e6 }') $kb"
}

inputs() {
	local kind row server
	need python3=/usr/bin/python3
	for row in $(bench_rows | awk -v only="$only" '$1 ~ only { print $1 }'); do
		# shellcheck disable=SC2046
		need $(packages "$row")
	done
	for kind in c git text; do
		python3 "$demo/generate.py" $kind >"$work/in.$kind"
	done
	python3 "$programs/pigeons.py" 8 >"$work/in.smt2"
	# One program under several names, which not every package brings.
	if server=$(command -v redis-server || command -v redis-check-rdb); then
		ln -sf "$server" "$work/redis-server"
	fi
	cat >"$work/nginx.conf" <<-END
		daemon off;
		worker_processes 2;
		pid $work/nginx.pid;
		error_log $work/nginx.log;
		events { worker_connections 256; }
		http {
			access_log off;
			client_body_temp_path $work;
			server {
				listen unix:$work/socket;
				location / { gzip on; gzip_types *; root $demo; }
			}
		}
	END
}

bench_parse "$@"
inputs
names+=(quarry)
libs+=("$preload")
bench_run
