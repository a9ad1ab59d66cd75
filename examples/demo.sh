#!/usr/bin/env bash
# demo.sh - real programs, with and without Quarry's malloc preloaded.
#
# Builds Quarry, generates inputs, and runs seven programs on them, each
# plainly and under the preload in turn.  Their output must be the same byte
# for byte.  Prints one table of time and memory, and Quarry's own account of
# the memory.  Exit status: 0, 1 when an output differs or a program fails, 2
# when the demo itself cannot run.
#
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck disable=SC2317
set -euo pipefail

export PATH=/usr/bin:/bin:$PATH LC_ALL=C
usage='demo.sh - run real programs with and without Quarry'
. "$(dirname "$0")/../bench/lib.sh"

demo=$root/examples/demo
max_rounds=7
budget=${DEMO_SECONDS:-165} # seconds for everything after the build
programs=(python3 sqlite3 git gcc redis perl crossfree)

# A program's function gets the library to preload (or nothing) and a
# directory; what it leaves in DIRECTORY/out is compared, DIRECTORY/cost is
# what the run cost.

run() {
	local dir=$1 lib=$2
	shift 2
	"$build/examples/demo/measure" "$dir/cost" "$lib" "$@" </dev/null &
	wait $!
}

run_python3() {
	# Without the variable, Python takes small objects from its own allocator.
	PYTHONMALLOC=malloc PYTHONHASHSEED=0 \
		run "$2" "$1" python3 "$demo/heavy.py" >"$2/out/text"
}

run_sqlite3() {
	run "$2" "$1" sqlite3 -bail -init "$demo/million.sql" "$2/out/db" .quit >"$2/out/text"
}

run_git() {
	HOME=$work run "$2" "$1" "$demo/history.sh" "$work/in.git" "$2/repository" \
		>"$2/out/text" && rm -rf "$2/repository"
}

run_gcc() {
	run "$2" "$1" gcc -O2 -c -o "$2/out/object" "$work/in.c" >"$2/out/text"
}

run_perl() {
	run "$2" "$1" perl "$demo/words.pl" "$work/in.text" >"$2/out/text"
}

run_crossfree() {
	run "$2" "$1" "$build/examples/demo/crossfree" >"$2/out/text"
}

# Redis works for a client: time is how long the client takes, processor time
# and memory are the server's.
run_redis() {
	local dir=$2 socket=$work/redis.socket tries=0 server wall
	"$build/examples/demo/measure" "$dir/cost" "$1" "$work/redis-server" \
		--port 0 --unixsocket "$socket" --dir "$dir" --save '' \
		--enable-debug-command yes --loglevel warning --logfile "$dir/log" \
		</dev/null 2>"$dir/server" &
	server=$!
	until redis-cli -s "$socket" ping 2>/dev/null | grep -q PONG; do
		[ $((++tries)) -le 200 ] && kill -0 $server || return 1
		sleep 0.05
	done
	redis-cli -s "$socket" --pipe <"$work/in.redis" >"$dir/out/load" || return 1
	redis-cli -s "$socket" debug digest >"$dir/out/digest"
	redis-cli -s "$socket" dbsize >"$dir/out/size"
	"$build/examples/demo/measure" "$dir/client" '' redis-benchmark -q \
		-s "$socket" -n 60000 -c 20 -P 16 -r 50000 -d 200 \
		-t set,get,incr,lpush,lpop,sadd,hset,zadd,mset </dev/null >"$dir/speed" &
	wait $! || return 1
	redis-cli -s "$socket" shutdown nosave </dev/null >/dev/null 2>&1 || true
	wait $server || return 1
	read -r wall _ <"$dir/client"
	sed -i "s/^[^ ]*/$wall/" "$dir/cost"
}

# blame LIST PROGRAM - add it to a list of names, once.
blame() {
	local -n list=$1
	case " $list " in *" $2 "*) ;; *) list+=" $2" ;; esac
}

# one PROGRAM VARIANT - run it, compare it with the plain run, note its cost.
one() {
	local dir=$work/$1.$2 lib=
	say_at "$1, $2"
	case $2 in
	quarry | account) lib=$preload ;;
	glibc) lib=libc.so.6 ;;
	esac
	rm -rf "$dir"
	mkdir -p "$dir/out"
	"run_$1" "$lib" "$dir" 2>"$dir/errors" || {
		say "$1 ($2) failed with status $?:"
		tail -n 5 "$dir/errors" >&2
		blame failed "$1"
		return 0
	}
	if [ "$2" != account ]; then
		mv "$dir/errors" "$dir/out/errors"
		echo "$1 $2 $(cat "$dir/cost")" >>"$work/costs"
	fi
	if [ ! -d "$work/$1.expected" ]; then
		mv "$dir/out" "$work/$1.expected"
	elif ! diff -r -q -x errors "$work/$1.expected" "$dir/out" >&2; then
		say "$1 ($2): the output differs from that of the plain run"
		blame differs "$1"
	elif [ "$2" != account ] &&
		! diff "$work/$1.expected/errors" "$dir/out/errors" >&2; then
		say "$1 ($2): the messages differ from those of the plain run"
		blame differs "$1"
	fi
	rm -rf "$dir/out"
}

# account PROGRAM - run once with Quarry's options; leaves its words in a file.
account() {
	local dir=$work/$1.account
	QUARRY_OPTIONS=verbose,stats one "$1" account
	cat "$dir/errors" "$dir/server" 2>/dev/null >"$work/$1.words" || true
	if ! grep -q '^quarry: .* active' "$work/$1.words"; then
		say "$1: Quarry does not announce itself"
		blame failed "$1"
	elif ! grep -q 'KiB mapped' "$work/$1.words"; then
		say "$1: Quarry gives no account"
		blame failed "$1"
	fi
}

# Who goes first changes from round to round; short programs run twice.
round() {
	local n=$1 p i k again variants
	for p in "${programs[@]}"; do
		again=1
		case $p in perl | crossfree) again=2 ;; esac
		variants=(plain quarry)
		[ "$p" != redis ] || variants=("${redis_variants[@]}")
		for ((i = 0; i < again; i++)); do
			for ((k = 0; k < ${#variants[@]}; k++)); do
				one "$p" "${variants[(n + i) % 2 ? k : -1 - k]}"
			done
		done
	done
}

# On a terminal, say what is running; elsewhere a line per round must do.
say_at() {
	[ ! -t 2 ] || printf '\r%4d s  %-30s\r' "$SECONDS" "$1" >&2
}

prepare() {
	local kind
	start_work
	export TMPDIR=$work
	trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
	need python3=/usr/bin/python3 sqlite3=sqlite3 git=git gcc=gcc perl=perl \
		libc6-dev=/usr/include/stdlib.h redis-tools=redis-benchmark
	build_quarry
	check_quarry
	SECONDS=0
	say "generating inputs, and a first run of everything"
	for kind in c git redis text; do
		python3 "$demo/generate.py" $kind >"$work/in.$kind"
	done
	# The package redis-server is a link to this program, and a service that
	# would start.
	ln -s "$(command -v redis-server || command -v redis-check-rdb)" \
		"$work/redis-server"
	redis_variants=(plain quarry)
	if ldd "$work/redis-server" | grep jemalloc >/dev/null; then
		redis_variants=(plain glibc quarry)
	fi
}

measure_all() {
	local p n last
	for p in "${programs[@]}"; do
		one "$p" plain
		account "$p"
	done
	: >"$work/costs"
	for ((n = 1; n <= max_rounds; n++)); do
		last=$SECONDS
		say "$SECONDS s: round $n"
		round "$n"
		# Only if another would end in time.
		[ $((2 * SECONDS - last)) -lt "$budget" ] || break
	done
	say_at ""
	say "$SECONDS s: done"
}

failed='' differs=''
prepare
measure_all
for p in "${programs[@]}"; do
	sed "s/^/account $p /" "$work/$p.words"
done | cat - "$work/costs" | awk -f "$demo/table.awk"
if [ -n "$failed$differs" ]; then
	say "failed:${failed:- none}; output differs:${differs:- none}"
	exit 1
fi
echo "Every program gave the same output with Quarry as without, byte for byte."
